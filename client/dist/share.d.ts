import type { Share } from './types/types.js';
/** `worker`: the address of this module, if a SharedWorker may run it: one of the page's own origin. */
export declare function shareBy(worker?: string | URL): Share;
export declare const share: Share;
