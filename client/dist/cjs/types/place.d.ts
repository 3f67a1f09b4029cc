import type { Share } from './types.js';
/** What a script that came from the gateway itself (iife.ts, module.ts) knows. */
export declare const home: {
    script?: string;
    share?: Share;
};
/** The gateway's address without a slash at the end; '' where there is no page to start from, as on a server. */
export declare function locate(url: string): string;
