/** Metrics and health of real processes, checked with Prometheus' own tool. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { parse } from 'yaml';
import { ask } from '../support/ask.js';
import { DaemonProcess, QUICK } from '../support/daemon-process.js';
import { dropPath } from '../support/deliver.js';
import { makeLayout } from '../support/make-image.js';
import { writeHtpasswd } from '../support/passwords.js';
import { receipts } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { haveTools } from '../support/tools.js';
import { waitFor } from '../support/wait-for.js';

const RULES = fileURLToPath(
  new URL('../../config/prometheus/dropdock.rules.yaml', import.meta.url),
);
const LISTEN = 'metrics: {listen: "127.0.0.1:0"}\n';

describe('metrics and health of a process', function () {
  this.timeout(60_000);
  let root: string;
  const running: DaemonProcess[] = [];

  beforeEach(() => {
    root = tempDir();
  });
  afterEach(async () => {
    await Promise.all(running.splice(0).map((daemon) => daemon.stop('SIGKILL')));
    removeTempDirs();
  });

  async function start(yaml: string, command: 'run' | 'serve' = 'run'): Promise<DaemonProcess> {
    const daemon = await DaemonProcess.start(root, { yaml: QUICK + yaml, command });
    running.push(daemon);
    return daemon;
  }
  const place = ({ output }: DaemonProcess) => /metrics\.ready url=(\S+)/.exec(output)?.[1] ?? '';
  const scrape = async (daemon: DaemonProcess) =>
    String((await ask(place(daemon), '/metrics')).body);
  const sampleOf = (text: string, sample: string) =>
    Number(
      text
        .split('\n')
        .find((line) => line.startsWith(`${sample} `))
        ?.split(' ')
        .at(-1),
    );
  function promtool(given: string[], input = ''): void {
    if (!haveTools('promtool')) return;
    const { status, stdout, stderr } = spawnSync('promtool', given, { input, encoding: 'utf8' });
    expect(`${stdout}${stderr}`).not.to.match(/non-counter|no help text|FAILED/);
    expect(status, `${stdout}${stderr}`).to.equal(0);
  }

  it('reports publishes and pulls on a separate address', async () => {
    const daemon = await start(`${LISTEN}registry: {listen: "127.0.0.1:0", anonymous: true}\n`);
    makeLayout(dropPath(root, 'team/app:1.0'));
    makeLayout(dropPath(root, 'NO:1.0'));
    await waitFor('both', () => receipts(root).length === 2);
    const path = '/v2/team/app/manifests/1.0';
    expect((await ask(daemon.url, path)).status).to.equal(200);
    expect((await ask(daemon.url, '/v2/team/none/manifests/1.0')).status).to.equal(404);
    expect((await ask(daemon.url, '/metrics')).status).to.equal(404);
    const text = await waitFor('the census', async () => {
      const got = await scrape(daemon);
      return sampleOf(got, 'dropdock_publishes_total{result="rejected"}') === 1 && got;
    });
    expect(sampleOf(text, 'dropdock_publishes_total{result="published"}')).to.equal(1);
    expect(sampleOf(text, 'dropdock_flips_total')).to.equal(1);
    expect(sampleOf(text, 'dropdock_ready')).to.equal(1);
    expect(sampleOf(text, 'dropdock_lock_wait_seconds_count')).to.equal(1);
    const pull = 'dropdock_requests_total{route="manifests",method="GET",status=';
    expect(sampleOf(text, `${pull}"200"}`)).to.equal(1);
    expect(sampleOf(text, `${pull}"404"}`)).to.be.at.least(1);
    expect(sampleOf(text, 'dropdock_sent_bytes_total')).to.be.greaterThan(500);
    expect(text).not.to.include('team');
    const { headers } = await ask(place(daemon), '/metrics');
    expect(headers['content-type']).to.match(/^text\/plain; version=0\.0\.4/);
    promtool(['check', 'metrics'], text);
  });

  it('reports on both addresses that it is alive but not ready when its inbox is missing', async () => {
    const htpasswd = join(root, 'htpasswd');
    writeHtpasswd(htpasswd, { alice: 'secret' });
    const registry = `registry: {listen: "127.0.0.1:0", anonymous: false, htpasswd: "${htpasswd}"}\n`;
    const daemon = await start(LISTEN + registry);
    const asked = async (path: string) =>
      Promise.all([daemon.url, place(daemon)].map((base) => ask(base, path)));
    // It is ready when it has looked at the inbox once.
    await waitFor('both to be ready', async () =>
      (await asked('/readyz')).every(({ status }) => status === 200),
    );
    renameSync(join(root, 'inbox'), join(root, 'gone'));
    for (const { status, body } of await asked('/readyz')) {
      expect(status).to.equal(503);
      expect(String(body)).to.equal('not ready\ninbox: unreachable (ENOENT)\n');
    }
    for (const { status } of await asked('/healthz')) expect(status).to.equal(200);
    expect(sampleOf(await scrape(daemon), 'dropdock_ready')).to.equal(0);
    renameSync(join(root, 'gone'), join(root, 'inbox'));
    await waitFor('it to be ready', async () => (await ask(daemon.url, '/readyz')).status === 200);
  });

  it('of the endpoint alone count its pulls; a metrics address in use does not stop it', async () => {
    const publisher = await start('registry: {listen: null}\n');
    makeLayout(dropPath(root, 'team/app:1.0'));
    await waitFor('it', () => receipts(root).length === 1);
    expect(publisher.output).not.to.include('metrics.ready');
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    const registry = 'registry: {listen: "127.0.0.1:0"}\n';
    const deaf = await start(`metrics: {listen: "127.0.0.1:${port}"}\n${registry}`, 'serve');
    expect(deaf.output).to.include('metrics.failed');
    expect((await ask(deaf.url, '/v2/team/app/tags/list')).status).to.equal(200);
    expect((await ask(deaf.url, '/readyz')).status).to.equal(200);
    taken.close();
    const serve = await start(LISTEN + registry, 'serve');
    expect((await ask(serve.url, '/v2/team/app/tags/list')).status).to.equal(200);
    const text = await scrape(serve);
    expect(
      sampleOf(text, 'dropdock_requests_total{route="tags",method="GET",status="200"}'),
    ).to.equal(1);
    expect(text).not.to.include('dropdock_publishes_total');
    promtool(['check', 'metrics'], text);
  });

  it('work with the alert rules: Prometheus accepts the rules, and they fire when they should', () => {
    promtool(['check', 'rules', RULES]);
    const rules = parse(readFileSync(RULES, 'utf8')).groups[0].rules as Rule[];
    const alert = (alertname: string, time: string, labels?: Rule['labels'], value = '') => {
      const rule = rules.find((each) => each.alert === alertname);
      const said = Object.entries(rule?.annotations ?? {}).map(([name, text]) => {
        const withValue = text.replace(/\{\{ \$value[^}]*\}\}/g, value);
        return [
          name,
          withValue.replace(/\{\{ \$labels\.(\w+) \}\}/g, (_all, key) => labels?.[key] ?? ''),
        ];
      });
      const exp_annotations = Object.fromEntries(said);
      const exp_labels = { ...rule?.labels, ...labels };
      const exp_alerts = labels === undefined ? [] : [{ exp_labels, exp_annotations }];
      return { eval_time: time, alertname, exp_alerts };
    };
    const stuck = { instance: 'a', state: 'inbox' };
    const claimed = { instance: 'a', state: 'claimed' };
    const tests = [
      {
        interval: '1m',
        input_series: [
          { series: 'dropdock_oldest_drop_seconds{instance="a",state="inbox"}', values: '0+60x60' },
          // One drop that fails again and again, in the end every five minutes (retry.most).
          {
            series: 'dropdock_oldest_drop_seconds{instance="a",state="claimed"}',
            values: '0x20 60+60x60',
          },
          {
            series: 'dropdock_publishes_total{instance="a",result="retried"}',
            values: `0x20 2 5 6 7 8 8 8 8 8 ${[9, 10, 11, 12, 13, 14, 15].map((n) => `${n}x4`).join(' ')}`,
          },
        ],
        alert_rule_test: [
          alert('DropdockDropStuck', '30m'),
          alert('DropdockDropStuck', '40m', stuck, '40m 0s'),
          alert('DropdockPublishesFail', '20m'),
          alert('DropdockPublishesFail', '27m', claimed),
          alert('DropdockPublishesFail', '40m', claimed),
          alert('DropdockPublishesFail', '60m', claimed),
        ],
      },
      {
        interval: '1m',
        input_series: [{ series: 'dropdock_ready{instance="a"}', values: '1x10 0x10' }],
        alert_rule_test: [
          alert('DropdockNotReady', '12m'),
          alert('DropdockNotReady', '15m', { instance: 'a' }),
        ],
      },
    ];
    const file = join(root, 'tests.yaml');
    const given = { rule_files: [RULES], evaluation_interval: '1m', tests };
    writeFileSync(file, JSON.stringify(given));
    promtool(['test', 'rules', file]);
  });
});

interface Rule {
  readonly alert: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}
