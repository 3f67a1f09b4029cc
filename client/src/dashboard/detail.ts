/** The selected channel: its value, its fields as a tree, a chart, and a box to publish. On a phone a sheet over the list. */
import type { Message, Sluice } from '../client/index';
import { Chart } from './chart';
import { byId, el, icon, setText } from './dom';
import { type Json, age, binarySize, bytes, byInterest, isBinary, isObject, numbers, rate, short } from './format';
import { PublishBox } from './publish';
import { api } from './session';
import { type Channel, history } from './store';
import { Tree } from './tree';

export class Detail {
  channel?: Channel;
  private box = byId('detail');
  private chart?: Chart;
  private tree?: Tree;
  private publish?: PublishBox;
  private value = el('div', { class: 'big', 'data-field': 'detail-value' });
  private facts = el('p', { class: 'quiet facts' });
  private heading = el('h2', { tabindex: '-1' });

  constructor(private client: Sluice, private onClose: () => void) {
    setInterval(() => this.channel && this.clock(), 1000);
    this.box.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') this.onClose();
    });
  }

  open(channel: Channel, focus: boolean): void {
    if (this.channel === channel) return;
    this.close();
    this.channel = channel;
    const data = channel.message!.data;
    const fields = numbers(data).sort(byInterest).map(([path]) => path);
    this.chart = new Chart(new Set(fields.slice(0, 1)));
    this.tree = isObject(data) && !isBinary(data) || Array.isArray(data)
      ? new Tree({
          charted: (path) => this.chart!.fields.has(path),
          toggle: (path) => {
            this.chart!.toggle(path);
            this.tree!.refresh();
          },
        })
      : undefined;
    setText(this.heading, channel.name);
    const slot = el('div');
    this.box.replaceChildren(
      el('div', { class: 'sheet-head' },
        el('button', { type: 'button', class: 'plain icon back', 'aria-label': 'Back to the list', click: () => this.onClose() }, icon('M15 5l-7 7 7 7')),
        this.heading),
      this.value, this.facts, this.chart.element, ...(this.tree ? [this.tree.element] : []), slot,
    );
    this.box.hidden = false;
    document.body.classList.add('has-detail');
    this.show(channel.message!);
    if (focus) this.heading.focus();
    void this.load(channel, slot);
  }

  close(): void {
    this.chart?.destroy();
    this.chart = this.tree = this.publish = this.channel = undefined;
    this.box.hidden = true;
    document.body.classList.remove('has-detail');
  }

  /** A message of the channel came. */
  update(message: Message): void {
    this.show(message);
    this.chart?.add(message);
  }

  repaint(): void {
    this.chart?.rebuild();
  }

  private show(message: Message): void {
    const { data } = message;
    const tree = (isObject(data) && !isBinary(data)) || Array.isArray(data);
    this.value.hidden = tree && !!this.tree;
    if (!this.value.hidden) {
      setText(this.value, isBinary(data) ? `Binary, ${bytes(binarySize(data))}` : typeof data === 'string' ? data : tree ? JSON.stringify(data) : short(data));
      this.value.classList.toggle('cleared', data === null);
      this.value.classList.toggle('text', typeof data === 'string' && data.length > 24);
    }
    if (this.tree) this.tree.element.hidden = !tree;
    if (tree) this.tree?.show(data as Json);
    this.publish?.suggest(data);
    this.clock();
  }

  private clock(): void {
    const { message, count } = this.channel!;
    if (!message) return;
    const facts = [`${age(Date.now() - message.ts)}${message.retained ? ' (retained: may be older)' : ''}`, new Date(message.ts).toLocaleTimeString()];
    const often = rate(this.channel!.rate());
    if (often) facts.push(often);
    if (count) facts.push(`${count} message${count === 1 ? '' : 's'} since the page opened`);
    setText(this.facts, facts.join(' · '));
  }

  /** What takes a round trip: the history for the chart, and whether one may publish. */
  private async load(channel: Channel, slot: HTMLElement): Promise<void> {
    const chart = this.chart;
    const listed = api(`/channels?filter=${encodeURIComponent(channel.name)}`)
      .then(async (answer) => (answer.ok ? (await answer.json()).channels : []))
      .catch(() => []);
    const messages = await history(channel.name, 500).catch(() => []);
    if (this.chart === chart) chart?.load(messages);
    const [row] = await listed;
    if (this.channel !== channel || !row?.publish) return;
    this.publish = new PublishBox(this.client, () => channel.name);
    this.publish.suggest(channel.message!.data);
    slot.append(this.publish.element);
  }
}
