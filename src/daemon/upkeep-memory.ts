/** What the upkeep remembers between rounds. */
export class UpkeepMemory {
  /** Claims of this process that the last round found unattended, by `claimKey`. */
  forgottenClaims: ReadonlySet<string> = new Set();
  /** The last logged reason why a repository cannot be cleaned, by target and id. */
  readonly warningOf = new Map<string, string>();
}
