/** WebSocket: /ws. */
import type { Ask, Host, Link, Sub } from './link.js';
export declare class SocketLink implements Link {
    private host;
    readonly transport = "websocket";
    private socket;
    private next;
    private pending;
    private subscribing;
    private told;
    private over;
    private asked;
    private heard;
    private timer;
    constructor(host: Host);
    start(): boolean;
    update(added: Sub[], removed: Sub[]): void;
    renew(): void;
    ask({ channel, data, reply }: Ask): Promise<unknown>;
    check(): void;
    close(): void;
    private send;
    /** Asks as soon as nothing has come for long. Browsers answer the gateway's pings, but don't show them. */
    private listen;
    private sign;
    private receive;
    private finish;
    private end;
}
