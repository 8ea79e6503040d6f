/** Mocha's spec reporter, and one line with the counts, for the CI to print last. */
import { writeFileSync } from 'node:fs';
import Mocha from 'mocha';

export default class CiReporter extends Mocha.reporters.Spec {
  constructor(runner: Mocha.Runner, options: Mocha.MochaOptions) {
    super(runner, options);
    runner.once('end', () => {
      const { passes, failures, pending } = this.stats;
      const skipped = pending > 0 ? `, ${pending} skipped` : '';
      const output = (options.reporterOptions as { output?: string } | undefined)?.output;
      if (output) writeFileSync(output, `${passes} passed, ${failures} failed${skipped}\n`);
    });
  }
}
