/** What the upkeep remembers from one round to the next. */
export class UpkeepMemory {
  /** Claims of this process that nothing works on, by `claimKey`, as the last round found them. */
  forgottenClaims: ReadonlySet<string> = new Set();
  /** What prevents a repository from being cleaned, by target and id, as it was logged last. */
  readonly warningOf = new Map<string, string>();
}
