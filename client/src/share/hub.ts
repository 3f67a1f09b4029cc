/** The one connection of several tabs: takes frames of the WebSocket protocol from each, and gives each its own back.
 *
 * The first tab that wants a channel makes the gateway's subscription, from its own cursor. One that comes later first
 * gets what it lacks by a poll; what comes in live meanwhile is held until then, so that nothing is out of order. */
import { bodyOf, errorOf, isRefusal, query } from '../client/http.js';
import { Sluice } from '../client/index.js';
import type { Sub } from '../client/link.js';
import { compare, duration, isCursor, matches } from '../client/names.js';
import type { Message, SluiceError, StateEvent } from '../client/types.js';
import { claims, type Down, type Opening, type Up } from './line.js';

const LOOK = 20; // ms between looks whether the first values are complete
const AGAIN = 1_000; // ms until a poll that failed is tried again
const BEHIND = 50; // ... or one of a worker that lags
const HELD = 10_000; // messages that wait for one tab

/** A tab's subscription. */
interface Want {
  id?: unknown; // until it is answered
  interval: number;
  held?: object[]; // live frames that wait, while the tab gets what it lacks
}

interface Lack {
  sub: Sub;
  want: Want;
}

export interface Tab {
  wants: Map<string, Want>;
  token?: string;
  lacks?: Lack[]; // to be fetched, in this turn
  greeted?: boolean;
  ready?: boolean; // it takes states
}

/** The client of the gateway, with everything that it hears passed on as it came. */
class Source extends Sluice {
  constructor(hub: Hub, { base, token, options }: Opening) {
    super(base, { ...options, token, hidden: false, share: false });
    const { subs, host } = this;
    const receive = subs.receive.bind(subs);
    subs.receive = (message, early) => {
      receive(message, early);
      hub.forward({ ...message, type: 'message' } as Message);
    };
    subs.pace = ({ channel }) => hub.pace(channel);
    host.expiring = () => hub.tell({ type: 'expiring' });
  }

  get highest(): string | undefined {
    return this.subs.highest;
  }

  sub(channel: string): Sub | undefined {
    return this.subs.own.get(channel);
  }

  want(channel: string, position: string | undefined, since: string | undefined, error: (error: SluiceError) => void): void {
    this.subscribe(channel, () => {}, { hidden: false, since, error });
    this.sub(channel)!.position = position;
  }

  tune(channel: string, fresh: boolean): void {
    this.subs.tune(this.subs.own.get(channel)!, fresh);
  }

  poll(subs: Sub[]): Promise<Response> {
    return this.host.request(`/poll${query(subs)}&wait=0`, {});
  }

  get current(): string | undefined {
    return this.host.token;
  }

