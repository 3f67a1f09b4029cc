/** What the bindings use of React and Vue, so that building the client needs neither. */
declare module 'react' {
  export function useMemo<T>(make: () => T, dependencies: unknown[]): T;
  export function useSyncExternalStore<T>(subscribe: (changed: () => void) => () => void, get: () => T, server?: () => T): T;
}
declare module 'vue' {
  export interface Ref<T> {
    value: T;
  }
  export function shallowRef<T>(): Ref<T | undefined>;
  export function shallowRef<T>(value: T): Ref<T>;
  export function toValue<T>(source: T | Ref<T> | (() => T)): T;
  export function onScopeDispose(end: () => void): void;
  export function watch<T>(
    source: () => T, changed: (value: T, before: T | undefined, cleanUp: (end: () => void) => void) => void, options?: { immediate?: boolean },
  ): () => void;
}
