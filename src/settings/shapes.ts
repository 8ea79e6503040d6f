/** Schemas that several settings share, with their error messages. */
import * as v from 'valibot';
import { noList } from '../image/json.js';

export const filled = v.pipe(v.string(), v.minLength(1, 'expected a non-empty text'));

export const counted = v.pipe(v.number(), v.safeInteger(), v.minValue(1, 'expected at least 1'));

export const absolutePath = v.pipe(
  v.string(),
  v.startsWith('/', 'expected a path that begins with /'),
);

export const text = (pattern: RegExp, message: string) =>
  v.pipe(v.string(), v.regex(pattern, message));

/** An object with these entries and no others. */
export const only = <const Entries extends v.ObjectEntries>(entries: Entries) =>
  v.pipe(noList, v.strictObject(entries));

/** A section of the settings; if absent, the defaults of its entries apply. */
export const section = <const Entries extends v.ObjectEntries>(entries: Entries) =>
  v.optional(only(entries), {} as never);

/** A list with at least one item. */
export const some = <Item extends v.GenericSchema>(item: Item) =>
  v.pipe(v.array(item), v.minLength(1, 'expected at least one'));

/** The schema or null; null is the default. */
export const orNull = <Schema extends v.GenericSchema>(schema: Schema) =>
  v.optional(v.nullable(schema), null);

/** @param schemes with their colon: `http:` */
export function url(schemes: readonly string[], message: string) {
  const isOne = (text: string) => schemes.includes(URL.parse(text)?.protocol ?? '');
  return v.pipe(v.string(), v.check(isOne, message));
}

export const HTTP: readonly string[] = ['http:', 'https:'];

/** An error at a path below the checked value. */
export interface Problem {
  readonly path: readonly string[];
  readonly message: string;
}

/** Checks settings against each other; runs only if each is valid by itself. */
export function agree<T extends object>(complaints: (value: T) => Iterable<Problem>) {
  return v.rawCheck<T>(({ dataset, addIssue }) => {
    if (!dataset.typed) return;
    for (const { path, message } of complaints(dataset.value)) {
      const [first, ...rest] = path.map((key) => step(dataset.value, key));
      addIssue(first === undefined ? { message } : { message, path: [first, ...rest] });
    }
  });
}

function step(input: object, key: string): v.ObjectPathItem {
  return { type: 'object', origin: 'value', input: input as never, key, value: undefined };
}
