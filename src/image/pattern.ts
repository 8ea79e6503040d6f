/**
 * Patterns of the settings, for repositories and for tags: `*` stands for anything within one component,
 * `**` for anything, and everything else for itself. No glob library says it so: to them `te**` is one
 * component, `team/**` is `team` too, and `+(`, `[` and `!` mean something.
 */

/** Whether a pattern matches all of a name. */
export function matchesPattern(pattern: string, name: string): boolean {
  const expression = compiled.get(pattern) ?? compile(pattern);
  compiled.set(pattern, expression);
  return expression.test(name);
}

/** The patterns of the settings; a catalog asks each of them for each of thousands of repositories. */
const compiled = new Map<string, RegExp>();

function compile(pattern: string): RegExp {
  const parts = pattern.split(/(\*+)/).map((part) => {
    if (part === '*') return '[^/]*';
    return part.startsWith('*') ? '.*' : part.replace(/[.+?^${}()|[\]\\]/g, '\\$&');
  });
  return new RegExp(`^${parts.join('')}$`, 's');
}
