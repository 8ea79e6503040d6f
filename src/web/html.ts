/** HTML templates that escape every value that is not `Html`. */

/** Text that is already HTML; only `html` creates it. */
export class Html {
  constructor(readonly text: string) {}
}

/** Values of a template: undefined, null and false are shown as nothing; lists are joined. */
export type Shown = Html | string | number | undefined | null | false | readonly Shown[];

/** html`<b title="${name}">${name}</b>`: escapes all values except Html. Attributes need quotes. */
export function html(strings: TemplateStringsArray, ...values: readonly Shown[]): Html {
  const parts = strings.map((each, at) => (at === 0 ? each : toText(values[at - 1]) + each));
  return new Html(parts.join(''));
}

function toText(value: Shown): string {
  if (value instanceof Html) return value.text;
  if (value === undefined || value === null || value === false) return '';
  if (typeof value === 'object') return value.map(toText).join('');
  return escapeText(String(value));
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/**
 * Escapes HTML. Also replaces control characters and those that change the writing direction, which can make
 * a name look like another one.
 */
export function escapeText(text: string): string {
  return text
    .replace(/[^\P{Cc}\t\n]|[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu, '\ufffd')
    .replace(/\p{Cs}/gu, '\ufffd')
    .replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '');
}
