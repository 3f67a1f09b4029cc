/** What is subscribed to: handlers, positions, the last value of each channel. It outlives every link. */
import type { Link, Sub } from './link.js';
import { compare, duration, later, matches } from './names.js';
import type { Handler, Message, SluiceError } from './types.js';

export interface Listener {
  handler: Handler;
  interval: number;
  /** Slows down while the page is hidden. */
  rests: boolean;
  error?: (error: SluiceError) => void;
}

export interface Own extends Sub {
  listeners: Set<Listener>;
  refused: boolean;
}

export const page = (): Document | undefined => globalThis.document;

export class Subscriptions {
  own = new Map<string, Own>();
  highest?: string;
  private last = new Map<string, Message>(); // of each channel that somebody listens to
  private routes = new Map<string, Own[]>(); // channel -> subscriptions, until they change
  private added = new Set<Own>();
  private removed = new Set<Own>();
  private timer?: ReturnType<typeof setTimeout>;

  /** `live`: the link that takes changes, if there is one. `hidden`: the interval while the page is hidden. */
  constructor(private live: () => Link | undefined, private hidden: string | false) {
    duration(hidden); // a mistake is told here
  }

  /** For a link. */
  wanted(): Own[] {
    return [...this.own.values()].filter((sub) => !sub.refused);
  }

  add(channel: string, listener: Listener, since = 0): Own {
    let sub = this.own.get(channel);
    if (!sub) {
      sub = { channel, since, interval: 0, left: 0, listeners: new Set(), refused: false };
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
    return sub;
  }

  drop(sub: Own, listener: Listener): void {
    if (!sub.listeners.delete(listener)) return;
    if (sub.listeners.size) return this.tune(sub);
    this.own.delete(sub.channel);
    this.routes.clear();
    if (!sub.refused) this.change(sub, true);
    const subs = [...this.own.keys()];
    for (const channel of this.last.keys()) {
      if (!subs.some((filter) => matches(filter, channel))) this.last.delete(channel);
    }
  }

  /** Another identity may get what this one was refused. */
  forgive(): void {
    for (const sub of this.own.values()) sub.refused = false;
    this.routes.clear();
  }

  /** Returns whether a handler of the subscription heard it. */
  refuse(channel: string, error: SluiceError): boolean {
    const sub = this.own.get(channel);
    if (sub) sub.refused = true;
    this.routes.clear();
    let heard = false;
    for (const listener of sub?.listeners || []) {
      heard ||= !!listener.error;
      listener.error?.(error);
    }
    return heard;
  }

  /** The pace of its fastest handler. */
  pace(sub: Own): number {
    const rest = page()?.hidden ? duration(this.hidden) : 0;
    const paces = [...sub.listeners].map(({ interval, rests }) => Math.max(interval, rests ? rest : 0));
    return Math.min(...paces);
  }

  /** The page was hidden or shown. */
  repace(): void {
    if (!duration(this.hidden)) return;
    for (const sub of this.own.values()) this.tune(sub, true);
  }

  /** Whoever wants it has changed. `fresh`: not all that a slower pace has left out. */
  tune(sub: Own, fresh = false): void {
    const interval = this.pace(sub);
    if (interval === sub.interval) return;
    if (fresh && interval < sub.interval) sub.position = undefined;
    sub.interval = interval;
    this.change(sub);
  }

  /** Tells the link, once for all changes of this turn. */
  change(sub: Own, gone = false): void {
    (gone ? this.added : this.removed).delete(sub);
    (gone ? this.removed : this.added).add(sub);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.flush());
  }

  flush(): void {
    const link = this.live();
    if (!link) return; // a new link asks for all there is
    const added = [...this.added].filter((one) => !one.refused);
    const removed = [...this.removed];
    this.added.clear();
    this.removed.clear();
    if (added.length + removed.length) link.update(added, removed);
  }

  stop(): void {
    clearTimeout(this.timer);
  }

  /** A new link subscribes to everything as it is now. What was half painted begins anew. */
  settle(): void {
    this.added.clear();
    this.removed.clear();
    for (const sub of this.own.values()) {
      if (sub.left) sub.position = undefined;
      sub.left = 0;
    }
  }

  receive(message: Message, early?: Map<unknown, Sub>): void {
    const { channel, cursor, ts } = message;
    let subs = this.routes.get(channel);
    if (!subs) {
      subs = this.wanted().filter((sub) => matches(sub.channel, channel));
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
}
