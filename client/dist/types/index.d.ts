export { Sluice, Sluice as default } from './client.js';
export { SluiceError } from './types.js';
export type { Gap, Handler, Identity, Message, Options, PublishOptions, Receipt, Share, State, StateEvent, Status, SubscribeOptions, Subscription, Token, Transport, Upstream, WebSocketLike, } from './types.js';
