/** Where the gateway is. */
import { page } from './subscriptions.js';
import type { Share } from './types.js';

/** What a script that came from the gateway itself (iife.ts, module.ts) knows. */
export const home: { script?: string; share?: Share } = {};

/** The gateway's address without a slash at the end; '' where there is no page to start from, as on a server. */
export function locate(url: string): string {
  const here = page()?.baseURI || globalThis.location?.href.replace(/^blob:/, '');
  let base;
  if (!url && home.script) base = new URL('.', home.script);
  else if (here || /^\w+:/.test(url)) base = new URL(url || '/', here);
  else return '';
  const text = base.href.replace(/^ws/, 'http').replace(/[?#].*$/, '').replace(/\/+$/, '');
  if (!/^https?:\/\/./.test(text)) throw new TypeError(`'${url || text}' is no address of a gateway, such as http://gateway:8080`);
  return text;
}
