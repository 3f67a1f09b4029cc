/** `sluice-client/react`: channels as React state. */
import { useMemo, useSyncExternalStore } from 'react';
import type { Message, Sluice, State, SubscribeOptions } from '../client/index.js';

/** The newest message of a channel; undefined until there is one. `options` count when the channel or the client changes. */
export function useChannel<T = unknown>(sluice: Sluice, channel: string, options?: SubscribeOptions): Message<T> | undefined {
  const store = useMemo(() => {
    let message: Message<T> | undefined;
    return {
      get: () => message,
      subscribe: (changed: () => void) => sluice.subscribe<T>(channel, (next) => {
        message = next;
        changed();
      }, options).off,
    };
  }, [sluice, channel]);
  return useSyncExternalStore(store.subscribe, store.get, () => undefined);
}

/** The state of the connection, as in `sluice.state`. */
export function useSluiceState(sluice: Sluice): State {
  const store = useMemo(() => ({
    get: () => sluice.state,
    subscribe: (changed: () => void) => sluice.on('state', changed),
  }), [sluice]);
  return useSyncExternalStore(store.subscribe, store.get, () => 'closed' as State);
}
