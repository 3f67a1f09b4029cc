export { Sluice, Sluice as default } from './client';
export { SluiceError } from './types';
export type { Gap, Handler, Message, Options, State, StateEvent, SubscribeOptions, Subscription, Transport, Upstream, } from './types';
