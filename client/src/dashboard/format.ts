/** Values, ages and rates as people read them. */
import { isBlobAddress } from '../client/blob';

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

export const isObject = (value: unknown): value is { [key: string]: Json } =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Bytes that are no text come as {"base64": "…"}. */
export const isBinary = (value: unknown): value is { base64: string } =>
  isObject(value) && typeof value.base64 === 'string' && Object.keys(value).length === 1;

export const binarySize = ({ base64 }: { base64: string }): number =>
  Math.floor((base64.length * 3) / 4) - (base64.endsWith('==') ? 2 : base64.endsWith('=') ? 1 : 0);

/** Payloads that have an address (`codec: blob`). */
export const isBlob = (value: unknown): value is { url: string; type: string; bytes: number } =>
  isObject(value) && isBlobAddress(value.url) && typeof value.type === 'string' && typeof value.bytes === 'number';

export function number(value: number): string {
  if (Number.isSafeInteger(value)) return String(value);
  const digits = Math.abs(value) >= 1000 ? 1 : Math.abs(value) >= 1 ? 2 : 3;
  return Math.abs(value) < 1e15 && (Math.abs(value) >= 1e-3 || value === 0) ? value.toFixed(digits).replace(/\.?0+$/, '') : value.toExponential(3);
}

export function age(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 1) return 'now';
  if (s < 100) return `${s} s`;
  if (s < 6000) return `${Math.round(s / 60)} min`;
  return s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} d`;
}

export function rate(perSecond: number): string {
  if (perSecond >= 0.95) return `${perSecond >= 10 ? Math.round(perSecond) : perSecond.toFixed(1)}/s`;
  const perMinute = perSecond * 60;
  return perMinute < 0.5 ? '' : `${Math.round(perMinute)}/min`;
}

export const bytes = (n: number): string => (n < 1024 ? `${n} B` : n < 1048576 ? `${(n / 1024).toFixed(1)} KiB` : `${(n / 1048576).toFixed(1)} MiB`);

/** What is at a path in a value. */
export function at(value: unknown, keys: string[]): unknown {
  for (const key of keys) {
    if (!isObject(value) || !Object.hasOwn(value, key)) return undefined;
    value = value[key];
  }
  return value;
}

const MOST_FIELDS = 64;

/** The numbers in a value, by their path: '' for a number itself, 'ENERGY.Power' inside an object. */
export function numbers(value: unknown, path = '', found: [string, number][] = []): [string, number][] {
  if (typeof value === 'number' && Number.isFinite(value)) found.push([path, value]);
  else if (isObject(value))
    for (const key of Object.keys(value)) {
      if (found.length >= MOST_FIELDS) break;
      numbers(value[key], path ? `${path}.${key}` : key, found);
    }
  return found;
}

/** Numbers and booleans inside an object: what a row has room for. */
export function fields(value: unknown, path = '', found: [string, number | boolean][] = []): [string, number | boolean][] {
  if (typeof value === 'number' || typeof value === 'boolean') found.push([path, value]);
  else if (isObject(value))
    for (const key of Object.keys(value)) {
      if (found.length >= MOST_FIELDS) break;
      fields(value[key], path ? `${path}.${key}` : key, found);
    }
  return found;
}

/** 14:03:07, with the date if it is not today. */
export function clock(ms: number, fraction = false): string {
  const time = new Date(ms);
  const two = (n: number): string => String(n).padStart(2, '0');
  const text = `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}${fraction ? '.' + String(time.getMilliseconds()).padStart(3, '0') : ''}`;
  if (time.toDateString() === new Date().toDateString()) return text;
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ${text}`;
}

/** Fields that say more of the radio than of the room come last. */
const TELLING = /temperature|(^|\.)value$|(^|\.)(tC|temp)$|power|humidity|co2|lux|illuminance|level|brightness/i;
const DULL = /linkquality|voltage|battery|rssi|uptime|(^|\.)id$|(^|\.)ts$|\.tF$|Total|Factor|color_temp|Period/i;
const interest = (path: string): number => (DULL.test(path) ? 2 : TELLING.test(path) ? 0 : 1);
export const byInterest = (a: [string, unknown], b: [string, unknown]): number =>
  interest(a[0]) - interest(b[0]) || Number(/temp|tC/i.test(b[0])) - Number(/temp|tC/i.test(a[0]));

/** The beginning of a text: a value of a mebibyte would hold the page up, and nobody reads it there. */
export const begin = (text: string, most: number, rest = ''): string => (text.length > most ? `${text.slice(0, most)}… ${text.length - most} more letters${rest}` : text);

export function short(value: unknown): string {
  if (value === undefined) return 'cleared';
  if (value === null) return 'null'; // the payload of these four letters
  if (typeof value === 'number') return number(value);
  if (typeof value === 'string') return value.length > 200 ? value.slice(0, 200) + '…' : value;
  if (isBinary(value)) return `binary, ${bytes(binarySize(value))}`;
  if (isBlob(value)) return `${value.type}, ${bytes(value.bytes)}`;
  const text = JSON.stringify(value);
  return text.length > 200 ? text.slice(0, 200) + '…' : text;
}
