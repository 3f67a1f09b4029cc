/** The selected channel: its value, charts and fields, a log, the JSON, its route, and a box to publish. On a narrow page a
 * sheet over the list. */
import type { Message, Sluice } from '../client/index';
import { Chart } from './chart';
import { csv, save } from './copy';
import { byId, el, icon, setText } from './dom';
import { explain } from './explain';
import { type Json, age, begin, binarySize, bytes, byInterest, clock, isBinary, isBlob, isObject, number, numbers, rate, short } from './format';
import { Log } from './log';
import { PublishBox } from './publish';
import { Raw } from './raw';
import { worth } from './row';
import { api, signedIn } from './session';
import { type Channel, history } from './store';
import { now } from './time';
import { Tree } from './tree';

const POINTS = 5000; // of the history
const LONG = 10_000; // letters of a text
const REST = '; the tab JSON can copy all';
const LOGGED = 100; // of it that the log begins with
const TABS = ['Value', 'Log', 'JSON', 'Route'] as const;
type Tab = (typeof TABS)[number];
const CROSS = 'M6 6l12 12M18 6L6 18';
const PIN = 'M9 4h6l-1 6 4 3v2H6v-2l4-3zM12 15v6';

const PATIENCE = 1_000; // ms: most values come at once
const WAITING = 'No value yet. Waiting for the first message…';
const NEVER: Record<string, string> = {
  forbidden: 'You may not see this channel.',
  unknown_channel: 'No route of the gateway leads to a channel of this name.',
};

interface Host {
  close(): void;
  pinned(name: string): boolean;
  pin(name: string): void;
}

const isTree = (data: unknown): boolean => (isObject(data) && !isBinary(data)) || Array.isArray(data);

export class Detail {
  private box = byId('detail');
  private name?: string;
  private channel?: Channel;
  private tab: Tab = 'Value';
  private chart?: Chart;
  private tree?: Tree;
  private publish?: PublishBox;
  private log?: Log;
  private raw?: Raw;
  private past: Message[] = [];
  private value = el('div', { class: 'big', 'data-field': 'detail-value' });
  private picture = el('img', { class: 'picture', alt: '', hidden: '', 'data-testid': 'picture' });
  private shown?: string;
  private facts = el('p', { class: 'quiet facts' });
  private heading = el('h2', { tabindex: '-1' });
  private pinButton = el('button', { type: 'button', class: 'plain icon', 'data-testid': 'pin', click: () => this.name !== undefined && this.host.pin(this.name) }, icon(PIN));
  private soon?: ReturnType<typeof setTimeout>;
  private waiting = el('p', { class: 'waiting', role: 'status', 'data-testid': 'waiting' });
  private panel = el('div', { class: 'panel', role: 'tabpanel', id: 'panel', tabindex: '-1' });

  constructor(private client: Sluice, private host: Host) {
    setInterval(() => this.channel && this.clock(), 1000);
  }

  /** channel undefined: nothing is known of it yet. */
  open(name: string | undefined, channel: Channel | undefined, focus: boolean): void {
    if (name === undefined) return this.close();
    this.pinButton.setAttribute('aria-pressed', String(this.host.pinned(name)));
    this.pinButton.setAttribute('aria-label', this.host.pinned(name) ? 'Unpin' : 'Pin to the top of the list');
    if (this.name === name && this.channel === channel) return;
    this.close();
    this.name = name;
    this.channel = channel;
    setText(this.heading, name);
    this.box.replaceChildren(
      el('div', { class: 'sheet-head' }, this.heading, this.pinButton,
        el('button', { type: 'button', class: 'plain icon', 'data-testid': 'close', 'aria-label': 'Close', click: () => this.host.close() }, icon(CROSS))),
      ...(channel ? this.content(channel) : [this.waiting]),
    );
    this.box.hidden = false;
    document.body.classList.add('has-detail');
    if (channel) {
      this.show(channel.message!);
      void this.load(channel);
    } else {
      setText(this.waiting, WAITING);
      clearTimeout(this.soon);
      this.soon = setTimeout(() => void this.why(name), PATIENCE);
    }
    if (focus) this.heading.focus();
  }

