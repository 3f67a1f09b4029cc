export { Sluice, Sluice as default } from './client';
export { SluiceError } from './types';
export type {
  Gap, Handler, Identity, Message, Options, State, StateEvent, SubscribeOptions, Subscription, Token, Transport, Upstream,
} from './types';
