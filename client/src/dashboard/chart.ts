/** Charts over time of the numbers of one channel, by uPlot: one for each field, since their scales are their own; their
 * cursors and the times they show go together. Messages one by one where all that is there is shown; over a span or zoomed
 * in, the gateway's windows: a line of means in a band from the smallest to the largest, so that no peak is lost. */
import uPlot from 'uplot';
import type { Message } from '../client/index';
import { el } from './dom';
import { clock, type Json, number, numbers } from './format';
import { now } from './time';
import { pointers, Windows } from './windows';

const POINTS = 5000; // kept
const SPANS: [string, number][] = [['5 min', 300], ['1 h', 3600], ['24 h', 86400], ['7 d', 604800], ['All', 0]];
const FRESH = 15_000; // ms: a span that goes on is asked for again after this, or a part of itself
const AGAIN = 5_000; // ms: after an answer that did not come
const HEIGHT = { one: 200, several: 150 };

export class Chart {
  readonly element = el('div', { class: 'charts' });
  private box = el('div');
  private plots = new Map<string, uPlot>();
  private times: number[] = [];
  private rows: Map<string, number>[] = [];
  private frame = 0;
  private span = 0;
  private zoom?: [number, number];
  private reset = el('button', { type: 'button', class: 'plain small', hidden: true, click: () => this.setZoom(undefined) }, 'Reset zoom');
  private sizes = new ResizeObserver(() => this.resize());
  private sync: string;
  private pointers = new Map<string, string>();
  private windows = new Map<string, Windows>(); // by field; those without have none, and are drawn by their messages
  private asked = 0;
  private askedAt = 0; // ms
  private again?: ReturnType<typeof setTimeout>;
  private old = el('p', { class: 'quiet', role: 'status', hidden: true }, 'Out of date: the gateway does not answer. Trying again.');
  private meanwhile?: Message[]; // came since the gateway was asked: its answer need not have them

  constructor(readonly fields: Set<string>, private name: string) {
    this.sync = 'sluice ' + name;
    const spans = el('div', { class: 'spans', role: 'group', 'aria-label': 'Time shown' }, ...SPANS.map(([label, seconds]) =>
      el('button', { type: 'button', class: 'plain small', 'aria-pressed': String(seconds === this.span), 'data-span': String(seconds), click: () => this.setSpan(seconds) }, label)), this.reset);
    this.element.append(spans, this.old, this.box);
    this.sizes.observe(this.box);
  }

  load(messages: Message[]): void {
    const newest = this.times[this.times.length - 1] ?? 0;
    const later = this.times.map((time, i) => [time, this.rows[i]] as const);
    this.times = [];
    this.rows = [];
    for (const message of messages) this.push(message);
    // What came live while the history was on its way and is not in it.
    const last = this.times[this.times.length - 1] ?? 0;
    if (newest > last)
      for (const [time, row] of later) if (time > last) (this.times.push(time), this.rows.push(row));
    this.draw();
  }

  add(message: Message): void {
    this.push(message);
    this.addToWindows(message);
    if (this.meanwhile && this.meanwhile.length < POINTS) this.meanwhile.push(message);
    if (this.windows.size && !this.zoom && Date.now() - this.askedAt > Math.max(FRESH, this.span * 20)) void this.ask();
    this.draw();
  }

  private addToWindows(message: Message, fields = [...this.windows.keys()]): void {
    if (!this.windows.size || this.zoom) return;
    const found = new Map(numbers(message.data));
    for (const field of fields) if (found.has(field)) this.windows.get(field)?.add(message, found.get(field)!);
  }

  /** The windows of what is shown, if it is a span or zoomed in. */
  private async ask(): Promise<void> {
    const asked = ++this.asked;
    this.askedAt = Date.now();
    this.meanwhile = undefined;
    clearTimeout(this.again);
    if (!this.span && !this.zoom) {
      this.old.hidden = true;
      this.windows.clear();
      return this.rebuild();
    }
    const meanwhile: Message[] = (this.meanwhile = []);
    const [from, to] = this.zoom ? [this.zoom[0] * 1000, this.zoom[1] * 1000] : [now() - this.span * 1000, undefined];
    const points = Math.max(50, Math.min(1000, Math.round(this.box.clientWidth / 2)));
    const answers = await Promise.all([...this.fields].map(async (field) =>
      [field, this.pointers.has(field) ? await Windows.load(this.name, this.pointers.get(field)!, from, to, points) : undefined] as const));
    if (asked !== this.asked) return; // something else is shown by now
    const before = this.windows.size, fresh = answers.filter(([, windows]) => windows).map(([field]) => field);
    // What did not come leaves what is there: it is out of date, and asked for again.
    for (const [field, windows] of answers) if (windows) this.windows.set(field, windows);
    this.meanwhile = undefined;
    for (const message of meanwhile) this.addToWindows(message, fresh);
    const same = before === this.windows.size;
    this.old.hidden = answers.every(([field, windows]) => windows || !this.pointers.has(field));
    if (!this.old.hidden) this.again = setTimeout(() => void this.ask(), AGAIN);
    this.element.dataset.windows = String(this.windows.size);
    if (same) this.draw();
    else this.rebuild();
  }

  toggle(field: string): void {
    if (!this.fields.delete(field)) this.fields.add(field);
    this.windows.delete(field);
    this.rebuild();
    if (this.span || this.zoom) void this.ask();
  }

