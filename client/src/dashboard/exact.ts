/** Numbers that a double cannot hold: JSON.parse() rounds them without a word. */
const json = JSON as unknown as { rawJSON?(text: string): unknown; isRawJSON?(value: unknown): boolean };

/** Is there a number that the browser has rounded? */
export function rounded(value: unknown): boolean {
  if (typeof value === 'number') return !Number.isFinite(value) || (Number.isInteger(value) && !Number.isSafeInteger(value));
  return typeof value === 'object' && value !== null && Object.values(value).some(rounded);
}

/** As JSON.parse(), but what it would round prints as it was written. In older browsers there is no way to that. */
export const parseExactly = (text: string): unknown =>
  JSON.parse(text, function (this: unknown, _key: string, value: unknown, context?: { source?: string }) {
    return typeof value === 'number' && rounded(value) && context?.source && json.rawJSON ? json.rawJSON(context.source) : value;
  } as (key: string, value: unknown) => unknown);

export const isRaw = (value: unknown): boolean => !!json.isRawJSON?.(value);
