/** The page in a real browser: keyboard only, without scripts, with live updates, and with hostile names. */
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { expect } from 'chai';
import { TestBrowser } from '../support/browser.js';
import { DaemonProcess } from '../support/daemon-process.js';
import { FakeDaemon, knownDrop } from '../support/fake-daemon.js';
import { makeLayout, TestContent } from '../support/make-image.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { TestRegistry } from '../support/test-registry.js';
import { needTools } from '../support/tools.js';
import { waitFor } from '../support/wait-for.js';

const EVIL = `"><script>alert(1)</script><img src=x onerror=alert(2)>`;

const PATHS = [
  '/',
  '/-/inbox',
  '/-/tags/team/app',
  '/-/image/team/app:1.0',
  '/-/history/team/app',
  '/-/help',
];

describe('the page in a browser', function () {
  this.timeout(60_000);
  let root: string;
  let browser: TestBrowser;
  let registry: TestRegistry;
  let url: string;
  const daemon = new FakeDaemon();

  before(async function () {
    needTools(this, 'chromium');
    root = tempDir();
    registry = await TestRegistry.open(join(root, 'tree'), { page: { daemon } });
    ({ url } = registry.server);
    for (const [name, ...tags] of [
      ['alpine', '3.19'],
      ['team/app', '1.0'],
      ['team/app@b', '1.1', '1.0'],
    ]) {
      const content = new TestContent();
      const images = tags.map((tag) => ({
        tag,
        image: content.image({ layers: [`${name}${tag}`] }),
      }));
      await registry.drop(name ?? '', content, images);
    }
    browser = await TestBrowser.open();
  });
  after(async () => {
    await browser?.close();
    await registry?.close();
    removeTempDirs();
  });
  afterEach(() => {
    expect(browser?.complaints ?? []).to.deep.equal([]);
    daemon.set();
  });

  it('works with the keyboard alone, and shows the focus', async () => {
    const page = await browser.visit(url, { permissions: ['clipboard-read', 'clipboard-write'] });
    const focused = () => page.evaluate<string>('document.activeElement.textContent.trim()');
    /** Presses Tab until this has the focus, at most so often as there is something to focus. */
    const tabTo = async (text: string) => {
      for (let n = 0; n < 30; n++) {
        await page.keyboard.press('Tab');
        const style = 'getComputedStyle(document.activeElement).outlineStyle';
        expect(await page.evaluate(style), await focused()).to.not.equal('none');
        if ((await focused()) === text) return;
      }
      throw new Error(`no way leads to ${text}`);
    };
    await page.keyboard.press('Tab');
    expect(await focused()).to.equal('Skip to the content');
    await page.keyboard.press('Enter');
    await tabTo('team/app');
    await page.keyboard.press('Enter');
    await page.waitForURL('**/-/tags/team/app');
    await tabTo('1.1');
    await page.keyboard.press('Enter');
    await page.waitForURL('**/-/image/team/app:1.1');
    await tabTo('Copy');
    await page.keyboard.press('Enter');
    await waitFor('the word', async () => (await focused()) === 'Copied');
    const host = new URL(url).host;
    const copied = await page.evaluate<string>('navigator.clipboard.readText()');
    expect(copied).to.equal(`docker pull ${host}/team/app:1.1`);
    await page.keyboard.press('/');
    expect(await page.evaluate('document.activeElement.id')).to.equal('find');
    await page.keyboard.type('/app');
    await page.keyboard.press('Enter');
    await page.waitForURL('**/?q=%2Fapp');
    await page.goto(`${url}/-/history/team/app`);
    await tabTo('+ 1 tag added');
    await page.keyboard.press('Enter');
    expect(await page.locator('.added').first().getAttribute('open')).to.equal(null);
    await page.context().close();
  });

  it('works without scripts, except for live updates', async () => {
    daemon.set(knownDrop('team/app', { kind: 'waiting', state: 'waiting', reason: 'why-so' }));
    const page = await browser.visit(url, { javaScriptEnabled: false });
    expect(await page.locator('aside').textContent())
      .to.contain('why-so')
      .and.contain('Reload');
    await page.locator('a', { hasText: 'team/app' }).first().click();
    await page.getByRole('link', { name: 'Published' }).click();
    await page.locator('th a', { hasText: '1.1' }).click();
    expect(await page.locator('.command').first().innerText()).to.match(/^docker pull .*:1\.1$/);
    await page.getByRole('link', { name: 'History' }).click();
    await page.locator('summary', { hasText: 'Restore this state' }).first().click();
    expect(await page.locator('details[open] .command').first().innerText()).to.match(
      /^dropdock rollback team\/app \d{8}T/,
    );
    expect(await page.locator('.changes').first().innerText()).to.contain('1 tag moved');
    await page.getByRole('link', { name: 'Inbox' }).click();
    expect(await page.getByRole('table').innerText()).to.contain('why-so');
    await page.goto(`${url}/?q=alp`);
    expect(await page.getByRole('row').count()).to.equal(2);
    await page.context().close();
  });

  it('survives hostile names', async () => {
    const hostile = { reason: EVIL, hint: EVIL, code: EVIL, repositories: [] };
    daemon.moving = true;
    daemon.set(
      knownDrop(EVIL, { ...hostile, kind: 'rejected', state: 'rejected' }),
      knownDrop(EVIL, {
        ...hostile,
        kind: 'running',
        state: 'publishing',
        progress: { done: 1, total: 2 },
      }),
    );
    const page = await browser.visit(`${url}/-/inbox`);
    await page.getByText('Live', { exact: true }).waitFor();
    expect(await page.locator('main img, main script').count()).to.equal(0);
    expect(await page.getByRole('progressbar').getAttribute('aria-label')).to.equal(EVIL);
    daemon.moving = false;
    // Were it not escaped, the policy would still hold.
    const policed = page.waitForEvent('console', (message) =>
      /Content Security/.test(message.text()),
    );
    await page.evaluate(
      `document.body.insertAdjacentHTML('beforeend', '<img src="data:,x" onerror=alert(3)>')`,
    );
    await policed;
    const expected = browser.complaints.splice(0);
    expect(expected.filter((text) => !/Content Security/.test(text))).to.deep.equal([]);
    await page.context().close();
  });

  it('fits on a phone, supports dark mode, and does not shift while loading', async () => {
    const progress = { done: 1, total: 3 };
    daemon.set(
      knownDrop(`team/${'long-'.repeat(30)}name`, {
        kind: 'running',
        state: 'publishing',
        progress,
      }),
      knownDrop('x', { kind: 'rejected', state: 'rejected', reason: 'f'.repeat(300) }),
    );
    const options = { viewport: { width: 360, height: 700 }, colorScheme: 'dark' as const };
    for (const path of [...PATHS, '/?q=app']) {
      const page = await browser.visit(url + path, options);
      const opened = `for (const each of document.querySelectorAll('details')) each.open = true`;
      const shift = await page.evaluate<number>(
        `new Promise((resolve) => {
          let sum = 0;
          new PerformanceObserver((list) => {
            for (const { value, hadRecentInput } of list.getEntries()) if (!hadRecentInput) sum += value;
          }).observe({ type: 'layout-shift', buffered: true });
          setTimeout(() => resolve(sum), 200);
        })`,
      );
      expect(shift, path).to.be.at.most(0.01);
      await page.evaluate(opened);
      expect(await browser.overflow(page), path).to.equal(0);
      const back = await page.evaluate('getComputedStyle(document.body).backgroundColor');
      expect(back).to.equal('rgb(20, 23, 26)');
      await page.context().close();
    }
  });

  it('has no violations that axe-core finds, in light and in dark', async function () {
    this.timeout(180_000);
    const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
    daemon.set(
      knownDrop('team/app', { kind: 'rejected', state: 'rejected', reason: 'why', code: 'x.y' }),
      knownDrop('b', { kind: 'running', state: 'publishing', progress: { done: 1, total: 3 } }),
    );
    const page = await browser.visit(url);
    for (const path of [...PATHS, '/?q=app', '/-/tags/nobody']) {
      await page.goto(url + path);
      await page.evaluate(axe);
      for (const colorScheme of ['light', 'dark'] as const) {
        await page.emulateMedia({ colorScheme });
        const found = await page.evaluate<string[]>(
          `axe.run().then(({ violations }) => violations.flatMap(({ id, nodes }) =>
            nodes.map(({ html }) => id + ': ' + html)))`,
        );
        expect(found, `${path} ${colorScheme}`).to.deep.equal([]);
      }
    }
    await page.context().close();
    // A browser reports the answer 404 as an error.
    browser.complaints.splice(0);
  });

  it('keeps the focus when the list of repositories is sent again', async () => {
    const page = await browser.visit(url);
    await page.getByText('Live', { exact: true }).waitFor();
    await page.getByRole('link', { name: 'team/app' }).focus();
    const content = new TestContent();
    await registry.drop('new/one', content, [{ image: content.image(), tag: '1' }]);
    daemon.set();
    await page.getByRole('link', { name: 'new/one' }).waitFor();
    expect(await page.evaluate('document.activeElement.textContent')).to.equal('team/app');
    await page.context().close();
  });

  it('updates live: a drop appears, runs, and is published or rejected without a reload', async () => {
    const own = join(root, 'daemon');
    mkdirSync(own);
    const process = await DaemonProcess.start(own, {
      yaml: 'settle: {quiet: 100ms, timeout: 1500ms}\n',
    });
    try {
      const page = await browser.visit(process.url);
      await page.getByText('Live', { exact: true }).waitFor();
      await page.evaluate('window.stays = true');
      const content = new TestContent();
      const image = content.image();
      const [missing = ''] = content.blobs.keys();
      content.writeLayout(join(own, 'inbox', 'app:1'), [{ image }], { omit: [missing] });
      await page.locator('aside', { hasText: '1 waiting' }).waitFor();
      await page.locator('aside', { hasText: missing.slice(0, 19) }).waitFor();
      // What is still not whole is rejected after a while.
      await page.locator('aside', { hasText: '1 rejected' }).waitFor();
      await page.locator('aside', { hasText: 'content.missing' }).waitFor();
      makeLayout(join(own, 'inbox', 'other:1'));
      // The list of repositories is live, too.
      await page.getByRole('link', { name: 'other' }).waitFor();
      expect(await page.evaluate('window.stays')).to.equal(true);
      await page.goto(`${process.url}/-/inbox`);
      await page
        .locator('section', { hasText: 'Recently published' })
        .getByText('other:1')
        .waitFor();
      await page.context().close();
      expect(await process.stop()).to.equal(0);
    } finally {
      await process.stop('SIGKILL');
    }
  });
});
