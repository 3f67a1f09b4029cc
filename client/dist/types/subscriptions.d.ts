/** What is subscribed to: handlers, positions, the last value of each channel. It outlives every link. */
import type { Link, Sub } from './link.js';
import type { Handler, Message, SluiceError } from './types.js';
export interface Listener {
    handler: Handler;
    interval: number;
    /** Slows down while the page is hidden. */
    rests: boolean;
    error?: (error: SluiceError) => void;
}
export interface Own extends Sub {
    listeners: Set<Listener>;
    refused: boolean;
}
export declare const page: () => Document | undefined;
export declare class Subscriptions {
    private live;
    private hidden;
    own: Map<string, Own>;
    highest?: string;
    private last;
    private routes;
    private added;
    private removed;
    private timer?;
    /** `live`: the link that takes changes, if there is one. `hidden`: the interval while the page is hidden. */
    constructor(live: () => Link | undefined, hidden: string | false);
    /** For a link. */
    wanted(): Own[];
    add(channel: string, listener: Listener, since?: number): Own;
    drop(sub: Own, listener: Listener): void;
    /** Another identity may get what this one was refused. */
    forgive(): void;
    /** Returns whether a handler of the subscription heard it. */
    refuse(channel: string, error: SluiceError): boolean;
    /** The pace of its fastest handler. */
    pace(sub: Own): number;
    /** The page was hidden or shown. */
    repace(): void;
    /** Whoever wants it has changed. `fresh`: not all that a slower pace has left out. */
    tune(sub: Own, fresh?: boolean): void;
    /** Tells the link, once for all changes of this turn. */
    change(sub: Own, gone?: boolean): void;
    flush(): void;
    stop(): void;
    /** A new link subscribes to everything as it is now. What was half painted begins anew. */
    settle(): void;
    receive(message: Message, early?: Map<unknown, Sub>): void;
    /** A handler that throws is the page's problem, not the stream's. */
    private call;
}
