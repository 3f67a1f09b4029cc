/** `sluice-client/vue`: channels as Vue refs. They end with the component that asked for them. */
import { onScopeDispose, type Ref, shallowRef, toValue, watch } from 'vue';
import type { Message, Sluice, State, SubscribeOptions } from '../client/index.js';

/** The newest message of a channel; undefined until there is one. `channel` may be a ref or a function. */
export function useChannel<T = unknown>(
  sluice: Sluice, channel: string | Ref<string> | (() => string), options?: SubscribeOptions,
): Readonly<Ref<Message<T> | undefined>> {
  const message = shallowRef<Message<T>>();
  const stop = watch(() => toValue(channel), (name, _before, cleanUp) => {
    message.value = undefined;
    const { off } = sluice.subscribe<T>(name, (next) => (message.value = next), options);
    cleanUp(off);
  }, { immediate: true });
  onScopeDispose(stop);
  return message;
}

/** The state of the connection, as in `sluice.state`. */
export function useSluiceState(sluice: Sluice): Readonly<Ref<State>> {
  const state = shallowRef<State>(sluice.state);
  onScopeDispose(sluice.on('state', (event) => (state.value = event.state)));
  return state;
}
