/** `<script src="/client.js">` (and elements.js) puts these two names on the page. */
import { home } from './place.js';
import { Sluice, SluiceError } from './index.js';

// A copy elsewhere, such as dist/client.js of the npm package on a CDN, says nothing of where the gateway is.
const { src } = (globalThis.document?.currentScript || {}) as HTMLScriptElement;
if (/^https?:[^?#]*\/(client|elements)\.js([?#]|$)/.test(src) && !/\/dist\/\w+\.js/.test(src)) {
  home.script = src;
  home.share = async (...given) => (await import(new URL('share.mjs', src).href)).share(...given);
}

Object.assign(globalThis, { Sluice, SluiceError });
