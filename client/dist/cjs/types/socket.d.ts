import type { Ask, Host, Link, Sub } from './link.js';
export declare class SocketLink implements Link {
    private host;
    readonly transport = "websocket";
    private socket;
    private next;
    private pending;
    private subscribing;
    private told;
    private greeted;
    private over;
    private asked;
    private heard;
    private timer;
    constructor(host: Host);
    start(): boolean;
    update(added: Sub[], removed: Sub[]): void;
    renew(): void;
    ask(ask: Ask): Promise<unknown>;
    check(): void;
    close(): void;
    private send;
    private write;
    /** Asks as soon as nothing has come for long. Browsers answer the gateway's pings, but don't show them. */
    private listen;
    private sign;
    /** Other servers have a /ws as well: development servers, for instance. */
    private read;
    private receive;
    private finish;
    private end;
}
