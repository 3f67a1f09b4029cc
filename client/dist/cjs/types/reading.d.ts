/** What can be asked for without a subscription, and a subscription as an async iterator. */
import type { Sluice } from './client.js';
import type { Host } from './link.js';
import { type Message, type SubscribeOptions } from './types.js';
/** GET /channels/NAME; no value yet is undefined. */
export declare const get: (host: Host, channel: string) => Promise<Message | undefined>;
/** GET /channels/NAME/history. */
export declare const history: (host: Host, channel: string, { limit, cursor }: {
    limit?: number;
    cursor?: string;
}) => Promise<Message[]>;
/** Ends with the loop. Messages wait while the loop's body does; beyond a bound that is an error, and none is left out. */
export declare function stream<T>(sluice: Sluice, channel: string, options: SubscribeOptions): AsyncGenerator<Message<T>, void>;