  /** New colours or fields: uPlot takes them at birth only. */
  rebuild(): void {
    for (const plot of this.plots.values()) plot.destroy();
    this.plots.clear();
    this.draw();
  }

  destroy(): void {
    cancelAnimationFrame(this.frame);
    clearTimeout(this.again);
    this.asked++;
    this.sizes.disconnect();
    for (const plot of this.plots.values()) plot.destroy();
  }

  private setSpan(seconds: number): void {
    this.span = seconds;
    for (const button of this.element.querySelectorAll<HTMLElement>('[data-span]')) button.setAttribute('aria-pressed', String(button.dataset.span === String(seconds)));
    this.setZoom(undefined);
  }

  private setZoom(zoom: [number, number] | undefined): void {
    this.zoom = zoom;
    this.reset.hidden = !zoom;
    this.draw();
    void this.ask();
  }

  private push(message: Message): void {
    const found = numbers(message.data);
    if (!found.length) return;
    for (const [path, pointer] of pointers(message.data as Json)) this.pointers.set(path, pointer);
    this.times.push(message.ts / 1000);
    this.rows.push(new Map(found));
    if (this.times.length > POINTS) {
      this.times.shift();
      this.rows.shift();
    }
  }

  private draw(): void {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.paint();
    });
  }

  /** What is shown of the time: where one has zoomed in, the last minutes, or all there is. */
  private range(): [number, number] {
    if (this.zoom) return this.zoom;
    if (this.windows.size) return [now() / 1000 - this.span, now() / 1000];
    const first = this.times[0], last = this.times[this.times.length - 1];
    return this.span ? [Math.max(first, last - this.span), last] : [first, last];
  }

  private paint(): void {
    const fields = [...this.fields];
    this.element.hidden = !fields.length || (this.times.length < 2 && !this.windows.size);
    if (this.element.hidden || !this.box.clientWidth) return;
    const [min, max] = this.range();
    fields.forEach((field, i) => {
      const windows = this.windows.get(field);
      const data = (windows ? [windows.times, windows.mean, windows.max, windows.min] : [this.times, this.rows.map((row) => row.get(field) ?? null)]) as uPlot.AlignedData;
      let plot = this.plots.get(field);
      if (!plot) this.plots.set(field, (plot = new uPlot(this.settings(field, i, fields.length), data, this.box)));
      else plot.setData(data, false);
      plot.setScale('x', { min, max });
      this.showLast(plot);
    });
  }

  /** Without a pointer over it the legend says what is now. */
  private showLast(plot: uPlot): void {
    if ((plot.cursor.left ?? -1) < 0) plot.setLegend({ idx: plot.data[0].length - 1 });
  }

  private settings(field: string, i: number, all: number): uPlot.Options {
    const style = getComputedStyle(this.element);
    const colour = (name: string): string => style.getPropertyValue(name).trim();
    const axis = { stroke: colour('--quiet'), grid: { stroke: colour('--line'), width: 1 }, ticks: { stroke: colour('--line'), width: 1 }, font: '12px system-ui, sans-serif' };
    const stroke = colour(`--series-${i % 6}`), windows = this.windows.has(field);
    const value = (_: uPlot, one: number | null): string => (typeof one === 'number' ? number(one) : '');
    const edge = (label: string): uPlot.Series => ({ label, stroke: stroke + '66', width: 1, value, points: { show: false } });
    return {
      width: this.box.clientWidth,
      height: all > 1 ? HEIGHT.several : HEIGHT.one,
      series: [
        { label: 'Time', value: (_, time) => (time === null || time === undefined ? '' : clock(time * 1000)) },
        { label: field || 'value', stroke, width: 2, spanGaps: !windows, value, points: { show: this.times.length < 40, size: 5, fill: stroke } },
        ...(windows ? [edge('max'), edge('min')] : []),
      ],
      ...(windows ? { bands: [{ series: [2, 3] as [number, number], fill: stroke + '26' }] } : {}),
      scales: { x: { auto: false }, y: { range: (_, low, high) => around(low, high) } },
      axes: [
        { ...axis, space: 70, values: (_, times) => times.map((time) => clock(time * 1000).slice(-8)) },
        { ...axis, size: 52, values: (_, ticks) => ticks.map(number) },
      ],
      legend: { live: true },
      cursor: { y: false, sync: { key: this.sync }, drag: { x: true, y: false, setScale: false } },
      hooks: {
        setCursor: [(plot) => queueMicrotask(() => this.plots.get(field) === plot && this.showLast(plot))],
        setSelect: [(plot) => {
          const { left, width } = plot.select;
          if (width < 3) return;
          this.setZoom([plot.posToVal(left, 'x'), plot.posToVal(left + width, 'x')]);
          plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
        }],
      },
    };
  }

  private resize(): void {
    const width = this.box.clientWidth;
    if (!width) return;
    if (!this.plots.size) this.draw();
    for (const plot of this.plots.values()) if (width !== plot.width) plot.setSize({ width, height: plot.height });
  }
}

/** The values with some air; a constant in the middle of a span that suits it. */
function around(low: number, high: number): [number, number] {
  if (low === null || high === null || !Number.isFinite(low) || !Number.isFinite(high)) return [0, 1];
  const air = (high - low) * 0.08 || Math.abs(low) * 0.05 || 1;
  return [low - air, high + air];
}
