/**
 * Matches patterns in the settings for repositories and tags: `*` matches anything within one component, `**`
 * matches anything, all other characters match themselves. No glob library has these rules: there, `te**` is
 * one component, `team/**` matches `team` too, and `+(`, `[` and `!` are special.
 */
import { LRUCache } from 'lru-cache';

/** Returns true if a pattern matches the complete name. */
export function matchesPattern(pattern: string, name: string): boolean {
  const expression = compiled.get(pattern) ?? compile(pattern);
  compiled.set(pattern, expression);
  return expression.test(name);
}

/** Cached, because a catalog matches each pattern against thousands of repositories. */
const compiled = new LRUCache<string, RegExp>({ max: 1000 });

function compile(pattern: string): RegExp {
  const parts = pattern.split(/(\*+)/).map((part) => {
    if (part === '*') return '[^/]*';
    return part.startsWith('*') ? '.*' : part.replace(/[.+?^${}()|[\]\\]/g, '\\$&');
  });
  return new RegExp(`^${parts.join('')}$`, 's');
}
