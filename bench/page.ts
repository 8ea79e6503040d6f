/** docs/benchmarks.md, made of the last full answer to each question; they are kept beside it. */
import type { Section } from './table.js';

export function writeSection(_section: Section): void {}
