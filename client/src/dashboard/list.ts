/** The list of channels. Only the lines on the screen are in the page, and they are filled at most once a frame: a hundred
 * thousand channels and hundreds of messages a second leave it calm. */
import { byId } from './dom';
import { type Line, Outline, type Sort, type View } from './outline';
import { Head, Row } from './row';
import type { Channel, Store } from './store';

const SPARE = 8; // lines above and below the screen
const RESORT = 2000; // ms between orders by what changes
const CALM = 20; // building the lines anew may take one part in so many of the time

export class List {
  private outline = new Outline();
  private lines: Line[] = [];
  private tops = new Float64Array(1); // where lines begin, and the end
  private shown = new Map<string, Row | Head>();
  private byName = new Map<string, Row[]>();
  private frame = 0;
  private stale = false;
  private built = 0;
  private cost = 0;
  private sortedAt = 0;
  private selected?: string;
  private active?: string; // the line that has the focus, or had it last
  private height = { row: 44, branch: 44, top: 50 };
  private box = byId('groups');

  /** onSeen: these channels are on the screen. */
  constructor(
    store: Store, private select: (channel: Channel) => void, private onSeen: (channels: Channel[]) => void, private onCount: (shown: number, all: number) => void,
  ) {
    store.onChange((channel, isNew) => this.onChange(channel, isNew));
    setInterval(() => this.tick(), 1000);
    this.box.addEventListener('keydown', (event) => this.onKey(event));
    this.box.addEventListener('focusin', (event) => (this.active = this.keyOf(event.target as HTMLElement)));
    addEventListener('scroll', () => this.soon(), { passive: true });
    addEventListener('resize', () => this.soon());
    new ResizeObserver(() => this.measure()).observe(this.box.parentElement!); // and once at first
  }

  setFilter(text: string): void {
    this.outline.setFilter(text);
    this.rebuild();
  }

  arrange(view: View, sort: Sort, pins: string[]): void {
    Object.assign(this.outline, { view, sort, pins });
    this.rebuild();
  }

  mark(name: string | undefined): void {
    for (const row of this.byName.get(this.selected ?? '') ?? []) row.mark(false);
    this.selected = name;
    for (const row of this.byName.get(name ?? '') ?? []) row.mark(true);
  }

  focus(name: string): void {
    this.go(Math.max(this.find('r:' + name), this.find('p:' + name)));
  }

  focusFirst(): void {
    this.go(this.lines.findIndex((line) => line.channel));
  }

  /** Everything again: the colours or the sizes changed. */
  repaint(): void {
    for (const one of this.shown.values()) if (one instanceof Row) one.dirty = true;
    this.measure();
  }

  remove(name: string): void {
    this.outline.remove(name);
    this.outdate();
  }

  refresh(channel: Channel): void {
    for (const row of this.byName.get(channel.name) ?? []) {
      row.dirty = true;
      this.soon();
    }
  }

  private onChange(channel: Channel, isNew: boolean): void {
    if (isNew) {
      this.outline.add(channel);
      this.outdate();
    } else {
      this.refresh(channel);
    }
  }

  private outdate(): void {
    this.stale = true;
    this.soon();
  }

