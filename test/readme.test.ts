/**
 * Goal: every command of the README works. Method: its shell blocks are run in order, in a directory that looks
 * like a built checkout, next to a daemon as `npm start` runs it. A comment before a block says why it is not run;
 * then its syntax is checked, and everywhere the commands and options of dropdock.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { loadSettings } from '#src/settings/settings.js';
import { DaemonProcess, dropdock } from './support/daemon-process.js';
import { TestContent } from './support/make-image.js';
import { removeTempDirs, tempDir } from './support/temp-dir.js';
import { haveTools } from './support/tools.js';
import { waitFor } from './support/wait-for.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const README = readFileSync(join(ROOT, 'README.md'), 'utf8');
const PORT = '127.0.0.1:5000';

interface Block {
  readonly language: string;
  readonly text: string;
  /** Why it is not run; undefined: it is run. */
  readonly reason: string | undefined;
}

function blocksOf(text: string): Block[] {
  const fenced = /(?:<!-- (?<mark>[^\n]*?) -->\n)?^```(?<language>\w*)\n(?<text>.*?)^```$/gms;
  return [...text.matchAll(fenced)].map(({ groups = {} }) => ({
    language: groups.language ?? '',
    text: groups.text ?? '',
    reason: /^not run: (.+)/.exec(groups.mark ?? '')?.[1],
  }));
}

const blocks = blocksOf(README);
const shell = blocks.filter(({ language }) => language === 'sh');

describe('the README', function () {
  this.timeout(120_000);
  let daemon: DaemonProcess | undefined;

  afterEach(async () => {
    await daemon?.stop('SIGKILL');
    daemon = undefined;
    removeTempDirs();
  });

  /** A directory with what a built checkout has, and a local image in place of the one from docker.io. */
  function checkout(): string {
    const root = tempDir();
    for (const name of ['dist', 'node_modules', 'package.json', 'config', 'systemd']) {
      symlinkSync(join(ROOT, name), join(root, name));
    }
    const content = new TestContent();
    content.writeLayout(join(root, 'local-image'), [{ image: content.image(), tag: '3.20' }]);
    mkdirSync(join(root, 'var'));
    return root;
  }

  it('has commands that work, in their order', async function () {
    if (!haveTools('skopeo', 'bash')) this.skip();
    const root = checkout();
    daemon = await DaemonProcess.start(join(root, 'var'), { flags: ['--welcome'] });
    const run = shell.filter(({ reason }) => reason === undefined);
    expect(run.length).to.be.at.least(3);
    const inbox = join(root, 'var/inbox');
    for (const { text } of run) {
      const script = text
        .replaceAll('docker://docker.io/library/alpine:3.20', 'oci:local-image:3.20')
        .replaceAll(PORT, daemon.registry);
      const { status, stderr } = spawnSync('bash', ['-euo', 'pipefail', '-c', script], {
        cwd: root,
        encoding: 'utf8',
      });
      expect(status, `${script}\n${stderr}`).to.equal(0);
      // A drop that is claimed while its last byte is written is returned, so only the receipt counts.
      if (script.includes(':var/inbox/')) {
        const receipts = () => readdirSync(join(inbox, '.receipts'));
        await waitFor('its receipt', () => receipts().some((name) => name.endsWith('.json')));
      }
    }
    const tags = await fetch(`${daemon.url}/v2/alpine/tags/list`);
    expect(await tags.json()).to.deep.equal({ name: 'alpine', tags: ['3.20'] });
  });

  it('has valid shell syntax everywhere, and reasons for what is not run', () => {
    expect(shell.length).to.be.at.least(8);
    for (const { text, reason } of shell) {
      const { status, stderr } = spawnSync('bash', ['-n'], { input: text, encoding: 'utf8' });
      expect(status, `${text}\n${stderr}`).to.equal(0);
      if (reason !== undefined) expect(reason, text).to.match(/needs|downloads|runs until/);
    }
  });

  it('names commands and options of dropdock that exist', async () => {
    const help = new Map<string, string>();
    const general = await dropdock('--help');
    const read = async (command: string) => {
      const { code, stdout } = await dropdock(command, '--help');
      expect(code, `dropdock ${command} --help`).to.equal(0);
      help.set(command, stdout + general.stdout);
    };
    const code = [...blocks.map(({ text }) => text), ...(README.match(/`[^`\n]+`/g) ?? [])];
    const uses = code
      .flatMap((text) => text.split('\n'))
      .flatMap((line) => {
        const use = /(?:^|`|\| )(?:dropdock|node dist\/main\.js) ([a-z]+)\b(.*)/.exec(line);
        return use ? [{ command: use[1] ?? '', rest: use[2] ?? '' }] : [];
      })
      .filter(({ rest }) => !rest.startsWith('.'));
    expect(uses.length).to.be.at.least(13);
    await Promise.all([...new Set(uses.map(({ command }) => command))].map(read));
    for (const { command, rest } of uses) {
      const text = help.get(command) ?? '';
      expect(text, command).to.match(new RegExp(`Usage: dropdock ${command} `));
      for (const [option] of rest.split('   ')[0]?.matchAll(/--[a-z-]+/g) ?? []) {
        expect(text, `dropdock ${command} ${option}`).to.contain(option);
      }
    }
  });

  it('has an example of settings that are valid, and scripts that package.json has', () => {
    const examples = blocks.filter(({ language }) => language === 'yaml');
    expect(examples).to.have.length(1);
    for (const { text } of examples) {
      loadSettings({ file: { name: 'README.md', text }, environment: {}, flags: [] });
    }
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
    for (const [, name] of README.matchAll(/npm run ([a-z:]+)/g)) {
      expect(scripts).to.have.property(name ?? '');
    }
  });

  it('links to files and headings that exist', () => {
    const links = [...README.matchAll(/\]\(([^)\s]+)\)/g)].map(([, to = '']) => to);
    const headings = [...README.matchAll(/^#+ (.+)$/gm)].map(([, title = '']) =>
      title.toLowerCase().replaceAll(' ', '-'),
    );
    for (const link of links.filter((each) => !each.startsWith('https://'))) {
      if (link.startsWith('#')) expect(headings).to.include(link.slice(1));
      else expect(existsSync(join(ROOT, link)), link).to.equal(true);
    }
  });

  it('names the files of the package as the build does', () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
    expect(README).to.contain(`dropdock_${version}_amd64.deb`);
    expect(README).to.contain(`dropdock-${version}.tgz`);
    const units = [...README.matchAll(/^cp (systemd\/\S+) (\S+)$/gm)];
    expect(units).to.have.length(3);
    for (const [, file = ''] of units) expect(existsSync(join(ROOT, file)), file).to.equal(true);
  });
});