  /** Why there is no value: some will never come. */
  private async why(name: string): Promise<void> {
    if (this.name !== name || this.channel) return;
    const answer = await api(`/channels/${encodeURIComponent(name)}`).catch(() => undefined);
    const { code } = answer && !answer.ok ? await answer.json().catch(() => ({})) : { code: '' };
    if (this.name === name && !this.channel) setText(this.waiting, NEVER[code] ?? WAITING);
  }

  private close(): void {
    this.chart?.destroy();
    this.picture.hidden = true;
    this.shown = undefined;
    this.chart = this.tree = this.publish = this.channel = this.name = this.log = this.raw = undefined;
    this.past = [];
    this.box.hidden = true;
    document.body.classList.remove('has-detail');
  }

  /** A message of the channel came. */
  update(message: Message): void {
    this.show(message);
    this.chart?.add(message);
    this.log?.take(message);
    this.raw?.show();
  }

  repaint(): void {
    this.chart?.rebuild();
  }

  private content(channel: Channel): HTMLElement[] {
    const { data } = channel.message!;
    this.chart = new Chart(new Set(numbers(data).sort(byInterest).map(([path]) => path).slice(0, 1)), channel.name);
    this.tree = isTree(data)
      ? new Tree({
          charted: (path) => this.chart!.fields.has(path),
          toggle: (path) => {
            this.chart!.toggle(path);
            this.tree!.refresh();
          },
        })
      : undefined;
    const tabs = el('div', { class: 'tabs', role: 'tablist', 'aria-label': 'What to show of the channel' }, ...TABS.map((name) =>
      el('button', { type: 'button', role: 'tab', id: `tab-${name}`, 'aria-controls': 'panel', class: 'plain', click: () => this.choose(name) }, name)));
    tabs.addEventListener('keydown', (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      this.choose(TABS[(TABS.indexOf(this.tab) + step + TABS.length) % TABS.length]);
      byId(`tab-${this.tab}`).focus();
    });
    queueMicrotask(() => this.channel === channel && this.choose(this.tab));
    return [this.value, this.picture, this.facts, tabs, this.panel];
  }

  private choose(tab: Tab): void {
    const { channel } = this;
    if (!channel) return;
    this.tab = tab;
    for (const name of TABS) {
      byId(`tab-${name}`).setAttribute('aria-selected', String(name === tab));
      byId(`tab-${name}`).tabIndex = name === tab ? 0 : -1;
    }
    this.panel.setAttribute('aria-labelledby', `tab-${tab}`);
    this.log = this.raw = undefined;
    if (tab === 'Value') {
      this.panel.replaceChildren(this.chart!.element, ...(this.tree ? [this.tree.element] : []), ...(this.publish ? [this.publish.element] : []));
      this.chart!.rebuild();
    } else if (tab === 'Log') {
      this.log = new Log();
      for (const message of this.past.slice(-LOGGED)) this.log.take(message);
      this.panel.replaceChildren(
        el('div', { class: 'actions' }, el('button', { type: 'button', class: 'small', 'data-testid': 'csv', click: () => void this.export(channel.name) }, 'Save history as CSV')), this.log.element);
    } else if (tab === 'JSON') {
      this.panel.replaceChildren((this.raw = new Raw(channel)).element);
    } else {
      void this.route(channel);
    }
  }

  private show(message: Message): void {
    const data = message.cleared ? undefined : message.data;
    const tree = isTree(data);
    this.value.hidden = tree && !!this.tree;
    if (!this.value.hidden) {
      setText(this.value, isBinary(data) ? `Binary, ${bytes(binarySize(data))}` : typeof data === 'string' ? begin(data, LONG, REST) : tree ? begin(JSON.stringify(data), LONG, REST) : short(data));
      this.value.classList.toggle('cleared', !!message.cleared);
      const long = typeof data === 'string' && data.length > 24;
      this.value.classList.toggle('text', long);
      if (long) this.value.tabIndex = 0; // it may scroll
      else this.value.removeAttribute('tabindex');
    }
    if (this.tree) this.tree.element.hidden = !tree;
    if (tree) this.tree?.show(data as Json);
    void this.paint(data);
    this.publish?.suggest(data);
    this.clock();
  }

