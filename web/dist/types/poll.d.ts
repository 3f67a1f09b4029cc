import type { Ask, Host, Link } from './link';
export declare class PollLink implements Link {
    private host;
    readonly transport = "longpoll";
    private abort;
    private over;
    private told;
    constructor(host: Host);
    start(): boolean;
    update(): void;
    ask(ask: Ask): Promise<unknown>;
    check(): void;
    close(): void;
    private end;
    private run;
}
