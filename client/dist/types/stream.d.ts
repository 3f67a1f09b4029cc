/** Server-Sent Events by fetch(): unlike EventSource it tells the status and Retry-After, sends a token in a header, and runs
 * everywhere. */
import { HttpLink } from './http.js';
import type { Sub } from './link.js';
export declare class StreamLink extends HttpLink {
    readonly transport = "sse";
    protected path(subs: Sub[]): string;
    protected read(answer: Response, subs: Sub[], signal: AbortSignal): Promise<void>;
    /** False: no gateway says that. The first that names a place is the sign of life. */
    private event;
}
