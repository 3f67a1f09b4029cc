/** What users of the client see. */
export type Transport = 'websocket' | 'sse' | 'longpoll';
/** `waiting`: backing off between attempts. `unauthorized`: the gateway wants another token; tried again slowly, or by setToken(). */
export type State = 'connecting' | 'live' | 'waiting' | 'unauthorized' | 'closed';
/** A JWT or an API key, or where to get one: asked at first, when it is about to expire, and once more when it is refused. */
export type Token = string | (() => string | Promise<string>);
/** Who the gateway says we are. */
export interface Identity {
    subject?: string;
    /** ms since 1970; null: never. */
    expires?: number | null;
}
export interface Message<T = unknown> {
    channel: string;
    data: T;
    cursor: string;
    /** When the gateway got it, ms since 1970. */
    ts: number;
    /** The broker sent it as a stored value. */
    retained?: true;
    /** The payload was empty: `data` is null, and the channel has no last value any more. */
    cleared?: true;
}
/** What the channel's value is worth. Live until something else is said. */
export interface Status {
    channel: string;
    state: 'live' | 'stale' | 'offline' | 'unknown';
    /** When it became so, ms since 1970. */
    since: number;
    /** When the newest live message came; missing if none did. */
    seen?: number;
    cursor: string;
    ts: number;
}
export interface Gap {
    channel: string;
    from: string;
    to: string;
    reason: 'history' | 'epoch' | 'overflow';
}
/** The gateway's connection to the broker. */
export interface Upstream {
    state: 'up' | 'down';
    since?: number;
}
export interface StateEvent {
    state: State;
    transport: Transport | null;
    reason?: string;
    /** While waiting: ms until the next attempt. */
    retryIn?: number;
}
export interface Options {
    /** For a gateway with `auth:`. Goes in the first frame or in a header, never into an address. */
    token?: Token;
    /** Tried in this order. */
    transports?: Transport[];
    /** publish() and request() while not live: rejected at once (default), or kept until it is. */
    offline?: 'reject' | 'queue';
    /** How many are kept, default 100; more are rejected. */
    queueLimit?: number;
    /** ms until a publish without an answer is rejected, default 15000. */
    timeout?: number;
    /** ms for the first sign of life of a transport, default 4000. */
    connectTimeout?: number;
    /** Interval asked for while the page is hidden, default '5s'; false: full speed. */
    hidden?: string | false;
    /** ms until a better transport is tried again, default 30000; doubles up to 5 minutes. */
    upgradeAfter?: number;
    /** As of fetch(). 'include': the cookies of a gateway on another origin, which must list the page's own exactly. */
    credentials?: 'omit' | 'same-origin' | 'include';
    /** One connection for all tabs of the page's origin that have the same gateway and the same user. Not with `WebSocket` or `fetch`. */
    share?: boolean | Share;
    WebSocket?: new (url: string, protocols?: string) => WebSocketLike;
    fetch?: typeof fetch;
}
/** `share` of 'sluice-client/share'. */
export type Share = (host: any, options: Options) => Promise<(new (url: string, protocols?: string) => WebSocketLike) | undefined>;
/** What the client needs of a WebSocket: the browser's, or that of the package `ws`. */
export interface WebSocketLike {
    readonly readyState: number;
    onopen: any;
    onmessage: any;
    onclose: any;
    onerror: any;
    send(text: string): void;
    close(code?: number): void;
}
export interface SubscribeOptions {
    /** '2s': at most one value per channel in that time, always the last. */
    interval?: string;
    /** '10m': at first everything that the gateway still has of that time before now, not the last values alone. Counts for the
     * first handler of a channel or filter. */
    since?: string;
    /** false: full speed also while the page is hidden. */
    hidden?: false;
    /** The gateway refuses the channel, or takes it away: code 'forbidden', 'unknown_channel', … */
    error?: (error: SluiceError) => void;
}
export interface PublishOptions {
    /** Settles when the device's state shows it, or does not in time: where the route has `publish.confirm`. */
    confirm?: boolean;
    /** An idempotency key, new for each command, such as crypto.randomUUID(): with the same one it may be sent again. */
    key?: string;
}
/** What became of a command that asked to be confirmed. */
export interface Receipt<T = unknown> {
    status: 'confirmed' | 'timeout';
    /** Of the value that shows it, or of the one that is there in its place. */
    cursor?: string;
    /** That value, with `timeout`. */
    data?: T;
}
export type Handler<T = unknown> = (message: Message<T>) => void;
export interface Subscription {
    readonly channel: string;
    off(): void;
}
export declare class SluiceError extends Error {
    /** The machine word of docs/protocol.md, or 'offline', 'connection_lost', 'closed', 'unreachable'. */
    readonly code: string;
    /** MQTT 5 reason code, if the broker refused. */
    readonly reason?: number | undefined;
    /** The channel of a subscription that was refused or taken away. */
    readonly channel?: string | undefined;
    constructor(
    /** The machine word of docs/protocol.md, or 'offline', 'connection_lost', 'closed', 'unreachable'. */
    code: string, message?: string, 
    /** MQTT 5 reason code, if the broker refused. */
    reason?: number | undefined, 
    /** The channel of a subscription that was refused or taken away. */
    channel?: string | undefined);
}
export interface Events {
    state: StateEvent;
    gap: Gap;
    /** A channel is live, stale, offline or unknown. */
    status: Status;
    upstream: Upstream;
    /** Over WebSocket only. */
    identity: Identity;
    error: SluiceError;
}
/** The close code that goes with these errors. */
export declare const closeCodeOf: (code: string) => number | undefined;
