/** `sluice-client/svelte`: channels as Svelte stores. Each is subscribed at the gateway while a component uses it. */
import type { Message, Sluice, State, SubscribeOptions } from '../types/index.js';
/** What Svelte asks of a store. */
export interface Store<T> {
    subscribe(run: (value: T) => void): () => void;
}
/** The newest message of a channel; undefined until there is one: `$lamp?.data`. */
export declare function channel<T = unknown>(sluice: Sluice, name: string, options?: SubscribeOptions): Store<Message<T> | undefined>;
/** The state of the connection, as in `sluice.state`. */
export declare function state(sluice: Sluice): Store<State>;
