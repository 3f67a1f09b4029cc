/** `import { Sluice } from 'http://gateway/client.mjs'`: the module as the gateway serves it. */
import { home } from './place.js';

home.script = import.meta.url;
home.share = async (...given) => (await import(new URL('share.mjs', import.meta.url).href)).share(...given);

export * from './index.js';
export { default } from './index.js';
