import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { routeOf } from '#src/daemon/monitor.js';
import { DropdockError } from '#src/errors.js';
import type { RepositoryName } from '#src/image/names.js';
import { endpointMetrics, publishMetrics } from '#src/metrics/definitions.js';
import { Health } from '#src/metrics/health.js';
import { Metrics, type MetricsOptions } from '#src/metrics/metrics.js';
import type { PublishEvent } from '#src/publisher/events.js';
import type { PublishedOutcome } from '#src/publisher/target.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');

function metrics(more: Partial<MetricsOptions> = {}): Metrics {
  return new Metrics({
    version: '1.2.3',
    publishes: true,
    health: new Health({ places: [], scanMs: () => undefined, nowMs: () => 0 }),
    isTold: () => false,
    census: async () => ({ repositories: 7, snapshots: 9 }),
    claims: () => [],
    noticesWaiting: () => 3,
    nowMs: () => 0,
    ...more,
  });
}

const A = 'a' as RepositoryName;

/** As far as it is measured. */
const done = (
  repository: string,
  tookMs: number,
  status: PublishedOutcome['status'] = 'published',
): PublishEvent => ({
  type: 'publish.done',
  drop: 'd',
  repository: repository as RepositoryName,
  outcome: { status } as PublishedOutcome,
  tookMs,
});

