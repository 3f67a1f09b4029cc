/** The list of channels, in groups by first level. Rows are made once, filled only while they are on the screen, and at most
 * once a frame: a thousand channels and hundreds of messages a second leave the page calm. */
import { matches } from '../client/names';
import { byId, el, setText } from './dom';
import { age, byInterest, isBinary, isObject, number, numbers, rate, short } from './format';
import { drawSpark } from './spark';
import type { Channel, Store } from './store';

const MOST = 5000; // rows; beyond that the filter must help

interface Row {
  channel: Channel;
  item: HTMLLIElement;
  button: HTMLButtonElement;
  value: HTMLElement;
  age: HTMLElement;
  rate: HTMLElement;
  canvas: HTMLCanvasElement;
  visible: boolean;
  dirty: boolean;
}

interface Group {
  node: HTMLDetailsElement;
  list: HTMLUListElement;
  count: HTMLElement;
}

export class List {
  private rows = new Map<string, Row>();
  private groups = new Map<string, Group>();
  private changed = new Set<Row>();
  private frame = 0;
  private filter = '';
  private selected?: Row;
  private box = byId('groups');
  private observer = new IntersectionObserver((entries) => this.onSeen(entries), { rootMargin: '200px' });

  constructor(store: Store, private select: (channel: Channel) => void) {
    store.onChange((channel) => this.onChange(channel));
    setInterval(() => this.tick(), 1000);
    this.box.addEventListener('keydown', (event) => this.onKey(event));
    this.showEmpty();
  }

  setFilter(text: string): void {
    this.filter = text.trim();
    for (const row of this.rows.values()) row.item.hidden = !this.wanted(row.channel.name);
    this.summarize();
  }

  mark(name: string | undefined): void {
    this.selected?.button.removeAttribute('aria-current');
    this.selected = name === undefined ? undefined : this.rows.get(name);
    this.selected?.button.setAttribute('aria-current', 'true');
  }

  focus(name: string): void {
    this.rows.get(name)?.button.focus();
  }

  /** Everything again: the colours changed. */
  repaint(): void {
    for (const row of this.rows.values()) this.touch(row);
  }

  remove(name: string): void {
    const row = this.rows.get(name);
    if (!row) return;
    this.observer.unobserve(row.item);
    row.item.remove();
    this.rows.delete(name);
    this.changed.delete(row);
    this.summarize();
  }

  refresh(channel: Channel): void {
    const row = this.rows.get(channel.name);
    if (row) this.touch(row);
  }