  private soon(): void {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      // While thousands of channels come in, the page has other things to do as well.
      if (this.stale && performance.now() - this.built > this.cost * CALM) this.rebuild();
      else this.paint();
      if (this.stale) this.soon();
    });
  }

  private rebuild(): void {
    const start = performance.now();
    this.stale = false;
    this.lines = this.outline.lines();
    const { lines, height } = this;
    const tops = (this.tops = new Float64Array(lines.length + 1));
    for (let i = 0; i < lines.length; i++) {
      const { channel, depth } = lines[i];
      tops[i + 1] = tops[i] + (channel ? height.row : depth ? height.branch : height.top);
    }
    this.paint();
    this.built = performance.now();
    this.cost = this.built - start;
    this.onCount(this.outline.root.shown, this.outline.root.all);
  }

  /** The style says how high lines are: by width, pointer and density. */
  private measure(): void {
    const probe = byId('probe');
    const [row, branch, top] = [...probe.children].map((child) => (child as HTMLElement).getBoundingClientRect().height);
    if (row) this.height = { row, branch, top };
    this.rebuild();
  }

  private at(y: number): number {
    let low = 0, high = this.lines.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.tops[middle + 1] <= y) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private paint(): void {
    const above = -this.box.getBoundingClientRect().top;
    const count = this.lines.length;
    const first = Math.max(0, this.at(above) - SPARE);
    const end = Math.min(count, this.at(above + innerHeight) + 1 + SPARE);
    this.place(first, end);
    for (const one of this.shown.values()) if (one instanceof Row && one.dirty) one.fill();
  }

  private place(first: number, end: number): void {
    const { box, lines, shown } = this;
    const wanted = new Map<string, Line>();
    for (let i = first; i < end; i++) wanted.set(lines[i].key, lines[i]);
    const focused = this.keyOf(document.activeElement);
    for (const [key, one] of shown) {
      const line = wanted.get(key);
      if (line && (one instanceof Head || one.channel === line.channel)) continue;
      one.item.remove();
      shown.delete(key);
      if (one instanceof Row) this.forget(one);
    }
    box.style.paddingTop = `${this.tops[first] ?? 0}px`;
    box.style.paddingBottom = `${this.tops[lines.length] - (this.tops[end] ?? 0)}px`;
    let next = box.firstElementChild;
    const fresh: Channel[] = [];
    for (let i = first; i < end; i++) {
      const line = lines[i];
      let one = shown.get(line.key);
      if (!one) {
        one = this.make(line);
        if (line.channel && !line.channel.filled) fresh.push(line.channel);
      }
      if (one.line !== line) one.show(line);
      one.item.setAttribute('aria-posinset', String(i + 1));
      one.item.setAttribute('aria-setsize', String(lines.length));
      if (one.item === next) next = next.nextElementSibling;
      else box.insertBefore(one.item, next);
    }
    // A line that was moved or scrolled away loses the focus; the keys go on from there.
    if (focused && !this.keyOf(document.activeElement)) (shown.get(focused)?.button ?? byId('list')).focus({ preventScroll: true });
    if (fresh.length) this.onSeen(fresh);
  }

  private make(line: Line): Row | Head {
    const one = line.channel ? new Row(line, line.channel, this.select) : new Head(line, (of) => this.toggle(of));
    one.show(line);
    one.item.dataset.key = line.key;
    this.shown.set(line.key, one);
    if (one instanceof Row) {
      const name = one.channel.name;
      this.byName.set(name, [...(this.byName.get(name) ?? []), one]);
      if (name === this.selected) one.mark(true);
    }
    return one;
  }

  private forget(row: Row): void {
    const rest = this.byName.get(row.channel.name)!.filter((other) => other !== row);
    if (rest.length) this.byName.set(row.channel.name, rest);
    else this.byName.delete(row.channel.name);
  }

  private toggle(line: Line, open?: boolean): void {
    this.outline.toggle(line, open);
    this.rebuild();
  }

  private tick(): void {
    const now = performance.now();
    if (this.outline.sort !== 'name' && now - this.sortedAt > Math.max(RESORT, this.cost * 20)) {
      this.sortedAt = now;
      this.rebuild();
    }
    for (const one of this.shown.values()) if (one instanceof Row) one.clock();
    this.soon(); // something above may have moved the list
  }

  private keyOf(element: Element | null): string | undefined {
    const item = element?.closest<HTMLElement>('li[data-key]');
    return item && this.box.contains(item) ? item.dataset.key : undefined;
  }

  private find(key: string | undefined): number {
    return this.lines.findIndex((line) => line.key === key);
  }

  /** Puts the focus on line i, wherever it is. */
  private go(i: number): void {
    const line = this.lines[i];
    if (!line) return;
    const height = this.tops[i + 1] - this.tops[i];
    const top = this.box.getBoundingClientRect().top + this.tops[i];
    const bar = byId('bar').offsetHeight;
    if (top < bar) scrollBy(0, top - bar - height);
    else if (top + height > innerHeight) scrollBy(0, top + 2 * height - innerHeight);
    this.paint();
    this.shown.get(line.key)?.button.focus({ preventScroll: true });
  }

  /** Arrows walk through the lines; left and right close and open branches, as in any tree. */
  onKey(event: KeyboardEvent): void {
    const i = this.find(this.active);
    if (i < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const line = this.lines[i];
    const page = Math.max(1, Math.floor(innerHeight / this.height.row) - 3);
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity }[event.key];
    if (step) this.go(Math.min(this.lines.length - 1, Math.max(0, i + step)));
    else if (event.key === 'ArrowRight' && line.open === false) this.toggle(line, true);
    else if (event.key === 'ArrowLeft' && line.open) this.toggle(line, false);
    else if (event.key === 'ArrowLeft') {
      for (let up = i - 1; up >= 0; up--)
        if (!this.lines[up].channel && (this.lines[up].depth < line.depth || line.channel)) {
          this.go(up);
          break;
        }
    } else return;
    event.preventDefault();
  }
}
