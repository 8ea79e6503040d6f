import { expect } from 'chai';
import { flameGraph } from '#bench/flame-graph.js';
import { readStacks, type StackNode } from '#bench/stacks.js';

const JS = 'JS:*take file:///srv/dropdock/dist/threads/take.js:10:5 (/tmp/perf-1.map)';
const OPEN = 'JS:^openSync node:fs:570:18 (/tmp/perf-1.map)';

/** As perf prints them: the innermost first. */
const stacks = (...all: readonly (readonly string[])[]) =>
  readStacks(
    all.map((frames) => frames.map((each) => `\t    7f01ab ${each}\n`).join('')).join('\n'),
  );

/** `all 3 > take 2 > …`, each path to a leaf. */
function paths(node: StackNode, before = ''): string[] {
  const own = `${before}${node.name} ${node.samples}`;
  if (node.below.size === 0) return [own];
  return [...node.below.values()].flatMap((each) => paths(each, `${own} > `));
}

describe('perf stack samples', () => {
  it('form one tree, outermost frame first, with one frame for kernel work', () => {
    const kernel = ['path_openat ([kernel.kallsyms])', '__x64_sys_openat ([kernel.kallsyms])'];
    const entry = 'entry_SYSCALL_64_after_hwframe ([kernel.kallsyms])';
    const root = stacks(
      [...kernel, entry, 'uv__fs_open (/usr/bin/node)', OPEN, JS],
      [...kernel.slice(1), entry, OPEN, JS],
      ['JS:*other file:///srv/node_modules/@scope/lib/index.js:1:1 (/tmp/perf-1.map)', JS],
    );
    const take = 'all 3 > take (threads/take.js) 3 > ';
    expect(paths(root)).to.deep.equal([
      `${take}openSync (node:fs) 2 > openat 2`,
      `${take}other (@scope/lib) 1`,
    ]);
  });

  it('show engine work where no function runs, and omit engine internals', () => {
    const nameless = 'JS:^ file:///srv/dropdock/dist/threads/take.js:12:9 (/tmp/perf-1.map)';
    const within = 'JS:^run node:internal/process/task_queues:95:5 (/tmp/perf-1.map)';
    const root = stacks(
      ['v8::internal::Scavenger::Process(JobDelegate*) (/usr/bin/node)'],
      ['Builtins_LoadIC (/usr/bin/node)', within, nameless, JS],
      ['native_write_msr ([kernel.kallsyms])', JS],
    );
    expect(paths(root).toSorted()).to.deep.equal([
      'all 3 > caller unknown, or none 1 > garbage 1',
      'all 3 > take (threads/take.js) 2 > V8 and Node 1',
      'all 3 > take (threads/take.js) 2 > kernel: interrupts, switching 1',
    ]);
  });

  it('are drawn in proportion to their frequency; frames that are too narrow are omitted', () => {
    const many = Array.from({ length: 999 }, () => [JS]);
    const svg = flameGraph(stacks(...many, [OPEN]), 'what <ran>');
    expect(svg).to.include('what &lt;ran>');
    expect(svg).to.include('<title>take (threads/take.js), 99.9 %</title>');
    expect(svg).to.match(/width="999" height="16" fill="#f2a65a"/);
    expect(svg).not.to.include('openSync');
  });
});
