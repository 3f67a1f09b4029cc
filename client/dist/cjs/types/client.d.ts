import type { Host, Link } from './link.js';
import { Subscriptions } from './subscriptions.js';
import type { Events, Handler, Identity, Message, Options, PublishOptions, Receipt, State, Status, SubscribeOptions, Subscription, Token, Transport, Upstream } from './types.js';
export declare class Sluice {
    state: State;
    transport: Transport | null;
    upstream: Upstream;
    identity: Identity;
    private options;
    protected token?: Token;
    private worths;
    private turn;
    private renewed;
    private hinted;
    protected host: Host;
    private order;
    private index;
    private tries;
    private attempt;
    protected link?: Link;
    private probe?;
    private since;
    protected subs: Subscriptions;
    private events;
    private kept;
    private timer?;
    private upgradeTimer?;
    private upgradeWait;
    constructor(url?: string, options?: Options);
    /** What was told last of a channel's state; undefined: nothing, it is live as far as is known. */
    status(channel: string): Status | undefined;
    /** A channel's name or an MQTT filter. The last values come at once, also for a second handler. */
    subscribe<T = unknown>(channel: string, handler: Handler<T>, options?: SubscribeOptions): Subscription;
    off(channel: string, handler?: Handler): void;
    /** Settles with the broker's acknowledgement, or with what the device made of it. */
    publish<T = unknown>(channel: string, data: unknown, options: PublishOptions & {
        confirm: true;
    }): Promise<Receipt<T>>;
    publish(channel: string, data: unknown, options?: PublishOptions): Promise<'published' | 'accepted'>;
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
    /** Where the bytes of a `codec: blob` value are (`data.url`), for `<img src>`. It knows no token: see `payload()`. */
    address(url: string): string;
    /** Those bytes, with this client's token. The browser keeps them. */
    payload(url: string): Promise<Blob>;
    /** Does it send a token? */
    get signedIn(): boolean;
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
    private alive;
    private resume;
    /** The connection is that of several tabs, and whoever has it says how it is. */
    private follow;
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
    private setUpstream;
    private setState;
    private emit;
    private send;
}