  /** A picture of `codec: blob`. It is asked for as who is signed in, which an address cannot say. */
  private async paint(data: unknown): Promise<void> {
    const url = isBlob(data) && data.type.startsWith('image/') ? data.url : undefined;
    if (url === this.shown) return;
    this.shown = url;
    if (!url) return void (this.picture.hidden = true);
    try {
      const answer = await api('/' + url, { cache: 'default' });
      if (!answer.ok || this.shown !== url) return;
      const made = URL.createObjectURL(await answer.blob());
      this.picture.onload = () => URL.revokeObjectURL(made);
      this.picture.src = made;
      this.picture.alt = `The picture on ${this.name}`;
      this.picture.hidden = false;
    } catch {
      this.shown = undefined; // the gateway is away; the next message tries again
    }
  }

  private clock(): void {
    const { message, before, count } = this.channel!;
    if (!message) return;
    const facts = [`${age(now() - message.ts)}${message.retained ? ' (retained: may be older)' : ''}`, clock(message.ts)];
    const doubt = worth(this.channel!);
    if (doubt) facts.unshift(doubt);
    this.box.classList.toggle('doubtful', !!doubt);
    const often = rate(this.channel!.rate());
    if (often) facts.push(often);
    if (count) facts.push(`${count} message${count === 1 ? '' : 's'} since the page opened`);
    if (before && typeof message.data === 'number' && typeof before.data === 'number') {
      const step = message.data - before.data;
      facts.unshift(`was ${number(before.data)} (${step > 0 ? '+' : ''}${number(step)})`);
    }
    setText(this.facts, facts.join(' · '));
  }

  /** What takes a round trip: the history, and whether one may publish. */
  private async load(channel: Channel): Promise<void> {
    const listed = api(`/channels?filter=${encodeURIComponent(channel.name)}`)
      .then(async (answer) => (answer.ok ? await answer.json() : {}))
      .catch(() => ({}));
    const messages = await history(channel.name, POINTS).catch(() => []);
    const { channels, publish } = await listed;
    if (this.channel !== channel) return;
    this.past = messages;
    this.chart?.load(messages);
    if (this.tab === 'Log') this.choose('Log');
    const row = channels?.[0];
    let box: HTMLElement | undefined;
    if (row?.publish) {
      this.publish = new PublishBox(this.client, () => channel.name);
      this.publish.suggest(channel.message!.data);
      box = this.publish.element;
    } else if (row && signedIn() && publish) {
      box = el('p', { class: 'quiet small', 'data-testid': 'no-publish' }, 'Your role may not publish here.');
    }
    if (box && this.tab === 'Value') this.panel.append(box);
  }

  private async export(name: string): Promise<void> {
    save(name.replace(/[^\w.-]+/g, '_') + '.csv', 'text/csv', csv(await history(name, POINTS)));
  }

  private async route(channel: Channel): Promise<void> {
    this.panel.replaceChildren(el('p', { class: 'quiet' }, 'Asking the gateway…'));
    const found = await explain(channel.name);
    if (this.channel !== channel || this.tab !== 'Route') return;
    if (!found?.text) return this.panel.replaceChildren(el('p', { class: 'quiet', 'data-testid': 'explain' }, 'Only those who may see every channel may see the routes.'));
    // A block for each route: those that lead here first, why the others don't for those who ask.
    const blocks = found.text.split(/^(?=routes\[)/m);
    const others = blocks.filter((block) => /: does not match$/m.test(block));
    const text = (lines: string[], label: string): HTMLElement => el('pre', { class: 'explain', tabindex: '0', 'aria-label': label }, lines.join(''));
    this.panel.replaceChildren(el('div', { 'data-testid': 'explain' }, text(blocks.filter((block) => !others.includes(block)), 'Routes that lead to this channel'),
      ...(others.length ? [el('details', { class: 'explain-rest' }, el('summary', {}, `${others.length} other route${others.length === 1 ? ' does' : 's do'} not match`), text(others, 'Why the others do not match'))] : [])));
  }
}
