/** Mocha's spec reporter, which also prints the counts and all failures at the end of the CI output. */
import { writeFileSync } from 'node:fs';
import Mocha from 'mocha';

export default class CiReporter extends Mocha.reporters.Spec {
  constructor(runner: Mocha.Runner, options: Mocha.MochaOptions) {
    super(runner, options);
    const failed: string[] = [];
    runner.on('fail', (test, error) => {
      failed.push(`${test.fullTitle()}\n${error.stack ?? error.message}\n\n`);
    });
    runner.once('end', () => {
      const { passes, failures, pending } = this.stats;
      const skipped = pending > 0 ? `, ${pending} skipped` : '';
      const output = (options.reporterOptions as { output?: string } | undefined)?.output;
      if (!output) return;
      writeFileSync(`${output}.failed`, failed.join(''));
      writeFileSync(output, `${passes} passed, ${failures} failed${skipped}\n`);
    });
  }
}
