/** What SSE and long-poll share: asking with a query, publishing by POST, and finding out which channel is refused.
 *
 * Whatever answers may be a proxy, a captive portal or another server. Only what the protocol defines counts as the
 * gateway's word; the rest ends the link, and nothing is concluded from it. */
import type { Ask, Host, Link, Sub } from './link.js';
import { SluiceError, type Transport } from './types.js';
/** A link of requests, each for all subscriptions as they then are. */
export declare abstract class HttpLink implements Link {
    protected host: Host;
    abstract readonly transport: Transport;
    protected told: boolean;
    protected timer?: ReturnType<typeof setTimeout>;
    private abort;
    constructor(host: Host);
    protected abstract path(subs: Sub[]): string;
    /** Returns when it is time to ask again, or after end(). */
    protected abstract read(answer: Response, subs: Sub[], signal: AbortSignal): Promise<void>;
    /** ms until an answer begins. */
    protected patience(): number;
    start(): boolean;
    update(): void;
    renew(): void;
    ask(ask: Ask): Promise<unknown>;
    check(): void;
    close(): void;
    protected wait(ms: number): void;
    protected sign(): void;
    /** Not the gateway's answer. */
    protected strange(answer: Response): void;
    protected end(reason: string, more?: {}): void;
    private run;
}
/** `?channel=A&from=C1&channel=B…`; one common cursor where all stand at the same place. */
export declare function query(subs: Sub[]): string;
/** An object, whatever came. */
export declare const bodyOf: (answer: Response) => Promise<any>;
/** Of a channel, if the gateway says so. */
export declare const isRefusal: ({ status }: Response) => boolean;
/** The gateway's own error, if it is one. */
export declare function errorOf(answer: Response): Promise<SluiceError | undefined>;
/** What publish() and request() resolve with. */
export declare const settled: (status: string, { cursor, data }: any) => unknown;
/** POST /channels/NAME. Slashes stay as they are, unless a proxy would tidy the path. */
export declare function post(host: Host, { channel, body, reply, confirm, key }: Ask): Promise<unknown>;