/** The samples of one metric, by their labels. */
async function samples(of: Metrics, name: string): Promise<Record<string, number>> {
  const lines = (await of.text()).split('\n').filter((line) => line.startsWith(name));
  return Object.fromEntries(
    lines.flatMap((line) => {
      const [, labels = '', value] = /^[a-z_]+(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
      return line.replace(/[{ ].*/, '') === name ? [[labels, Number(value)]] : [];
    }),
  );
}

describe('metrics', () => {
  it('count drops from events, by outcome and reason', async () => {
    const of = metrics();
    of.hear(done('a', 123));
    of.hear(done('a', 100, 'unchanged'));
    const invalid = new DropdockError('tag.invalid', 'made up');
    of.hear({ type: 'drop.rejected', drop: 'd', repository: A, error: invalid });
    const full = Object.assign(new Error('made up'), { code: 'ENOSPC', syscall: 'write' });
    const retry = { drop: 'd', repository: A, target: undefined, error: full, nextMs: 1 };
    for (const attempt of [1, 2]) of.hear({ type: 'publish.retry', ...retry, attempt });
    // All log lines are counted, whichever module wrote them.
    of.logged('info', 'publish.done');
    of.logged('warn', 'drop.rejected');
    for (let k = 0; k < 2; k++) of.logged('warn', 'publish.retry');
    of.logged('error', 'daemon.warning');
    of.logged('info', 'notify.sent');
    expect(await samples(of, 'dropdock_publishes_total')).to.deep.equal({
      ...{ 'result="published"': 1, 'result="unchanged"': 1 },
      ...{ 'result="rejected"': 1, 'result="retried"': 2 },
    });
    expect(await samples(of, 'dropdock_rejections_total')).to.deep.equal({
      'code="tag.invalid"': 1,
    });
    expect(await samples(of, 'dropdock_retries_total')).to.deep.equal({ 'code="ENOSPC"': 2 });
    expect(await samples(of, 'dropdock_publish_seconds_sum')).to.deep.equal({ '': 0.123 });
    expect(await samples(of, 'dropdock_warnings_total')).to.deep.equal({
      ...{ 'event="drop.rejected"': 1, 'event="publish.retry"': 2 },
      ...{ 'event="daemon.warning"': 1 },
    });
    expect(await samples(of, 'dropdock_notices_total')).to.include({ 'result="sent"': 1 });
  });

  it('count steps, hashed bytes, flips and cleaning results from events', async () => {
    const of = metrics();
    for (const bytes of [100, 10]) of.hear({ type: 'content.hashed', bytes });
    of.hear({ type: 'step.done', step: 'flip', tookMs: 3000 });
    of.hear({ type: 'flip.done', id: 'a' as never, snapshot: 'x' as never, files: 1 });
    of.hear({ type: 'snapshots.removed', count: 2 });
    of.hear({ type: 'lock.waited', tookMs: 500 });
    of.hear({ type: 'content.swept', bytes: 50, stays: { files: 4, bytes: 400 } });
    expect(await samples(of, 'dropdock_hashed_bytes_total')).to.deep.equal({ '': 110 });
    expect(await samples(of, 'dropdock_flips_total')).to.deep.equal({ '': 1 });
    expect(await samples(of, 'dropdock_step_seconds_sum')).to.include({ 'step="flip"': 3 });
    expect(await samples(of, 'dropdock_snapshots_removed_total')).to.deep.equal({ '': 2 });
    expect(await samples(of, 'dropdock_lock_wait_seconds_sum')).to.deep.equal({ '': 0.5 });
    expect(await samples(of, 'dropdock_store_bytes')).to.deep.equal({ '': 400 });
    expect(await samples(of, 'dropdock_store_files')).to.deep.equal({ '': 4 });
    expect(await samples(of, 'dropdock_swept_bytes_total')).to.deep.equal({ '': 50 });
  });

  it('report how many drops wait and for how long, in the inbox and claimed', async () => {
    let nowMs = Date.UTC(2026, 10, 23, 12, 0, 0);
    const claims = ['app:1@20261123T115950.000Z', 'odd'];
    const of = metrics({ nowMs: () => nowMs, claims: () => claims });
    const scan = (...paths: string[]) =>
      of.hear({
        type: 'inbox.scanned',
        drops: paths,
        ...{ ignored: 1, left: 2, unreadable: 3, tookMs: 1 },
      });
    scan('a', 'b');
    nowMs += 5000;
    scan('b', 'c');
    nowMs += 1000;
    expect(await samples(of, 'dropdock_drops_waiting')).to.deep.equal({
      ...{ 'state="inbox"': 2, 'state="claimed"': 2 },
    });
    expect(await samples(of, 'dropdock_oldest_drop_seconds')).to.deep.equal({
      ...{ 'state="inbox"': 6, 'state="claimed"': 16 },
    });
    scan();
    expect(await samples(of, 'dropdock_oldest_drop_seconds')).to.include({ 'state="inbox"': 0 });
    expect(await samples(of, 'dropdock_inbox_ignored')).to.deep.equal({ '': 1 });
    expect(await samples(of, 'dropdock_notices_waiting')).to.deep.equal({ '': 3 });
  });

  it('have the same number of series for 5,000 repositories as for one, unless enabled per repository', async () => {
    const count = async (of: Metrics) =>
      (await of.text()).split('\n').filter((l) => /^drop/.test(l)).length;
    const [one, many] = [metrics(), metrics()];
    const publish = (of: Metrics, k: number) => of.hear(done(`team/app${k}`, 1000));
    publish(one, 0);
    for (let k = 0; k < 5000; k++) publish(many, k);
    expect(await count(many)).to.equal(await count(one));
    expect(await samples(many, 'dropdock_publishes_total')).to.include({
      'result="published"': 5000,
    });
    const asked = metrics({ isTold: (name) => name.startsWith('team/') });
    asked.hear(done('other', 1000));
    for (let k = 0; k < 5000; k++) publish(asked, k);
    publish(asked, 0);
    const told = await samples(asked, 'dropdock_repository_publishes_total');
    expect(Object.keys(told)).to.have.length(200);
    expect(told).to.include({ 'repository="team/app0",result="published"': 2 });
  });

  it('do not report unknown values as 0, and recount at most once a minute', async () => {
    let nowMs = 0;
    const answers: ((repositories: number) => void)[] = [];
    const census = () =>
      new Promise<{ repositories: number; snapshots: number }>((resolve) => {
        answers.push((repositories) => resolve({ repositories, snapshots: 9 }));
      });
    const of = metrics({ nowMs: () => nowMs, census });
    // A scrape does not wait for the answer.
    expect(await samples(of, 'dropdock_repositories')).to.deep.equal({ '': Number.NaN });
    expect(await samples(of, 'dropdock_store_bytes')).to.deep.equal({ '': Number.NaN });
    answers[0]?.(7);
    nowMs = 59_999;
    expect(await samples(of, 'dropdock_repositories')).to.deep.equal({ '': 7 });
    expect(await samples(of, 'dropdock_snapshots')).to.deep.equal({ '': 9 });
    expect(answers).to.have.length(1);
    nowMs = 60_000;
    await of.text();
    expect(answers).to.have.length(2);
  });

  it('of an endpoint alone contain no publish metrics', () => {
    const names = metrics({ publishes: false }).names();
    expect(names).to.include('dropdock_requests_total');
    expect(names).not.to.include('dropdock_publishes_total');
  });

  it('of an endpoint alone accept events that they do not count', async () => {
    const of = metrics({ publishes: false });
    of.hear(done('a', 1));
    of.hear({ type: 'step.done', step: 'flip', tookMs: 1 });
    of.hear({ type: 'content.swept', bytes: 1, stays: { files: 1, bytes: 1 } });
    expect(await of.text()).not.to.match(/^dropdock_(publishes|step|store)/m);
  });

  const routes = {
    '/v2/': 'base',
    '/v2/_catalog?n=5': 'catalog',
    '/v2/token?scope=repository:a/b:pull': 'token',
    '/v2/a/b/manifests/latest': 'manifests',
    '/v2/a/blobs/sha256:00': 'blobs',
    '/v2/tags/tags/list?n=1': 'tags',
    '/v2/a/referrers/sha256:00': 'referrers',
    '/readyz': 'health',
    '/v2/a/b': 'other',
    '/': 'other',
  };
  for (const [url, route] of Object.entries(routes)) {
    it(`count ${url} as ${route}`, () => {
      expect(routeOf(url)).to.equal(route);
    });
  }
});

describe('docs/metrics.md', () => {
  it('lists every metric with its type and labels, and no other', () => {
    const rows = [
      ...read('docs/metrics.md').matchAll(/^\| `(dropdock_\w+)` \| (\w+) \| (.*?) ?\| /gm),
    ];
    const listed = rows.map(([, name, type, labels = '']) => ({
      name,
      type,
      labels: [...labels.matchAll(/`(\w+)`/g)].map(([, label]) => label),
    }));
    const made = Object.values({ ...endpointMetrics([]), ...publishMetrics([]) }).map((each) => {
      const { name, labelNames, constructor: type } = each as unknown as Made;
      return { name, type: type.name.toLowerCase(), labels: [...labelNames] };
    });
    expect(listed).to.deep.equal(made);
  });
});

interface Made {
  readonly name: string;
  readonly labelNames: readonly string[];
  readonly constructor: { readonly name: string };
}

for (const file of ['config/prometheus/dropdock.rules.yaml', 'config/grafana/dropdock.json']) {
  describe(file, () => {
    it('queries only existing metrics and labels', () => {
      const labels = new Map(
        Object.values({ ...endpointMetrics([]), ...publishMetrics([]) }).map((each) => {
          const { name, labelNames } = each as unknown as Made;
          return [name, labelNames];
        }),
      );
      const asked = [
        ...read(file).matchAll(/(dropdock_\w+?)(?:_bucket|_sum|_count)?\b(\{[^}]*\})?/g),
      ];
      expect(asked.length).to.be.greaterThan(9);
      for (const [, name = '', selector = ''] of asked) {
        const known = labels.get(name);
        expect(known, name).not.to.equal(undefined);
        for (const [, label = ''] of selector.matchAll(/(\w+)(?:=~|!=|!~|=)/g)) {
          expect([...(known ?? []), 'instance'], `${name}: ${label}`).to.include(label);
        }
      }
    });
  });
}
