/** A chart over time of some numbers of one channel, by uPlot. */
import uPlot from 'uplot';
import type { Message } from '../client/index';
import { numbers } from './format';

const POINTS = 2000; // kept

export class Chart {
  readonly element = document.createElement('div');
  private plot?: uPlot;
  private times: number[] = [];
  private rows: Map<string, number>[] = [];
  private frame = 0;
  private sizes = new ResizeObserver(() => this.resize());

  constructor(readonly fields: Set<string>) {
    this.element.className = 'chart';
    this.sizes.observe(this.element);
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
    this.draw();
  }

  toggle(field: string): void {
    if (!this.fields.delete(field)) this.fields.add(field);
    this.rebuild();
  }

  /** New colours or fields: uPlot takes them at birth only. */
  rebuild(): void {
    this.plot?.destroy();
    this.plot = undefined;
    this.draw();
  }

  destroy(): void {
    cancelAnimationFrame(this.frame);
    this.sizes.disconnect();
    this.plot?.destroy();
  }

  private push(message: Message): void {
    const found = numbers(message.data);
    if (!found.length) return;
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

  private paint(): void {
    const fields = [...this.fields];
    this.element.hidden = !fields.length || this.times.length < 2;
    if (this.element.hidden || !this.element.clientWidth) return;
    const data = [this.times, ...fields.map((field) => this.rows.map((row) => row.get(field) ?? null))] as uPlot.AlignedData;
    if (!this.plot) this.plot = new uPlot(this.settings(fields), data, this.element);
    else this.plot.setData(data);
    this.showLast();
  }

  /** Without a pointer over it the legend says what is now. */
  private showLast(): void {
    if (this.plot && (this.plot.cursor.left ?? -1) < 0) this.plot.setLegend({ idx: this.times.length - 1 });
  }

  private settings(fields: string[]): uPlot.Options {
    const style = getComputedStyle(this.element);
    const colour = (name: string): string => style.getPropertyValue(name).trim();
    const axis = { stroke: colour('--quiet'), grid: { stroke: colour('--line'), width: 1 }, ticks: { stroke: colour('--line'), width: 1 }, font: '12px system-ui, sans-serif' };
    return {
      width: this.element.clientWidth,
      height: 220,
      series: [
        { value: '{HH}:{mm}:{ss}' },
        ...fields.map((field, i) => {
          const stroke = colour(`--series-${i % 6}`);
          return { label: field || 'value', stroke, width: 2, spanGaps: true, points: { show: this.times.length < 40, size: 5, fill: stroke } };
        }),
      ],
      axes: [{ ...axis, space: 70, values: '{HH}:{mm}:{ss}' as unknown as uPlot.Axis.Values }, { ...axis, size: 52 }],
      legend: { live: true },
      cursor: { y: false },
      hooks: { setCursor: [() => queueMicrotask(() => this.showLast())] },
    };
  }

  private resize(): void {
    const width = this.element.clientWidth;
    if (this.plot && width && width !== this.plot.width) this.plot.setSize({ width, height: 220 });
    else if (!this.plot) this.draw();
  }
}
