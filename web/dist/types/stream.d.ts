import type { Ask, Host, Link } from './link';
export declare class StreamLink implements Link {
    private host;
    readonly transport = "sse";
    private abort;
    private timer?;
    private over;
    private told;
    constructor(host: Host);
    start(): boolean;
    update(): void;
    ask(ask: Ask): Promise<unknown>;
    check(): void;
    close(): void;
    private wait;
    private end;
    private sign;
    private run;
    private event;
}
