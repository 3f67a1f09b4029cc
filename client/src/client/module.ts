/** `import { Sluice } from 'http://gateway/client.mjs'`: the module as the gateway serves it. */
import { home } from './client.js';

home.script = import.meta.url;

export * from './index.js';
export { default } from './index.js';
