/** Topics, cursors and durations: the small pure things. */

/** Does the MQTT filter match the name? (MQTT 5.0 section 4.7) */
export function matches(filter: string, name: string): boolean {
  if (filter === name) return true;
  const f = filter.split('/');
  const n = name.split('/');
  if (name[0] === '$' && (f[0] === '+' || f[0] === '#')) return false;
  for (let i = 0; i < f.length; i++) {
    if (f[i] === '#') return true; // also the level before it: a/# matches a
    if (i >= n.length || (f[i] !== '+' && f[i] !== n[i])) return false;
    if (i === n.length - 1 && i === f.length - 2 && f[i + 1] === '#') return true;
  }
  return f.length === n.length;
}

export const isFilter = (name: string): boolean => /(^|\/)[+#](\/|$)/.test(name);

/** A cursor is `<epoch>.<number>`; only numbers of one epoch can be compared. */
const split = (cursor: string): [string, bigint] => {
  const dot = cursor.lastIndexOf('.');
  return [cursor.slice(0, dot), BigInt(cursor.slice(dot + 1))];
};

export const isCursor = (text: unknown): boolean => /^\S+\.\d+$/.test(text as string);

/** -1, 0, 1; undefined for different epochs. */
export function compare(a: string, b: string): number | undefined {
  const [ea, na] = split(a);
  const [eb, nb] = split(b);
  return ea !== eb ? undefined : na < nb ? -1 : na > nb ? 1 : 0;
}

/** The later of where we are and where we are told to be. Of equal ones the new text: it may say more. */
export const later = (own: string | undefined, told: string): string =>
  own && compare(own, told) === 1 ? own : told;

/** '250ms', '2s', '5m', '1h', '7d' in ms; 0 for none. */
export function duration(text: string | undefined | false): number {
  const found = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text || '0s');
  if (!found) throw new TypeError(`'${text}' is no duration such as 250ms or 2s`);
  return Math.round(+found[1] * { ms: 1, s: 1e3, m: 6e4, h: 36e5, d: 864e5 }[found[2] as 'ms']);
}
