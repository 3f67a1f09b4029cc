/** What SSE and long-poll share: their query, publishing by POST, and finding out which channel is refused. */
import type { Ask, End, Host, Sub } from './link';
/** `?channel=A&from=C1&channel=B…`; one common cursor where all stand at the same place. */
export declare function query(subs: Sub[]): string;
export declare const retryAfter: (answer: Response) => number | undefined;
/** POST /channels/NAME. Slashes stay as they are, unless a proxy would tidy the path. */
export declare function post(host: Host, { channel, data, reply }: Ask): Promise<unknown>;
/** A request with all channels was refused: sets aside those that are refused alone, else says how the link ends. */
export declare function sortOut(host: Host, answer: Response, signal: AbortSignal): Promise<End | undefined>;
