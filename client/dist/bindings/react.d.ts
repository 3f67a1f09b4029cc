import type { Message, Sluice, State, SubscribeOptions } from '../types/index.js';
/** The newest message of a channel; undefined until there is one. `options` count when the channel or the client changes. */
export declare function useChannel<T = unknown>(sluice: Sluice, channel: string, options?: SubscribeOptions): Message<T> | undefined;
/** The state of the connection, as in `sluice.state`. */
export declare function useSluiceState(sluice: Sluice): State;
