/** An inbox in which 100,000 files wait for missing content: does this slow down the daemon? */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { command, cpuOfS, memoryOf, pause, until } from '../command.js';
import { Daemon, still } from '../daemon.js';
import type { Layer } from '../layers.js';
import { image, sha256, writeLayout } from '../layout.js';
import { type Answer, below, type Question } from '../question.js';

const FILES_PER_DROP = 100;

/** Of these, one is the manifest, one the config, two belong to the layout. */
const LAYERS_PER_DROP = FILES_PER_DROP - 4 + 1;

/** Scans are more frequent than by default, so that many happen during the measurement. */
const YAML = 'inbox: {scan: 5s}\n';

/** Loaded into the daemon's main thread. Writes the longest stall so far on request. */
const MONITOR = `
import { writeFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { isMainThread } from 'node:worker_threads';
if (isMainThread) {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  process.on('SIGUSR2', () => {
    writeFileSync(process.env.BENCH_STALLS, JSON.stringify([delay.max / 1e6, delay.percentile(99) / 1e6]));
    delay.reset();
  });
}
`;

export const waiting: Question = {
  name: 'waiting',
  asks: 'An inbox with 100,000 waiting files: 1,000 drops of 100 files, each with one layer missing.',
  rounds: 1,
  run: async (context): Promise<Answer> => {
    const drops = context.quick ? 100 : 1000;
    const spanMs = context.quick ? 7000 : 11_000;
    const made = join(context.directory, 'waiting-drops');
    for (let at = 0; at < drops; at++) makeDrop(join(made, `drop-${at}`), at);
    await command('sync', '-f', made);
    await still();
    const monitor = join(context.directory, 'monitor.mjs');
    writeFileSync(monitor, MONITOR);
    const root = join(context.directory, 'waiting');
    const stalls = join(context.directory, 'stalls');
    const env = { ...process.env, BENCH_STALLS: stalls };
    const nodeOptions = ['--import', monitor];
    const daemon = await Daemon.start(context, root, { yaml: YAML, nodeOptions, env });
    await daemon.warm();
    const span = async () => {
      const before = cpuOfS(daemon.pid);
      await pause(spanMs);
      const cpu = (100_000 * (cpuOfS(daemon.pid) - before)) / spanMs;
      return { cpu, ...(await readStalls(daemon, stalls)), ...memoryOf(daemon.pid) };
    };
    await readStalls(daemon, stalls);
    const empty = await span();
    renameSync(made, join(daemon.inbox, 'team'));
    const [first, second, third] = [await daemon.measured(span), await span(), await span()];
    await daemon.stop();
    rmSync(root, { recursive: true });
    const files = (drops * FILES_PER_DROP).toLocaleString('en-US');
    return answer(files, { empty, first, second, third });
  },
};

interface Span {
  readonly cpu: number;
  readonly maxMs: number;
  readonly p99Ms: number;
  readonly nowMiB: number;
}

function answer(
  files: string,
  { empty, first, second, third }: Record<'empty' | 'first' | 'second' | 'third', Span>,
): Answer {
  const later = [second, third];
  const grown = third.nowMiB - second.nowMiB;
  const row = (title: string, unit: 'ms' | 'MiB' | '%', of: (span: Span) => number) => ({
    title,
    unit,
    ours: { name: `${files} files waiting`, samples: later.map(of) },
    peers: [
      { name: 'when they have just come', samples: [of(first)] },
      { name: 'its inbox empty', samples: [of(empty)] },
    ],
  });
  return {
    rows: [
      {
        ...row('the longest stall of the event loop', 'ms', ({ maxMs }) => maxMs),
        goals: [below(50, 'ms', Math.max(...[first, ...later].map(({ maxMs }) => maxMs)))],
      },
      { ...row('stalls, p99', 'ms', ({ p99Ms }) => p99Ms), goals: [] },
      {
        ...row('resident memory', 'MiB', ({ nowMiB }) => nowMiB),
        goals: [
          { text: 'flat', value: `${grown.toFixed(1)} MiB more a span later`, reached: grown < 10 },
        ],
      },
      { ...row('processor, of one core', '%', ({ cpu }) => cpu), goals: [] },
    ],
    notes: [
      'Full scans every 5 s instead of every 30 s. `perf_hooks` inside the daemon measures the stalls; ' +
        'its timer of 1 ms counts as a stall of 1 ms. A span is 11 s.',
    ],
  };
}

async function readStalls(
  { pid }: Daemon,
  file: string,
): Promise<{ maxMs: number; p99Ms: number }> {
  rmSync(file, { force: true });
  process.kill(pid, 'SIGUSR2');
  const [maxMs, p99Ms] = await until('the stalls', () => {
    try {
      return JSON.parse(readFileSync(file, 'utf8')) as [number, number];
    } catch {
      return undefined;
    }
  });
  return { maxMs, p99Ms };
}

function makeDrop(directory: string, at: number): void {
  mkdirSync(directory, { recursive: true });
  const layers = Array.from({ length: LAYERS_PER_DROP }, (_none, number): Layer => {
    const bytes = `${at} ${number}`;
    const path = join(directory, `layer-${number}`);
    writeFileSync(path, bytes);
    return { path, digest: sha256(bytes), diffId: sha256(bytes), size: bytes.length };
  });
  const [missing] = layers;
  writeLayout(directory, [{ image: image(layers, String(at)), tag: '1.0' }], {
    layers: 'moved',
    leave: (layer) => layer === missing,
  });
  if (missing) rmSync(missing.path);
}
