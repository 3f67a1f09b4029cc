/** The client: one current link, what to do when it ends, and what goes out. */
import { isBlobAddress } from './blob.js';
import type { Ask, End, Host, Link } from './link.js';
import { duration, isFilter, later } from './names.js';
import { encode } from './payload.js';
import { home, locate } from './place.js';
import { PollLink } from './poll.js';
import { get, history, stream } from './reading.js';
import { SocketLink } from './socket.js';
import { StreamLink } from './stream.js';
import { type Listener, page, Subscriptions } from './subscriptions.js';
import { SluiceError } from './types.js';
import type {
  Events, Gap, Handler, Identity, Message, Options, PublishOptions, Receipt, State, StateEvent, Status, SubscribeOptions,
  Subscription, Token, Transport, Upstream,
} from './types.js';

const LINKS = { websocket: SocketLink, sse: StreamLink, longpoll: PollLink };
const FIRST = 500; // back-off, ms
const LONGEST = 30_000;
const LASTED = 5_000; // a link that lived so long begins the back-off anew
const UPGRADE_LONGEST = 300_000;
const CONFIRM_LONGEST = 300_000; // that a route may give a device

interface Kept {
  ask: Ask;
  resolve(value: unknown): void;
  reject(error: SluiceError): void;
}

export class Sluice {
  state: State = 'connecting';
  transport: Transport | null = null;
  upstream: Upstream = { state: 'up' };
  identity: Identity = {};

