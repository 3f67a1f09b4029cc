/** What all elements share: one client for each gateway, a channel, a path into its value, and honest states.
 *
 * `data-state` on the element says how its value is to be taken:
 *   waiting      nothing has come yet
 *   live         as the device last said
 *   stale        the gateway or the broker is away, or the value is older than `max-age`
 *   pending      a command is on its way
 *   unconfirmed  the broker has the command, and the device has not said so yet
 *   confirmed    with `confirm="device"`: the device has done it, says the gateway; for two seconds
 *   reverted     ... it has not, in time: the value is what the device says; for eight seconds
 *   refused      the gateway said no; the reason is in the element's text for screen readers and in its tooltip */
import { duration } from '../client/names.js';
import { type Message, Sluice, type SluiceError, type Subscription } from '../client/index.js';

export type ElementState = 'waiting' | 'live' | 'stale' | 'pending' | 'unconfirmed' | 'confirmed' | 'reverted' | 'refused';

const GRACE = 2_000; // ms without a connection until a value counts as stale
const clients = new Map<string, Sluice>();

/** For these elements: those without `gateway`, or those with this one. Before the elements are on the page. */
export function use(client: Sluice, gateway = ''): void {
  clients.set(gateway, client);
}

export function clientOf(gateway: string): Sluice {
  let client = clients.get(gateway);
  if (!client) clients.set(gateway, (client = new Sluice(gateway)));
  return client;
}

/** What is at a path such as `state` or `ENERGY.Power`; undefined if it is not there. */
export function pick(value: unknown, path: string): unknown {
  for (const key of path ? path.split('.') : []) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as any)[key];
  }
  return value;
}

/** The reverse: {"ENERGY":{"Power":1}}. */
export const wrap = (value: unknown, path: string): unknown =>
  (path ? path.split('.') : []).reduceRight((inner, key) => ({ [key]: inner }), value as any);