  private wanted(name: string): boolean {
    if (!this.filter) return true;
    if (/(^|\/)[+#](\/|$)/.test(this.filter)) return matches(this.filter, name);
    return name.toLowerCase().includes(this.filter.toLowerCase());
  }

  private onChange(channel: Channel): void {
    let row = this.rows.get(channel.name);
    if (!row) {
      if (this.rows.size >= MOST) return;
      row = this.add(channel);
      this.summarize();
    }
    this.touch(row);
  }

  private touch(row: Row): void {
    row.dirty = true;
    this.changed.add(row);
    this.frame ||= requestAnimationFrame(() => this.paint());
  }

  private paint(): void {
    this.frame = 0;
    for (const row of this.changed) if (row.visible) this.fill(row);
    this.changed.clear();
  }

  private group(name: string): Group {
    const known = this.groups.get(name);
    if (known) return known;
    const count = el('span', { class: 'quiet' });
    const list = el('ul', { class: 'rows' });
    const node = el('details', { class: 'group', open: true }, el('summary', {}, el('span', { class: 'group-name' }, name || '/'), ' ', count), list);
    const group = { node, list, count };
    const after = [...this.groups].filter(([other]) => other > name).sort(([a], [b]) => (a < b ? -1 : 1))[0];
    this.box.insertBefore(node, after?.[1].node ?? null);
    this.groups.set(name, group);
    return group;
  }

  private add(channel: Channel): Row {
    const levels = channel.name.split('/');
    const leaf = levels.pop()!;
    const button = el('button', { type: 'button', class: 'row' });
    const part = (name: string, ...children: (Node | string)[]): HTMLElement => el('span', { class: name, 'data-field': name }, ...children);
    const value = part('value'), ageCell = part('age'), rateCell = part('rate');
    const canvas = el('canvas', { class: 'spark', 'aria-hidden': 'true' });
    const prefix = levels.slice(1).join('/');
    button.append(
      el('span', { class: 'name', title: channel.name }, ...(prefix ? [el('span', { class: 'quiet' }, prefix + '/')] : []), el('b', {}, leaf)),
      value, canvas, rateCell, ageCell,
    );
    const item = el('li', { 'data-channel': channel.name }, button);
    const row: Row = { channel, item, button, value, age: ageCell, rate: rateCell, canvas, visible: false, dirty: true };
    button.addEventListener('click', () => this.select(channel));
    item.hidden = !this.wanted(channel.name);
    const group = this.group(levels.length ? levels[0] : leaf);
    group.list.insertBefore(item, this.after(group.list, channel.name));
    this.rows.set(channel.name, row);
    this.observer.observe(item);
    return row;
  }

  /** The first row whose name is higher, by halves: names come in any order. */
  private after(list: HTMLUListElement, name: string): Node | null {
    const items = list.children;
    let low = 0, high = items.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((items[middle] as HTMLElement).dataset.channel! < name) low = middle + 1;
      else high = middle;
    }
    return items[low] ?? null;
  }

  private onSeen(entries: IntersectionObserverEntry[]): void {
    for (const entry of entries) {
      const row = this.rows.get((entry.target as HTMLElement).dataset.channel!)!;
      row.visible = entry.isIntersecting;
      if (row.visible && row.dirty) this.touch(row);
    }
  }

  private fill(row: Row): void {
    row.dirty = false;
    const data = row.channel.message!.data;
    const cell = row.value;
    const fields = isObject(data) && !isBinary(data) ? numbers(data).sort(byInterest).slice(0, 3) : [];
    const state = isObject(data) && typeof data.state === 'string' ? data.state : typeof data === 'string' ? data : '';
    const onOff = /^(on|off|online|offline)$/i.test(state);
    cell.className = `value ${data === null ? 'cleared' : ''}`;
    const parts: Node[] = [];
    if (onOff) parts.push(el('span', { class: `pill ${/^on/i.test(state) ? 'on' : ''}` }, state));
    if (fields.length) {
      for (const [path, n] of fields)
        parts.push(el('span', { class: 'pair' }, el('span', { class: 'quiet' }, path.split('.').pop()! + ' '), number(n)));
    } else if (!onOff) {
      parts.push(el('span', { class: 'plain-value' }, short(data)));
    }
    cell.replaceChildren(...parts);
    row.canvas.classList.toggle('none', row.channel.spark.length < 2);
    drawSpark(row.canvas, row.channel.spark);
    this.clock(row);
  }

  private clock(row: Row): void {
    const message = row.channel.message!;
    setText(row.age, age(Date.now() - message.ts));
    setText(row.rate, rate(row.channel.rate()));
  }

  private tick(): void {
    for (const row of this.rows.values()) if (row.visible) this.clock(row);
  }

  private summarize(): void {
    const shown = new Map<string, number>();
    let sum = 0;
    for (const { item, channel } of this.rows.values()) {
      if (item.hidden) continue;
      const [first] = channel.name.split('/');
      shown.set(first, (shown.get(first) || 0) + 1);
      sum++;
    }
    for (const [name, group] of this.groups) {
      group.node.hidden = !shown.has(name);
      setText(group.count, String(shown.get(name) || 0));
    }
    const all = this.rows.size;
    setText(byId('count'), !all ? 'Waiting for channels' : sum === all ? `${all} channel${all === 1 ? '' : 's'}${all >= MOST ? ' (not all: narrow the filter)' : ''}` : `${sum} of ${all} channels`);
    this.showEmpty(sum);
  }

  private showEmpty(shown = 0): void {
    const empty = byId('empty');
    empty.hidden = shown > 0;
    if (shown) return;
    empty.replaceChildren(
      ...(this.rows.size
        ? [el('p', {}, 'No channel matches this filter.')]
        : [el('p', {}, 'No channel has a value yet.'), el('p', { class: 'quiet' }, 'Channels appear as soon as a device publishes on a topic that a route maps, for example:'), el('code', {}, `mosquitto_pub -h ${location.hostname} -t rooms/kitchen/t -m 21.5`)]),
    );
  }

  /** Arrows walk through the rows. */
  private onKey(event: KeyboardEvent): void {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key as 'ArrowUp'];
    const button = (event.target as HTMLElement).closest<HTMLButtonElement>('button.row');
    if (!step || !button) return;
    const buttons = [...this.box.querySelectorAll<HTMLButtonElement>('details[open]:not([hidden]) li:not([hidden]) > button.row')];
    buttons[buttons.indexOf(button) + step]?.focus();
    event.preventDefault();
  }
}
