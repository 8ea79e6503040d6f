/** A real headless browser. Its errors and its requests to other hosts are recorded. */

import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { crash } from '#src/crash.js';

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  // On a machine without a network it would try for long.
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export class TestBrowser {
  /** Errors of scripts, violations of the policy, requests to elsewhere. */
  readonly complaints: string[] = [];

  private constructor(readonly browser: Browser) {}

  static async open(): Promise<TestBrowser> {
    const executablePath = '/usr/bin/chromium';
    return new TestBrowser(await chromium.launch({ executablePath, args: FLAGS }));
  }

  async visit(url: string, options: BrowserContextOptions = {}): Promise<Page> {
    const context = await this.browser.newContext({
      viewport: { width: 1200, height: 800 },
      ...options,
    });
    const page = await context.newPage();
    page.setDefaultTimeout(15_000);
    const { origin } = new URL(url);
    page.on('console', (message) => {
      if (message.type() === 'error') this.complaints.push(message.text());
    });
    page.on('pageerror', (error) => void this.complaints.push(error.message));
    page.on('dialog', (dialog) => {
      this.complaints.push(`a dialog: ${dialog.message()}`);
      dialog.dismiss().catch(crash);
    });
    page.on('request', (request) => {
      if (!request.url().startsWith(origin)) this.complaints.push(request.url());
    });
    await page.goto(url);
    return page;
  }

  /** What is wider than the window, in pixels; 0 for nothing. */
  async overflow(page: Page): Promise<number> {
    const root = 'document.documentElement';
    return Math.max(0, await page.evaluate<number>(`${root}.scrollWidth - ${root}.clientWidth`));
  }

  async close(): Promise<void> {
    await this.browser.close();
  }
}
