/** Long-poll: what always works. */
import { HttpLink } from './http.js';
import type { Sub } from './link.js';
export declare class PollLink extends HttpLink {
    readonly transport = "longpoll";
    protected path(subs: Sub[]): string;
    protected patience(): number;
    protected read(answer: Response, subs: Sub[], signal: AbortSignal): Promise<void>;
}