  replace(token: string): void {
    if (this.state !== 'live') return this.setToken(token);
    this.token = this.host.token = token;
    this.link!.renew();
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export class Hub {
  readonly tabs = new Set<Tab>();
  private source?: Source;
  private status!: StateEvent; // of it
  private routes = new Map<string, Map<Tab, Want[]>>(); // channel -> who wants it, until that changes
  private timer?: ReturnType<typeof setInterval>;

  constructor(private post: (tabs: Tab[], down: Down) => void) {}

  take(tab: Tab, up: Up): void {
    if (up === 'close') this.leave(tab);
    else if ('open' in up) this.join(tab, up.open);
    else if (this.tabs.has(tab)) this.hear(tab, JSON.parse(up.text));
  }

  leave(tab: Tab): void {
    if (!this.tabs.delete(tab)) return;
    for (const channel of [...tab.wants.keys()]) this.unwant(tab, channel);
    if (this.tabs.size) return;
    clearInterval(this.timer);
    this.timer = undefined;
    this.source?.close();
    this.source = undefined;
  }

  pace(channel: string): number {
    return Math.min(...[...this.tabs].map((tab) => tab.wants.get(channel)?.interval ?? Infinity));
  }

  tell(frame: object): void {
    this.post([...this.tabs].filter((tab) => tab.greeted), { frame });
  }

  /** A message, a gap or a status, to whoever wants its channel. */
  forward(frame: { channel: string }): void {
    const now: Tab[] = [];
    for (const [tab, wants] of this.route(frame.channel)) {
      if (wants.some((want) => !want.held)) now.push(tab);
      for (const held of new Set(wants.map((want) => want.held))) held?.push(frame);
    }
    if (now.length) this.post(now, { frame });
  }

  private route(channel: string): Map<Tab, Want[]> {
    let route = this.routes.get(channel);
    if (!route) {
      route = new Map();
      for (const tab of this.tabs) {
        const wants = [...tab.wants].filter(([filter]) => matches(filter, channel)).map(([, want]) => want);
        if (wants.length) route.set(tab, wants);
      }
      this.routes.set(channel, route);
    }
    return route;
  }

  private join(tab: Tab, opening: Opening): void {
    this.tabs.add(tab);
    tab.token = opening.token;
    if (!this.source) this.connect(opening);
    else if (this.source.state === 'unauthorized' && this.source.current !== opening.token && opening.token) this.source.setToken(opening.token);
    this.greet(tab);
  }

  private connect(opening: Opening): void {
    const source = (this.source = new Source(this, opening));
    this.status = { state: source.state, transport: null };
    source.on('state', (status) => {
      if (this.source !== source) return;
      this.status = status;
      for (const tab of [...this.tabs]) this.greet(tab);
    });
    source.on('gap', (gap) => this.forward({ ...gap, type: 'gap' } as any));
    source.on('status', (status) => this.forward({ ...status, type: 'status' } as any));
    source.on('upstream', (upstream) => this.tell({ ...upstream, type: 'upstream' }));
    source.on('identity', (identity) => this.tell({ ...identity, type: 'hello' }));
    source.on('error', ({ code, message, channel }) => {
      if (!channel && code !== 'unauthorized') this.post([...this.tabs], { complain: { code, message } });
    });
  }

  /** Says how the connection is; a tab is greeted when there is one. */
  private greet(tab: Tab): void {
    const { state } = this.status;
    if (state === 'unauthorized') {
      this.post([tab], { end: { code: 4401, reason: 'the gateway wants another token' } });
      return this.leave(tab);
    }
    if (state === 'live' && !tab.greeted) {
      tab.greeted = true;
      this.post([tab], { frame: { type: 'welcome', cursor: 'shared.0' } });
      const { upstream } = this.source!;
      if (upstream.state === 'down') this.post([tab], { frame: { ...upstream, type: 'upstream' } });
      tab.ready = !tab.token;
    }
    if (tab.ready || !tab.greeted) this.post([tab], { status: this.status });
  }

  private hear(tab: Tab, frame: any): void {
    const { id, channel } = frame;
    switch (frame.type) {
      case 'hello':
        this.renew(tab, frame.token);
        break;
      case 'ping':
        this.post([tab], { frame: { type: 'pong', id } });
        break;
      case 'subscribe':
        this.want(tab, frame);
        break;
      case 'unsubscribe':
        this.unwant(tab, channel);
        break;
      default: {
        const source = this.source!;
        const asked: Promise<unknown> =
          frame.type === 'request' ? source.request(channel, frame.data, { timeout: frame.timeout }) : source.publish(channel, frame.data, { confirm: frame.confirm, key: frame.idempotency_key });
        asked.then(
          (said: any) => this.post([tab], { frame: frame.type === 'request' ? { type: 'response', id, data: said } : { ...said, type: said.status || said, id } }),
          ({ code, message, reason }) => this.post([tab], { frame: { type: 'error', id, code, message, reason } }),
        );
      }
    }
  }

  /** Of the same user, or the tab would be elsewhere: the token that lasts longer is used. */
  private renew(tab: Tab, token: string): void {
    const source = this.source!;
    tab.token = token;
    if (token !== source.current && !(claims(token)?.exp <= claims(source.current)?.exp)) source.replace(token);
    this.post([tab], { frame: { ...source.identity, type: 'hello' } });
    tab.ready = true;
    this.greet(tab);
  }

  // --- subscriptions --------------------------------------------------------------------------------------------

  private want(tab: Tab, { id, channel, cursor, since, interval }: any): void {
    const source = this.source!;
    const before = tab.wants.get(channel);
    const want: Want = { id, interval: duration(interval), held: before?.held };
    tab.wants.set(channel, want);
    this.routes.clear();
    if (!source.sub(channel)) {
      source.want(channel, cursor, since, (error) => this.refuse(channel, error));
      if (cursor) this.answer(tab, channel, cursor);
      else this.timer ||= setInterval(() => this.look(), LOOK);
      return;
    }
    source.tune(channel, !cursor);
    if (before && cursor && !before.held) return this.answer(tab, channel, cursor);
    if (!tab.lacks) setTimeout(() => this.fetch(tab));
    const lacks = (tab.lacks ||= []);
    want.held = lacks[0]?.want.held || [];
    lacks.push({ want, sub: { channel, position: cursor, since: duration(since), interval: 0, left: 0 } });
  }

  private unwant(tab: Tab, channel: string): void {
    tab.wants.delete(channel);
    this.routes.clear();
    if (this.pace(channel) === Infinity) this.source!.off(channel);
    else this.source!.tune(channel, false);
  }

  private answer(tab: Tab, channel: string, cursor: string): void {
    const want = tab.wants.get(channel)!;
    this.post([tab], { frame: { type: 'subscribed', id: want.id, channel, cursor, snapshot: 0 } });
    want.id = undefined;
  }

  private refuse(channel: string, { code, message, reason }: SluiceError): void {
    this.source!.off(channel);
    for (const tab of this.tabs) {
      const want = tab.wants.get(channel);
      tab.wants.delete(channel);
      if (want) this.post([tab], { frame: { type: 'error', id: want.id, code, message, reason, channel } });
    }
    this.routes.clear();
  }

  /** Are the first values complete? */
  private look(): void {
    let open = false;
    for (const tab of this.tabs)
      for (const [channel, want] of tab.wants) {
        const position = this.source!.sub(channel)?.position;
        if (want.id === undefined || want.held) continue;
        if (position) this.answer(tab, channel, position);
        else open = true;
      }
    if (open) return;
    clearInterval(this.timer);
    this.timer = undefined;
  }

  // --- what a later tab lacks -----------------------------------------------------------------------------------

  private async fetch(tab: Tab): Promise<void> {
    const lacks = tab.lacks!;
    const { held } = lacks[0].want;
    tab.lacks = undefined;
    let goal = this.source?.highest;
    const still = (): Lack[] => lacks.filter(({ sub, want }) => this.tabs.has(tab) && tab.wants.get(sub.channel) === want);
    for (let left = still(); left.length; left = still()) {
      const said = await this.ask(tab, left);
      if (!said) {
        await pause(AGAIN);
      } else if (goal && compare(said, goal) === -1) {
        await pause(BEHIND);
      } else if (held!.length > HELD) {
        held!.length = 0; // the next poll brings it
        goal = this.source?.highest;
      } else {
        for (const { sub, want } of still()) {
          want.held = undefined;
          this.answer(tab, sub.channel, sub.position!);
        }
        break;
      }
    }
    for (const frame of held!) this.post([tab], { frame });
  }

  /** One poll. Returns where it has brought the tab; undefined: nothing came of it. */
  private async ask(tab: Tab, lacks: Lack[]): Promise<string | undefined> {
    const subs = lacks.map(({ sub }) => sub);
    try {
      const answer = await this.source!.poll(subs);
      if (isRefusal(answer)) {
        const error = await errorOf(answer);
        if (!error) return undefined;
        // Which of them is it?
        if (lacks.length > 1) return (await Promise.all(lacks.map((lack) => this.ask(tab, [lack])))).pop();
        this.unwant(tab, subs[0].channel);
        this.post([tab], { frame: { type: 'error', id: lacks[0].want.id, code: error.code, message: error.message, channel: subs[0].channel } });
        return undefined;
      }
      const body = answer.status === 200 ? await bodyOf(answer) : {};
      const cursor = body.cursor || answer.headers.get('sluice-cursor');
      if (!isCursor(cursor)) return undefined;
      for (const gap of body.gaps || []) this.post([tab], { frame: { ...gap, type: 'gap' } });
      for (const message of body.messages || []) this.post([tab], { frame: { ...message, type: 'message' } });
      for (const status of body.states || []) this.post([tab], { frame: { ...status, type: 'status' } });
      for (const sub of subs) sub.position = cursor;
      return cursor;
    } catch {
      return undefined;
    }
  }
}
