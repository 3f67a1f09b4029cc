/** `sluice-client/svelte`: channels as Svelte stores. Each is subscribed at the gateway while a component uses it. */
import type { Message, Sluice, State, SubscribeOptions } from '../client/index.js';

/** What Svelte asks of a store. */
export interface Store<T> {
  subscribe(run: (value: T) => void): () => void;
}

/** The newest message of a channel; undefined until there is one: `$lamp?.data`. */
export function channel<T = unknown>(sluice: Sluice, name: string, options?: SubscribeOptions): Store<Message<T> | undefined> {
  return {
    subscribe(run) {
      run(undefined);
      return sluice.subscribe<T>(name, run, options).off;
    },
  };
}

/** The state of the connection, as in `sluice.state`. */
export function state(sluice: Sluice): Store<State> {
  return {
    subscribe(run) {
      run(sluice.state);
      return sluice.on('state', (event) => run(event.state));
    },
  };
}