/** An attribute as JSON where it is JSON, else as text. */
export function literal(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

export const same = (a: unknown, b: unknown): boolean => a === b || JSON.stringify(a) === JSON.stringify(b);

export const clamp = (min: number, value: number, max: number): number => Math.min(max, Math.max(min, value));

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A value as a person reads it. */
export function say(value: unknown, digits?: string | null): string {
  if (value === undefined || value === null) return '–';
  if (typeof value === 'number') {
    if (digits) return value.toFixed(clamp(0, +digits || 0, 20));
    return Number.isInteger(value) ? String(value) : String(+value.toPrecision(6));
  }
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

const BASE = `
:host { display: inline-block; font: var(--sluice-font, inherit); color: var(--sluice-text, inherit); }
:host([hidden]) { display: none !important; }
:host { --accent: var(--sluice-accent, #0b7285); --good: var(--sluice-good, #1b7340); --bad: var(--sluice-bad, #c0392b); --warn: var(--sluice-warn, #b35309);
  --line: var(--sluice-line, color-mix(in srgb, currentColor 22%, transparent)); --quiet: var(--sluice-quiet, color-mix(in srgb, currentColor 80%, transparent)); }
:host([data-state='waiting']) .body, :host([data-state='stale']) .body { opacity: var(--sluice-stale-opacity, .8); }
:host([data-state='refused']) { color: var(--bad); }
.say { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.mark { margin-left: .3em; font-size: .8em; }
.mark:empty { display: none; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
@media (prefers-reduced-motion: no-preference) { :host([data-state='pending']) .body { animation: wait 1s ease-in-out infinite alternate; } }
@keyframes wait { to { opacity: .45; } }
`;

const sheets = new Map<string, CSSStyleSheet>();

/** Style sheets made by script, which a page's policy (CSP) allows without 'unsafe-inline'. */
function sheet(css: string): CSSStyleSheet {
  let made = sheets.get(css);
  if (!made) {
    sheets.set(css, (made = new CSSStyleSheet()));
    made.replaceSync(css);
  }
  return made;
}

const MARKS: Partial<Record<ElementState, string>> = { stale: '⏱', unconfirmed: '?', confirmed: '✓', reverted: '↩', refused: '✕' };
const WORTH = { stale: 'silent', offline: 'the device is offline', unknown: 'of unknown age' };

/** So that the module can be loaded where there is no page. */
const Base = (globalThis.HTMLElement || class {}) as typeof HTMLElement;

export abstract class SluiceElement extends Base {
  static readonly css: string = '';
  static get observedAttributes(): string[] {
    return ['channel', 'gateway', 'path', 'max-age', 'label', 'unit', 'digits', 'min', 'max', 'step', 'on', 'off', 'to', 'span', 'lines', 'alt', 'disabled'];
  }

  protected readonly root: ShadowRoot;
  protected message?: Message;
  protected refusal?: string; // of the subscription
  protected state: ElementState = 'waiting';
  protected client?: Sluice;
  private subscription?: Subscription;
  protected leave: (() => void)[] = []; // what ends with the channel
  private timer?: ReturnType<typeof setTimeout>;
  private lost = false;
  private own?: { state: ElementState; why?: string }; // of a command
  protected wish?: unknown; // what a person wants, until the device says so
  private fault = '';
  private note = el('span', { class: 'say', role: 'status' });
  private mark = el('span', { class: 'mark', part: 'mark', 'aria-hidden': 'true' });

  constructor() {
    super();
    this.root = this.attachShadow({ mode: 'open', delegatesFocus: true });
    this.root.adoptedStyleSheets = [sheet(BASE), sheet((this.constructor as typeof SluiceElement).css)];
    this.build();
    this.root.append(this.mark, this.note);
  }

  /** Fills the shadow root, once. */
  protected abstract build(): void;
  /** Shows the current value. */
  protected abstract paint(): void;
  /** A new message. */
  protected take(message: Message): void {
    this.message = message;
  }
  /** Of another channel, or of none. */
  protected reset(): void {
    this.message = this.wish = undefined;
  }

  protected text(name: string): string {
    return this.getAttribute(name) || '';
  }

  protected get value(): unknown {
    return pick(this.message?.data, this.text('path'));
  }

  protected get label(): string {
    return this.text('label') || this.text('channel') + (this.text('path') && ` ${this.text('path')}`);
  }

  /** With its digits and its unit. */
  protected say(value: unknown): string {
    return say(value, this.text('digits')) + (value === undefined ? '' : this.text('unit') && ` ${this.text('unit')}`);
  }

  /** A duration; 0 where it is none. */
  protected ms(name: string): number {
    try {
      return duration(this.text(name));
    } catch (error) {
      this.fault = (error as Error).message;
      return 0;
    }
  }

  connectedCallback(): void {
    this.join();
  }

  disconnectedCallback(): void {
    this.part_();
  }

  attributeChangedCallback(name: string, before: string | null, now: string | null): void {
    if (before === now || !this.isConnected) return;
    if (name === 'channel' || name === 'gateway') this.join();
    else this.refresh();
  }

  private part_(): void {
    clearTimeout(this.timer);
    this.subscription?.off();
    this.subscription = undefined;
    for (const leave of this.leave.splice(0)) leave();
  }

  private join(): void {
    this.part_();
    this.reset();
    this.refusal = this.own = undefined;
    const channel = this.text('channel');
    try {
      this.client = clientOf(this.text('gateway'));
    } catch (error) {
      this.refusal = (error as Error).message;
    }
    const { client } = this;
    if (!channel) this.refusal = 'the attribute channel is missing';
    if (client && channel) {
      this.leave = [client.on('state', () => this.look()), client.on('upstream', () => this.look()),
        client.on('status', ({ channel: name }) => name === this.message?.channel && this.look())];
      this.lost = client.state !== 'live' && client.state !== 'connecting';
      this.subscription = client.subscribe(channel, (message) => {
        this.refusal = undefined;
        this.take(message);
        this.look();
      }, { error: (error) => ((this.refusal = this.explain(error)), this.look()) });
      this.joined(client, channel);
    }
    this.look();
  }

  protected joined(_client: Sluice, _channel: string): void {}

  protected refresh(): void {
    this.look();
  }

  private explain({ code, message }: SluiceError): string {
    return message && message !== code ? `${message} (${code})` : code;
  }

  /** What is the value worth now? */
  private look(): void {
    clearTimeout(this.timer);
    const { client } = this;
    this.fault = '';
    let why = '';
    let state: ElementState = 'live';
    if (client?.state === 'live') this.lost = false;
    else if (client && !this.lost) {
      this.lost = client.state !== 'connecting';
      setTimeout(() => (client.state === 'live' || (this.lost = true), this.isConnected && this.look()), GRACE);
    }
    const age = this.ms('max-age');
    const worth = this.message && client?.status(this.message.channel);
    const old = this.message && age ? Date.now() - this.message.ts - age : -1;
    if (this.refusal) [state, why] = ['refused', this.refusal];
    else if (client?.state === 'unauthorized') [state, why] = ['refused', 'the gateway wants a valid token'];
    else if (this.own) [state, why] = [this.own.state, this.own.why || ''];
    else if (!this.message) [state, why] = ['waiting', client?.state === 'live' ? 'no value yet' : 'connecting'];
    else if (this.lost) [state, why] = ['stale', 'no connection to the gateway'];
    else if (client?.upstream.state === 'down') [state, why] = ['stale', 'the broker can’t be reached'];
    else if (worth && worth.state !== 'live') [state, why] = ['stale', `${WORTH[worth.state]} since ${new Date(worth.since).toLocaleString()}`];
    else if (old >= 0) [state, why] = ['stale', `nothing new for ${this.text('max-age')}`];
    else {
      why = this.fault;
      if (age) this.timer = setTimeout(() => this.look(), -old);
    }
    this.show(state, why);
  }

  private show(state: ElementState, why: string): void {
    this.state = state;
    this.dataset.state = state;
    if (why) this.title = why;
    else this.removeAttribute('title');
    // Told when it changes; that a value is live or on its way needs no words.
    const words = !MARKS[state] ? '' : `${this.label}: ${state}, ${why}`;
    if (this.note.textContent !== words) this.note.textContent = words;
    this.mark.textContent = MARKS[state] || '';
    this.paint();
  }

  /** Sends a command, and shows how far it got. `arrived`: has the device confirmed it? */
  protected async command(wish: unknown, word: unknown, arrived: () => boolean): Promise<void> {
    this.wish = wish;
    await this.publish(this.hasAttribute('bare') ? word : wrap(word, this.text('path')), arrived);
    if (this.wish === wish && !this.commanding) this.wish = undefined;
    this.paint();
  }

  private async publish(value: unknown, arrived: () => boolean): Promise<void> {
    const turn: { state: ElementState; why?: string } = (this.own = { state: 'pending', why: 'on its way' });
    const set = (next?: typeof turn): void => {
      if (this.own === turn) this.own = next && Object.assign(turn, next);
      this.look();
    };
    const end = (state: ElementState, why: string, ms: number): void => {
      set({ state, why });
      setTimeout(set, ms);
    };
    this.look();
    const device = this.text('confirm') === 'device';
    const fire = (what: string, detail: unknown): unknown => this.dispatchEvent(new CustomEvent('sluice-' + what, { detail, bubbles: true, composed: true }));
    let said: any;
    try {
      said = await this.client!.publish(this.text('to') || this.text('channel'), value, { confirm: device });
    } catch (error) {
      end('refused', this.explain(error as SluiceError), 8_000);
      fire('refused', error);
      return;
    }
    fire('published', value);
    if (device) {
      if (said.status === 'confirmed') end('confirmed', 'the device has done it', 2_000);
      else end('reverted', 'the device has not done it in time', 8_000);
      fire(said.status, said);
      return;
    }
    const patience = duration(this.text('confirm') || '5s');
    const until = Date.now() + patience;
    for (; patience && this.own === turn && !arrived() && this.isConnected; await sleep(50))
      if (Date.now() > until && turn.state === 'pending') set({ state: 'unconfirmed', why: 'the broker has the command; the device has not confirmed it' });
    set();
  }

  protected get commanding(): boolean {
    return this.own?.state === 'pending' || this.own?.state === 'unconfirmed';
  }

  /** May a person move it? */
  protected get locked(): boolean {
    return this.hasAttribute('disabled') || (!!this.refusal && !this.text('to'));
  }
}

/** Attributes of an element. */
export function set<T extends Element>(element: T, attributes: Record<string, unknown>): T {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return element;
}

/** An element with attributes and children. */
export function el<K extends keyof HTMLElementTagNameMap>(tag: K, attributes: Record<string, string> = {}, ...children: (Node | string)[]): HTMLElementTagNameMap[K] {
  const made = set(document.createElement(tag), attributes);
  made.append(...children);
  return made;
}
