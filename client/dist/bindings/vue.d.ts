/** `sluice-client/vue`: channels as Vue refs. They end with the component that asked for them. */
import { type Ref } from 'vue';
import type { Message, Sluice, State, SubscribeOptions } from '../types/index.js';
/** The newest message of a channel; undefined until there is one. `channel` may be a ref or a function. */
export declare function useChannel<T = unknown>(sluice: Sluice, channel: string | Ref<string> | (() => string), options?: SubscribeOptions): Readonly<Ref<Message<T> | undefined>>;
/** The state of the connection, as in `sluice.state`. */
export declare function useSluiceState(sluice: Sluice): Readonly<Ref<State>>;