  private options: Required<Omit<Options, 'WebSocket' | 'fetch' | 'token' | 'credentials' | 'share'>>;
  protected token?: Token;
  private worths = new Map<string, Status>();
  private turn = 0; // of connecting: what was asked in an earlier one is out of date
  private renewed = false; // the token, after it was refused
  private hinted = false; // at what may keep a page of another origin away, or was live
  protected host: Host;
  private order: Transport[] = [];
  private index = 0; // of the transport that is tried or used
  private tries = 0; // that failed, of the one that had worked
  private attempt = 0; // of the back-off
  protected link?: Link; // current, or on its way
  private probe?: Link; // a better one, on its way
  private since = 0;
  protected subs: Subscriptions;
  private events = new Map<string, Set<(event: any) => void>>();
  private kept: Kept[] = [];
  private timer?: ReturnType<typeof setTimeout>;
  private upgradeTimer?: ReturnType<typeof setTimeout>;
  private upgradeWait = 0;

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
    this.subs = new Subscriptions(() => (this.state === 'live' ? this.link : undefined), this.options.hidden);
    this.token = options.token;
    const get = options.fetch || ((input, init) => globalThis.fetch(input, init));
    const host: Host = (this.host = {
      base: locate(url),
      connectTimeout: this.options.connectTimeout,
      WebSocket: options.WebSocket || globalThis.WebSocket,
      request: (path, init) =>
        get(host.base + path, {
          cache: 'no-store',
          ...init,
          credentials: options.credentials,
          headers: { ...init.headers, ...(host.token && { Authorization: `Bearer ${host.token}` }) },
        }),
      subs: () => this.subs.wanted(),
      alive: (link) => this.alive(link),
      dead: (link, end) => this.dead(link, end),
      message: (message, early) => {
        if (message.cleared) this.worths.delete(message.channel);
        this.subs.receive(message, early);
      },
      gap: (gap) => {
        // Of another run of the gateway, which tells of its own.
        if (gap.reason === 'epoch')
          for (const [name, { cursor }] of this.worths)
            if (cursor.split('.')[0] !== gap.to.split('.')[0]) this.worths.delete(name);
        this.emit('gap', gap);
      },
      worth: (status) => {
        this.worths.set(status.channel, status);
        this.emit('status', status);
      },
      upstream: (upstream) => this.setUpstream(upstream),
      caughtUp: (subs, cursor) => {
        for (const sub of subs) sub.position = later(sub.position, cursor);
      },
      refused: (channel, error) => this.complain(error, this.subs.refuse(channel, error)),
      identity: (identity) => this.emit('identity', (this.identity = identity)),
      expiring: () => this.renew(),
      status: (event) => this.follow(event),
      complain: (code, text) => this.complain(new SluiceError(code, text)),
    });
    if (host.base) {
      page()?.addEventListener('visibilitychange', this.onVisibility);
      globalThis.addEventListener?.('online', this.onOnline);
    }
    const share = options.share === true ? home.share : options.share;
    if (!share || !host.base || options.WebSocket || options.fetch) this.use(this.options.transports);
    // What keeps tabs from sharing is no reason for this one to stay without a connection.
    else
      share(host, options).catch(() => undefined).then((socket) => {
        host.WebSocket = socket || host.WebSocket;
        if (this.state !== 'closed') this.use(socket ? ['websocket'] : this.options.transports);
      });
  }

  /** What was told last of a channel's state; undefined: nothing, it is live as far as is known. */
  status(channel: string): Status | undefined {
    return this.worths.get(channel);
  }

  /** A channel's name or an MQTT filter. The last values come at once, also for a second handler. */
  subscribe<T = unknown>(channel: string, handler: Handler<T>, options: SubscribeOptions = {}): Subscription {
    const listener: Listener = {
      handler: handler as Handler,
      interval: duration(options.interval),
      rests: options.hidden !== false,
      error: options.error,
    };
    const sub = this.subs.add(channel, listener, duration(options.since));
    return { channel, off: () => this.subs.drop(sub, listener) };
  }

  off(channel: string, handler?: Handler): void {
    const sub = this.subs.own.get(channel);
    for (const listener of sub?.listeners || []) {
      if (!handler || listener.handler === handler) this.subs.drop(sub!, listener);
    }
  }

  /** Settles with the broker's acknowledgement, or with what the device made of it. */
  publish<T = unknown>(channel: string, data: unknown, options: PublishOptions & { confirm: true }): Promise<Receipt<T>>;
  publish(channel: string, data: unknown, options?: PublishOptions): Promise<'published' | 'accepted'>;
  publish(channel: string, data: unknown, options: PublishOptions = {}): Promise<any> {
    return this.send(channel, data, this.options.timeout + (options.confirm ? CONFIRM_LONGEST : 0), options);
  }

  /** Settles with the device's answer (MQTT 5 request/response). */
  request<T = unknown>(channel: string, data: unknown, { timeout = 5_000 } = {}): Promise<T> {
    return this.send(channel, data, timeout + 5_000, { reply: timeout }) as Promise<T>;
  }

  /** The last value; undefined if there is none yet. */
  get<T = unknown>(channel: string): Promise<Message<T> | undefined> {
    return this.ready().then(() => get(this.host, channel) as Promise<Message<T> | undefined>);
  }

  /** What the gateway keeps of a channel, oldest first: the newest `limit`, or the first `limit` after a cursor. */
  history<T = unknown>(channel: string, options: { limit?: number; cursor?: string } = {}): Promise<Message<T>[]> {
    return this.ready().then(() => history(this.host, channel, options) as Promise<Message<T>[]>);
  }

  /** Where the bytes of a `codec: blob` value are (`data.url`), for `<img src>`. It knows no token: see `payload()`. */
  address(url: string): string {
    if (!isBlobAddress(url)) throw new SluiceError('bad_request', `'${url}' is no address of a payload`);
    return `${this.host.base}/${url}`;
  }

  /** Those bytes, with this client's token. The browser keeps them. */
  async payload(url: string): Promise<Blob> {
    this.address(url);
    await this.ready();
    const answer = await this.host.request('/' + url, { cache: 'default' });
    if (!answer.ok) throw new SluiceError(answer.status === 403 ? 'forbidden' : 'no_value', `status ${answer.status}`);
    return answer.blob();
  }

  /** Does it send a token? */
  get signedIn(): boolean {
    return !!this.host.token;
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
    this.subs.forgive();
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
    this.subs.stop();
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
    this.subs.settle();
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

  private alive(link: Link): void {
    if (link === this.probe) {
      this.link?.close();
      this.link = link;
      this.probe = undefined;
      this.index = this.order.indexOf(link.transport);
      this.subs.settle();
    } else if (link !== this.link && this.link) {
      return;
    }
    this.link = link;
    this.since = Date.now();
    this.tries = 0;
    this.hinted = true;
    this.transport = link.transport;
    this.setState('live');
    if (link.start()) this.subs.settle();
    this.resume(); // what changed while it was on its way
    if (this.index > 0) this.planUpgrade();
    else this.upgradeWait = 0;
  }

  private resume(): void {
    this.subs.flush();
    for (const { ask, resolve, reject } of this.kept.splice(0)) this.link!.ask(ask).then(resolve, reject);
  }

  /** The connection is that of several tabs, and whoever has it says how it is. */
  private follow({ state, transport, reason, retryIn }: StateEvent): void {
    this.transport = transport;
    this.setState(state, reason, retryIn);
    if (state === 'live') this.resume();
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
    this.subs.repace();
    if (!page()?.hidden) this.onOnline();
  };

  // --- what comes -----------------------------------------------------------------------------------------------

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

  private send(channel: string, data: unknown, timeout: number, more: Partial<Ask>): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const fail = (code: string, text?: string): void => reject(new SluiceError(code, text));
      if (this.state === 'closed') return fail('closed');
      if (isFilter(channel)) return fail('bad_request', 'a filter is no channel to publish to');
      const ask: Ask = { channel, body: encode(data), ...more };
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
