/** What the client and its three transports know of one another. */
import type { Payload } from './payload.js';
import type { Gap, Identity, Message, PublishOptions, SluiceError, StateEvent, Status, Transport, Upstream, WebSocketLike } from './types.js';

/** One subscription at the gateway, shared by all handlers of the same text. */
export interface Sub {
  readonly channel: string;
  /** Where we stand, undefined until the last values are complete. */
  position?: string;
  /** ms before now where it begins while it has no position; 0: with the last values. */
  since: number;
  /** ms, 0: as the route says. */
  interval: number;
  /** While last values come over WebSocket: how many are missing, and where we stand then. */
  left: number;
  goal?: string;
}

export interface SocketClass {
  new (url: string, protocols?: string): WebSocketLike;
  /** ms for its first frame, if it is not as fast as a connection of one's own. */
  patience?: number;
}

/** Why a link ended. */
export interface End {
  reason: string;
  /** Close code of a WebSocket. */
  code?: number;
  /** ms, from Retry-After. */
  retryAfter?: number;
  /** The page may read the answers: it is not the browser that forbids them. */
  heard?: boolean;
}

export interface Ask extends PublishOptions {
  channel: string;
  body: Payload;
  /** ms; undefined: a publish. */
  reply?: number;
}

/** What a link tells; the client is its host. */
export interface Host {
  readonly base: string;
  readonly connectTimeout: number;
  WebSocket?: SocketClass;
  /** Goes in a header or a frame, never into an address. */
  token?: string;
  /** fetch() from the gateway, with the token. */
  request(path: string, init: RequestInit): Promise<Response>;
  subs(): Sub[];
  /** The first sign of life. */
  alive(link: Link): void;
  /** The last one. */
  dead(link: Link, end: End): void;
  /** `early`: of a link whose subscriptions are answered one by one, those that are not answered yet. */
  message(message: Message, early?: Map<unknown, Sub>): void;
  gap(gap: Gap): void;
  /** Of a channel. */
  worth(status: Status): void;
  upstream(upstream: Upstream): void;
  /** These stand at this cursor, or later. */
  caughtUp(subs: Sub[], cursor: string): void;
  /** Not given, or taken away. */
  refused(channel: string, error: SluiceError): void;
  identity(identity: Identity): void;
  /** The token is soon good no more. */
  expiring(): void;
  /** Of a connection that several tabs share: its state, and what is wrong with it. */
  status(event: StateEvent): void;
  complain(code: string, message: string): void;
}

/** A connection over one transport, alive or on its way. */
export interface Link {
  readonly transport: Transport;
  /** It becomes the current link. True: it has subscribed to all there is now; false: to what there was when it was made. */
  start(): boolean;
  /** Subscriptions came, went or changed. */
  update(added: Sub[], removed: Sub[]): void;
  /** There is a new token. */
  renew(): void;
  /** Resolves with 'published', 'accepted', a Receipt, or the answer to a request. */
  ask(ask: Ask): Promise<unknown>;
  /** Is anybody there? A link that finds nobody ends. */
  check(): void;
  /** Ends without telling. */
  close(): void;
}
