/** HTML that cannot be broken out of: what is put into a template is text unless it is HTML itself. */

/** Text that is HTML already; made by `html` alone. */
export class Html {
  constructor(readonly text: string) {}
}

/** What a template takes: nothing is shown for undefined, null and false; lists are joined. */
export type Shown = Html | string | number | undefined | null | false | readonly Shown[];

/** html`<b title="${name}">${name}</b>`: everything but Html is escaped. Attributes need quotes. */
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
 * Also replaces what cannot be seen and changes what can: control characters, and those that turn
 * the direction of writing, with which a name can be made to read as another.
 */
export function escapeText(text: string): string {
  return text
    .replace(/[^\P{Cc}\t\n]|[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu, '\ufffd')
    .replace(/\p{Cs}/gu, '\ufffd')
    .replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '');
}
