/** `/share.mjs`: what the gateway's own client.js loads for `share: true`, and the SharedWorker that it starts. */
import { shareBy } from './index.js';

export const share = shareBy(import.meta.url);
