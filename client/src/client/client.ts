/** The client: subscriptions and their handlers, one current link, what to do when it ends. */
import type { Ask, End, Host, Link, Sub } from './link.js';
import { compare, duration, isFilter, later, matches } from './names.js';
import { encode } from './payload.js';
import { PollLink } from './poll.js';
import { get, history, stream } from './reading.js';
import { SocketLink } from './socket.js';
import { StreamLink } from './stream.js';
import { SluiceError } from './types.js';
import type {
  Events, Gap, Handler, Identity, Message, Options, State, StateEvent, SubscribeOptions, Subscription, Token, Transport,
  Upstream,
} from './types.js';

const LINKS = { websocket: SocketLink, sse: StreamLink, longpoll: PollLink };
const FIRST = 500; // back-off, ms
const LONGEST = 30_000;
const LASTED = 5_000; // a link that lived so long begins the back-off anew
const UPGRADE_LONGEST = 300_000;

interface Listener {
  handler: Handler;
  interval: number;
  /** Slows down while the page is hidden. */
  rests: boolean;
  error?: (error: SluiceError) => void;
}

interface Own extends Sub {
  listeners: Set<Listener>;
  refused: boolean;
}

interface Kept {
  ask: Ask;
  resolve(value: unknown): void;
  reject(error: SluiceError): void;
}

const page = (): Document | undefined => globalThis.document;

/** The address of a script that came from the gateway itself (iife.ts, module.ts). */
export const home: { script?: string } = {};

