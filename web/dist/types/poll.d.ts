/** Long-poll: what always works. */
import { HttpLink } from './http';
import type { Sub } from './link';
export declare class PollLink extends HttpLink {
    readonly transport = "longpoll";
    protected path(subs: Sub[]): string;
    protected patience(): number;
    protected read(answer: Response, subs: Sub[], signal: AbortSignal): Promise<void>;
}
