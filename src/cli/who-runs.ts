/** Returns the user who runs a command, for the history. Pure. */

/** @returns with sudo, the user who called it; otherwise the user of the process, or its uid if it has no name */
export function whoRuns(
  { SUDO_USER: caller }: Readonly<Record<string, string | undefined>>,
  user: { readonly name: () => string; readonly uid: number | undefined },
): string | undefined {
  if (caller) return caller;
  try {
    return user.name();
  } catch {
    return user.uid?.toString();
  }
}