/** The gateway's address without a slash at the end; '' where there is no page to start from, as on a server. */
function locate(url: string): string {
  const here = page()?.baseURI || globalThis.location?.href.replace(/^blob:/, '');
  let base;
  if (!url && home.script) base = new URL('.', home.script);
  else if (here || /^\w+:/.test(url)) base = new URL(url || '/', here);
  else return '';
  const text = base.href.replace(/^ws/, 'http').replace(/[?#].*$/, '').replace(/\/+$/, '');
  if (!/^https?:\/\/./.test(text)) throw new TypeError(`'${url || text}' is no address of a gateway, such as http://gateway:8080`);
  return text;
}

export class Sluice {
  state: State = 'connecting';
  transport: Transport | null = null;
  upstream: Upstream = { state: 'up' };
  identity: Identity = {};

  private options: Required<Omit<Options, 'WebSocket' | 'fetch' | 'token' | 'credentials'>>;
  private token?: Token;
  private turn = 0; // of connecting: what was asked in an earlier one is out of date
  private renewed = false; // the token, after it was refused
  private hinted = false; // at what may keep a page of another origin away, or was live
  private host: Host;
  private order: Transport[] = [];
  private index = 0; // of the transport that is tried or used
  private tries = 0; // that failed, of the one that had worked
  private attempt = 0; // of the back-off
  private link?: Link; // current, or on its way
  private probe?: Link; // a better one, on its way
  private since = 0;
  private own = new Map<string, Own>();
  private last = new Map<string, Message>(); // of each channel that somebody listens to
  private routes = new Map<string, Own[]>(); // channel -> subscriptions, until they change
  private highest?: string;
  private events = new Map<string, Set<(event: any) => void>>();
  private kept: Kept[] = [];
  private timer?: ReturnType<typeof setTimeout>;
  private upgradeTimer?: ReturnType<typeof setTimeout>;
  private upgradeWait = 0;
  private changeTimer?: ReturnType<typeof setTimeout>;
  private added = new Set<Own>();
  private removed = new Set<Own>();

  constructor(url = '', options: Options = {}) {
    this.options = {
      transports: ['websocket', 'sse', 'longpoll'],
      offline: 'reject',
      queueLimit: 100,
      timeout: 15_000,
      connectTimeout: 4_000,
      hidden: '5s',
      upgradeAfter: 30_000,
      ...options,
    };
    duration(this.options.hidden); // a mistake is told here
    this.token = options.token;
    const get = options.fetch || ((input, init) => globalThis.fetch(input, init));
    const host: Host = (this.host = {
      base: locate(url),
      connectTimeout: this.options.connectTimeout,
      WebSocket: options.WebSocket || globalThis.WebSocket,
      request: (path, init) =>
        get(host.base + path, {
          ...init,
          cache: 'no-store',
          credentials: options.credentials,
          headers: host.token ? { Authorization: `Bearer ${host.token}` } : {},
        }),
      subs: () => [...this.own.values()].filter((sub) => !sub.refused),
      alive: (link) => this.alive(link),
      dead: (link, end) => this.dead(link, end),
      message: (message, early) => this.receive(message, early),
      gap: (gap) => this.emit('gap', gap),
      upstream: (upstream) => this.setUpstream(upstream),
      caughtUp: (subs, cursor) => {
        for (const sub of subs) sub.position = later(sub.position, cursor);
      },
      refused: (channel, error) => this.refuse(channel, error),
      identity: (identity) => this.emit('identity', (this.identity = identity)),
      expiring: () => this.renew(),
    });
    if (host.base) {
      page()?.addEventListener('visibilitychange', this.onVisibility);
      globalThis.addEventListener?.('online', this.onOnline);
    }
    this.use(this.options.transports);
  }

  /** A channel's name or an MQTT filter. The last values come at once, also for a second handler. */
  subscribe<T = unknown>(channel: string, handler: Handler<T>, options: SubscribeOptions = {}): Subscription {
    const listener: Listener = {
      handler: handler as Handler,
      interval: duration(options.interval),
      rests: options.hidden !== false,
      error: options.error,
    };
    let sub = this.own.get(channel);
    if (!sub) {
      sub = { channel, interval: 0, left: 0, listeners: new Set(), refused: false };
      this.own.set(channel, sub);
    }
    this.routes.clear();
    sub.refused = false; // whoever asks again gets an answer again
    sub.listeners.add(listener);
    sub.interval = this.pace(sub);
    this.change(sub); // also a second handler may want it faster
    const known = [...this.last.values()].filter((message) => matches(channel, message.channel));
    queueMicrotask(() => {
      for (const message of known) if (sub.listeners.has(listener)) this.call(listener, message);
    });
    return { channel, off: () => this.drop(sub, listener) };
  }

  off(channel: string, handler?: Handler): void {
    const sub = this.own.get(channel);
    for (const listener of sub?.listeners || []) {
      if (!handler || listener.handler === handler) this.drop(sub!, listener);
    }
  }

  /** Settles with the broker's acknowledgement. */
  publish(channel: string, data: unknown): Promise<'published' | 'accepted'> {
    return this.send(channel, data, this.options.timeout) as Promise<'published' | 'accepted'>;
  }

  /** Settles with the device's answer (MQTT 5 request/response). */
  request<T = unknown>(channel: string, data: unknown, { timeout = 5_000 } = {}): Promise<T> {
    return this.send(channel, data, timeout + 5_000, timeout) as Promise<T>;
  }

  /** The last value; undefined if there is none yet. */
  get<T = unknown>(channel: string): Promise<Message<T> | undefined> {
    return this.ready().then(() => get(this.host, channel) as Promise<Message<T> | undefined>);
  }

  /** What the gateway keeps of a channel, oldest first: the newest `limit`, or the first `limit` after a cursor. */
  history<T = unknown>(channel: string, options: { limit?: number; cursor?: string } = {}): Promise<Message<T>[]> {
    return this.ready().then(() => history(this.host, channel, options) as Promise<Message<T>[]>);
  }

  /** `for await (const message of sluice.stream('rooms/+/t')) …`: a subscription that ends with the loop. */
  stream<T = unknown>(channel: string, options: SubscribeOptions = {}): AsyncGenerator<Message<T>, void> {
    return stream<T>(this, channel, options);
  }

  on<K extends keyof Events>(event: K, listener: (event: Events[K]) => void): () => void {
    const set = this.events.get(event) || new Set();
    this.events.set(event, set.add(listener));
    return () => void set.delete(listener);
  }

  /** These transports, in this order, from now on. Nothing is lost on the way. */
  use(transports: Transport[]): void {
    this.order = transports.filter((name) => LINKS[name] && (name !== 'websocket' || this.host.WebSocket));
    if (!this.order.length) throw new TypeError('no usable transport');
    this.attempt = this.upgradeWait = 0;
    this.retry(0);
  }

  /** Another token, or nobody's. Nothing is lost on the way. */
  setToken(token?: Token): void {
    this.token = token;
    this.host.token = '';
    this.identity = {};
    this.renewed = false;
    for (const sub of this.own.values()) sub.refused = false;
    this.routes.clear();
    if (this.state !== 'closed') this.connect(this.index);
  }

  /** Asks the token function anew, for a session that goes on. */
  refresh(): void {
    if (this.state === 'live') this.renew();
    else this.setToken(this.token);
  }

  close(): void {
    this.stop();
    page()?.removeEventListener('visibilitychange', this.onVisibility);
    globalThis.removeEventListener?.('online', this.onOnline);
    for (const { reject } of this.kept.splice(0)) reject(new SluiceError('closed'));
    this.setState('closed');
  }

  // --- connecting -----------------------------------------------------------------------------------------------

  private stop(): void {
    this.turn++;
    clearTimeout(this.timer);
    clearTimeout(this.upgradeTimer);
    clearTimeout(this.changeTimer);
    this.link?.close();
    this.probe?.close();
    this.link = this.probe = undefined;
    this.transport = null;
  }

  private open(index: number): Link | undefined {
    try {
      return new LINKS[this.order[index]](this.host);
    } catch {
      return undefined; // a WebSocket that the page's policy forbids throws
    }
  }

  private connect(index: number, reason?: string): void {
    this.stop();
    if (!this.host.base) return void (this.state = 'closed');
    this.index = index;
    this.settle();
    this.setState('connecting', reason);
    this.authorize(!this.host.token, () => {
      this.link = this.open(index);
      if (!this.link) this.failed({ reason: `${this.order[index]} is not possible` });
    });
  }

  /** Goes on with a token: at once if it is known, or if there is none. */
  private authorize(anew: boolean, then: () => void): void {
    const { host, token, turn } = this;
    if (typeof token !== 'function') host.token = token;
    if (typeof token !== 'function' || !anew) return then();
    Promise.resolve()
      .then(token)
      .then(
        (text) => {
          if (turn !== this.turn) return;
          host.token = text;
          then();
        },
        (error) => turn === this.turn && !this.link && this.failed({ reason: `no token: ${error}`, retryAfter: FIRST }),
      );
  }

  /** A token function has been asked. */
  private async ready(): Promise<void> {
    if (typeof this.token === 'function' && !this.host.token) this.host.token = await this.token();
  }

  private renew(): void {
    if (typeof this.token === 'function') this.authorize(true, () => this.link!.renew());
  }

  /** A new link subscribes to everything as it is now. What was half painted begins anew. */
  private settle(): void {
    this.added.clear();
    this.removed.clear();
    for (const sub of this.own.values()) {
      if (sub.left) sub.position = undefined;
      sub.left = 0;
    }
  }

  private alive(link: Link): void {
    if (link === this.probe) {
      this.link?.close();
      this.link = link;
      this.probe = undefined;
      this.index = this.order.indexOf(link.transport);
      this.settle();
    } else if (link !== this.link && this.link) {
      return;
    }
    this.link = link;
    this.since = Date.now();
    this.tries = 0;
    this.hinted = true;
    this.transport = link.transport;
    this.setState('live');
    if (link.start()) this.settle();
    else this.flush(); // what changed while it was on its way
    for (const { ask, resolve, reject } of this.kept.splice(0)) link.ask(ask).then(resolve, reject);
    if (this.index > 0) this.planUpgrade();
    else this.upgradeWait = 0;
  }

  private dead(link: Link, end: End): void {
    if (link === this.probe) {
      this.probe = undefined;
      const between = this.order.indexOf(link.transport) + 1;
      if (between < this.index) this.retry(between);
      else this.planUpgrade();
    } else if (link === this.link) {
      this.failed(end);
    }
  }

  private failed(end: End): void {
    const lived = this.transport !== null;
    if (lived && Date.now() - this.since >= LASTED) {
      this.attempt = 0;
      this.renewed = false;
    }
    this.stop();
    if (end.code === 4401) {
      this.host.token = '';
      const again = typeof this.token === 'function' && !this.renewed;
      this.renewed = true;
      if (again) return this.connect(this.index);
      return this.pause('unauthorized', LONGEST * (1 + Math.random()), end.reason);
    }
    if (!lived && !(this.tries++ < 1 && this.since)) {
      // It does not work (twice, if it has worked before): the next one, at once.
      this.tries = this.since = 0;
      if (this.index + 1 < this.order.length && !end.retryAfter) return this.connect(this.index + 1, end.reason);
      this.index = 0;
      if (!end.heard) this.hint();
    }
    const code = end.code || 0;
    const fault = code === 1002 || code === 1007; // ours: not in a loop
    const quick = lived && !this.attempt && code !== 1013;
    const leaving = code === 1001 || code === 1012; // with all its clients: they should not come back all at once
    const bound = fault ? LONGEST : quick ? (leaving ? 3000 : 1000) : Math.min(LONGEST, FIRST * 2 ** this.attempt);
    this.attempt++;
    this.pause('waiting', Math.max(end.retryAfter || 0, fault ? LONGEST : 0, Math.random() * bound), end.reason);
  }

  private pause(state: State, delay: number, reason: string): void {
    this.timer = setTimeout(() => this.connect(this.index), delay);
    this.setState(state, reason, Math.round(delay));
    if (state === 'unauthorized') this.complain(new SluiceError(state, reason));
  }

  /** Browsers don't tell a page why another origin is out of its reach, and that is what everybody meets first. */
  private hint(): void {
    const { base } = this.host;
    const { origin } = globalThis.location || {};
    if (this.hinted || !origin || origin === new URL(base).origin) return;
    this.hinted = true;
    const why = /^https:/.test(origin) && /^http:/.test(base)
      ? 'a page over https may not use http: give the gateway TLS'
      : `if it runs, its configuration lacks web: { origins: ["${origin}"] }`;
    this.complain(new SluiceError('unreachable', `${base} can't be reached from a page of ${origin}: ${why}`), false, true);
  }

  /** Also in the console, where nobody listens. */
  private complain(error: SluiceError, heard?: boolean, loud?: boolean): void {
    this.emit('error', error);
    if (loud || !(heard || this.events.get('error')?.size))
      console.warn('sluice:', error.code, error.channel || '', error.message);
  }

  private planUpgrade(): void {
    clearTimeout(this.upgradeTimer);
    this.upgradeWait = Math.min(UPGRADE_LONGEST, this.upgradeWait * 2 || this.options.upgradeAfter);
    this.upgradeTimer = setTimeout(() => this.upgrade(), this.upgradeWait * (0.75 + Math.random() / 2));
  }

  /** A WebSocket is tried beside the current link. A stream would deliver at once, so it takes over, and may fail. */
  private upgrade(): void {
    const socket = this.order.indexOf('websocket');
    if (socket < 0 || socket > this.index) return this.retry(0);
    this.probe = this.open(socket);
    if (!this.probe) this.planUpgrade();
  }

  private retry(index: number): void {
    this.since = 0; // one failure is enough to go on to the next
    this.connect(index);
  }

  private onOnline = (): void => {
    if (this.state === 'waiting') this.connect(this.index);
    else this.link?.check();
  };

  private onVisibility = (): void => {
    const slow = duration(this.options.hidden);
    for (const sub of this.own.values()) {
      const interval = this.pace(sub);
      if (!slow || interval === sub.interval) continue;
      if (interval < sub.interval) sub.position = undefined; // back: fresh values, not all that was left out
      sub.interval = interval;
      this.change(sub);
    }
    if (!page()?.hidden) this.onOnline();
  };

  // --- subscriptions --------------------------------------------------------------------------------------------

  /** The pace of its fastest handler. */
  private pace(sub: Own): number {
    const rest = page()?.hidden ? duration(this.options.hidden) : 0;
    const paces = [...sub.listeners].map(({ interval, rests }) => Math.max(interval, rests ? rest : 0));
    return Math.min(...paces);
  }

  /** Tells the link, once for all changes of this turn. */
  private change(sub: Own, gone = false): void {
    (gone ? this.added : this.removed).delete(sub);
    (gone ? this.removed : this.added).add(sub);
    clearTimeout(this.changeTimer);
    this.changeTimer = setTimeout(() => this.flush());
  }

  private flush(): void {
    if (this.state !== 'live') return; // a new link asks for all there is
    const added = [...this.added].filter((one) => !one.refused);
    const removed = [...this.removed];
    this.added.clear();
    this.removed.clear();
    if (added.length + removed.length) this.link!.update(added, removed);
  }

  private drop(sub: Own, listener: Listener): void {
    if (!sub.listeners.delete(listener)) return;
    if (sub.listeners.size) {
      const interval = this.pace(sub);
      if (interval !== sub.interval) {
        sub.interval = interval;
        this.change(sub);
      }
      return;
    }
    this.own.delete(sub.channel);
    this.routes.clear();
    if (!sub.refused) this.change(sub, true);
    const subs = [...this.own.keys()];
    for (const channel of this.last.keys()) {
      if (!subs.some((filter) => matches(filter, channel))) this.last.delete(channel);
    }
  }

  private refuse(channel: string, error: SluiceError): void {
    const sub = this.own.get(channel);
    if (sub) sub.refused = true;
    this.routes.clear();
    let heard = false;
    for (const listener of sub?.listeners || []) {
      heard ||= !!listener.error;
      listener.error?.(error);
    }
    this.complain(error, heard);
  }

  // --- what comes -----------------------------------------------------------------------------------------------

  private receive(message: Message, early?: Map<unknown, Sub>): void {
    const { channel, cursor, ts } = message;
    let subs = this.routes.get(channel);
    if (!subs) {
      subs = [...this.own.values()].filter((sub) => !sub.refused && matches(sub.channel, channel));
      this.routes.set(channel, subs);
    }
    const known = this.last.get(channel);
    const order = this.highest === undefined ? undefined : compare(cursor, this.highest);
    // The gateway repeats a last value now and then (a fresh start, a paced channel): everybody has seen it.
    const again =
      known &&
      // Filters that overlap and resume apart bring a message once for each.
      (compare(cursor, known.cursor)! < 1 ||
        (known.ts === ts && order! < 1 && JSON.stringify(known.data) === JSON.stringify(message.data)));
    if (order !== -1 && order !== 0) this.highest = cursor;
    const waiting = early?.size ? [...early.values()] : [];
    for (const sub of subs) {
      if (waiting.includes(sub)) continue; // another's: what this one has missed is still to come
      if (sub.left && compare(cursor, sub.goal!) !== 1) {
        if (!--sub.left) sub.position = sub.goal;
      } else {
        sub.left = 0;
        sub.position = later(sub.position, cursor);
      }
    }
    if (again || !subs.length) return;
    this.last.set(channel, message);
    for (const sub of subs) for (const listener of [...sub.listeners]) this.call(listener, message);
  }

  /** A handler that throws is the page's problem, not the stream's. */
  private call(listener: Listener, message: Message): void {
    try {
      listener.handler(message);
    } catch (error) {
      setTimeout(() => {
        throw error;
      });
    }
  }

  private setUpstream(upstream: Upstream): void {
    if (upstream.state === this.upstream.state) return;
    this.upstream = { state: upstream.state, since: upstream.since };
    this.emit('upstream', this.upstream);
  }

  private setState(state: State, reason?: string, retryIn?: number): void {
    this.state = state;
    const event: StateEvent = { state, transport: this.transport, reason, retryIn };
    this.emit('state', event);
  }

  private emit(event: keyof Events, value: Events[keyof Events] | Gap): void {
    for (const listener of [...(this.events.get(event) || [])]) listener(value);
  }

  // --- what goes ------------------------------------------------------------------------------------------------

  private send(channel: string, data: unknown, timeout: number, reply?: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const fail = (code: string, text?: string): void => reject(new SluiceError(code, text));
      if (this.state === 'closed') return fail('closed');
      if (isFilter(channel)) return fail('bad_request', 'a filter is no channel to publish to');
      const ask: Ask = { channel, body: encode(data), reply };
      const kept: Kept = { ask, resolve, reject };
      const timer = setTimeout(() => {
        const at = this.kept.indexOf(kept);
        if (at >= 0) this.kept.splice(at, 1);
        fail('timeout', at < 0 ? 'no answer; whether it took effect is unknown' : 'not connected in time; it was not sent');
      }, timeout);
      kept.resolve = (value) => (clearTimeout(timer), resolve(value));
      kept.reject = (error) => (clearTimeout(timer), reject(error));
      if (this.state === 'live') this.link!.ask(ask).then(kept.resolve, kept.reject);
      else if (this.options.offline === 'queue' && this.kept.length < this.options.queueLimit) this.kept.push(kept);
      else kept.reject(new SluiceError(this.state === 'unauthorized' ? this.state : 'offline', 'not connected'));
    });
  }
}
