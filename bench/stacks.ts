/**
 * Turns perf samples into one tree: JavaScript functions, and below them the work of Node and the kernel for
 * them. Pure.
 */

/** The kind of a frame: JavaScript of dropdock, of a library, of Node; the kernel; V8 and Node themselves. */
export type FrameKind = 'ours' | 'library' | 'node' | 'kernel' | 'engine';

export interface Frame {
  readonly name: string;
  readonly kind: FrameKind;
}

export interface StackNode extends Frame {
  /** Samples in it and in the functions that it called. */
  samples: number;
  readonly below: Map<string, StackNode>;
}

/** The engine's own threads, and calls from libraries whose stack cannot be unwound. */
const UNKNOWN = 'caller unknown, or none';

interface RawFrame {
  readonly symbol: string;
  readonly object: string;
}

/** @param text output of `perf script -F ip,sym,dso`: a stack is a block of lines, innermost first */
export function readStacks(text: string): StackNode {
  const root: StackNode = { name: 'all', kind: 'engine', samples: 0, below: new Map() };
  for (const block of text.split(/\n\s*\n/)) {
    const raw = block.split('\n').flatMap((line) => {
      const match = /^\s+[0-9a-f]+ (.*) \(([^()]*)\)$/.exec(line);
      return match ? [{ symbol: match[1] ?? '', object: match[2] ?? '' }] : [];
    });
    if (raw.length > 0) add(root, framesOf(raw));
  }
  return root;
}

function add(root: StackNode, frames: readonly Frame[]): void {
  root.samples++;
  let node = root;
  for (const frame of frames) {
    const next = node.below.get(frame.name) ?? { ...frame, samples: 0, below: new Map() };
    node.below.set(frame.name, next);
    next.samples++;
    node = next;
  }
}

/** Outermost first. Frames of the kernel are merged into one, and so are frames of the engine. */
function framesOf(raw: readonly RawFrame[]): Frame[] {
  const [innermost] = raw as [RawFrame];
  const calls = [...raw].reverse().flatMap(({ symbol }) => scriptFrame(symbol) ?? []);
  const frames = calls.filter(({ name }, at) => name !== calls[at - 1]?.name);
  const isKernel = innermost.object.includes('kernel');
  const last: Frame[] = isKernel
    ? [{ name: kernelWork(raw), kind: 'kernel' }]
    : engineWork(innermost);
  return frames.length === 0 ? [{ name: UNKNOWN, kind: 'engine' }, ...last] : [...frames, ...last];
}

/** Undefined for unnamed functions, and for Node's internal functions between others. */
function scriptFrame(symbol: string): Frame | undefined {
  const match = /^JS:[*^~+]?(\S*) (?:file:\/\/)?(\S+?):\d+(?::\d+)?$/.exec(symbol);
  const [, name = '', path = ''] = match ?? [];
  if (name === '' || path.startsWith('node:internal')) return undefined;
  if (path.startsWith('node:')) return { name: `${name} (${path})`, kind: 'node' };
  const [, library] = /\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path) ?? [];
  if (library !== undefined) return { name: `${name} (${library})`, kind: 'library' };
  return { name: `${name} (${path.split('/').slice(-2).join('/')})`, kind: 'ours' };
}

function kernelWork(raw: readonly RawFrame[]): string {
  for (const { symbol } of raw.toReversed()) {
    const [, call] = /^__(?:x64|arm64|ia32)_sys_(\w+)$/.exec(symbol) ?? [];
    if (call !== undefined) return call;
  }
  const isFault = raw.some(({ symbol }) => /page_fault|do_user_addr/.test(symbol));
  return isFault ? 'page fault' : 'kernel: interrupts, switching';
}

const ENGINE: readonly (readonly [RegExp, string])[] = [
  [/Scaveng|Mark|Sweep|Heap|Evacuat|GCTracer|IterateBody|SizeFromMap/, 'garbage'],
  [/compiler|Turbofan|baseline::|Pars|Scanner|interpreter|Bytecode|Zone|Optimiz/, 'compiling'],
  [/sha|SHA|EVP|Digest/, 'hashing'],
  [/inflate|crc32|adler/, 'inflating'],
];

/** Empty for a function that runs its own code. */
function engineWork({ symbol, object }: RawFrame): Frame[] {
  if (symbol.startsWith('JS:')) return [];
  const [, name] = ENGINE.find(([pattern]) => pattern.test(symbol)) ?? [];
  if (name !== undefined) return [{ name, kind: 'engine' }];
  return [{ name: /libc|ld-linux/.test(object) ? 'C library' : 'V8 and Node', kind: 'engine' }];
}
