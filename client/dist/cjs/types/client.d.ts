import type { Events, Handler, Identity, Message, Options, State, SubscribeOptions, Subscription, Token, Transport, Upstream } from './types.js';
/** The address of a script that came from the gateway itself (iife.ts, module.ts). */
export declare const home: {
    script?: string;
};
export declare class Sluice {
    state: State;
    transport: Transport | null;
    upstream: Upstream;
    identity: Identity;
    private options;
    private token?;
    private turn;
    private renewed;
    private hinted;
    private host;
    private order;
    private index;
    private tries;
    private attempt;
    private link?;
    private probe?;
    private since;
    private own;
    private last;
    private routes;
    private highest?;
    private events;
    private kept;
    private timer?;
    private upgradeTimer?;
    private upgradeWait;
    private changeTimer?;
    private added;
    private removed;
    constructor(url?: string, options?: Options);
    /** A channel's name or an MQTT filter. The last values come at once, also for a second handler. */
    subscribe<T = unknown>(channel: string, handler: Handler<T>, options?: SubscribeOptions): Subscription;
    off(channel: string, handler?: Handler): void;
    /** Settles with the broker's acknowledgement. */
    publish(channel: string, data: unknown): Promise<'published' | 'accepted'>;
    /** Settles with the device's answer (MQTT 5 request/response). */
    request<T = unknown>(channel: string, data: unknown, { timeout }?: {
        timeout?: number | undefined;
    }): Promise<T>;
    /** The last value; undefined if there is none yet. */
    get<T = unknown>(channel: string): Promise<Message<T> | undefined>;
    /** What the gateway keeps of a channel, oldest first: the newest `limit`, or the first `limit` after a cursor. */
    history<T = unknown>(channel: string, options?: {
        limit?: number;
        cursor?: string;
    }): Promise<Message<T>[]>;
    /** `for await (const message of sluice.stream('rooms/+/t')) …`: a subscription that ends with the loop. */
    stream<T = unknown>(channel: string, options?: SubscribeOptions): AsyncGenerator<Message<T>, void>;
    on<K extends keyof Events>(event: K, listener: (event: Events[K]) => void): () => void;
    /** These transports, in this order, from now on. Nothing is lost on the way. */
    use(transports: Transport[]): void;
    /** Another token, or nobody's. Nothing is lost on the way. */
    setToken(token?: Token): void;
    /** Asks the token function anew, for a session that goes on. */
    refresh(): void;
    close(): void;
    private stop;
    private open;
    private connect;
    /** Goes on with a token: at once if it is known, or if there is none. */
    private authorize;
    /** A token function has been asked. */
    private ready;
    private renew;
    /** A new link subscribes to everything as it is now. What was half painted begins anew. */
    private settle;
    private alive;
    private dead;
    private failed;
    private pause;
    /** Browsers don't tell a page why another origin is out of its reach, and that is what everybody meets first. */
    private hint;
    /** Also in the console, where nobody listens. */
    private complain;
    private planUpgrade;
    /** A WebSocket is tried beside the current link. A stream would deliver at once, so it takes over, and may fail. */
    private upgrade;
    private retry;
    private onOnline;
    private onVisibility;
    /** The pace of its fastest handler. */
    private pace;
    /** Tells the link, once for all changes of this turn. */
    private change;
    private flush;
    private drop;
    private refuse;
    private receive;
    /** A handler that throws is the page's problem, not the stream's. */
    private call;
    private setUpstream;
    private setState;
    private emit;
    private send;
}
