/** What publish() may send: one JSON value, or bytes as they are. Whatever JSON would silently change is refused. */
import { SluiceError } from './types.js';

export type Payload = string | Uint8Array<ArrayBuffer>;

const kind = (value: unknown): string => Object.prototype.toString.call(value).slice(8, -1);

/** A text is JSON, anything else the payload itself. It is a copy: a publish may wait, and its value may change. */
export function encode(data: unknown): Payload {
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice() as Uint8Array<ArrayBuffer>;
  if (kind(data) === 'ArrayBuffer') return new Uint8Array(data as ArrayBuffer).slice();
  try {
    return JSON.stringify(data, function (this: any, key, value) {
      const type = kind(value);
      // A member that is undefined is left out, as everywhere; an item of a list would become null.
      const left = type === 'Undefined' && key && !Array.isArray(this);
      const odd = type === 'Number' ? !isFinite(value) : type === 'Null' ? kind(this[key]) === 'Date' : false;
      if (odd || !(left || /^(Object|Array|String|Number|Boolean|Null)$/.test(type)))
        throw new TypeError(`${odd ? this[key] : type}${key && ` in '${key}'`} is nothing that JSON can hold`);
      return value;
    });
  } catch (error) {
    throw new SluiceError('bad_request', (error as Error).message);
  }
}
