/** Reads a drop in a separate process and prints the error code of the rejection. */
import { refusal } from '../support/refusal.js';
import { readDrop } from './drop-fixture.js';

const path = process.argv[2] ?? '';
process.stdout.write(refusal(() => readDrop(path, '1.0')).code);
