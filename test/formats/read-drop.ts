/** Reads a drop in a process of its own and prints the code it was refused with. */
import { refusal } from '../support/refusal.js';
import { readDrop } from './drop-fixture.js';

const path = process.argv[2] ?? '';
process.stdout.write(refusal(() => readDrop(path, '1.0')).code);
