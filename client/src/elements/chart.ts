import { duration } from '../client/names.js';
import type { Message, Sluice } from '../client/index.js';
import { el, pick, say, SluiceElement } from './element.js';

const POINTS = 5_000;
const COLOURS = ['--sluice-series-0', '--sluice-series-1', '--sluice-series-2', '--sluice-series-3'];
const DEFAULTS = ['#0b7285', '#d9730d', '#7048c8', '#2b8a3e'];

/** `<sluice-chart channel="rooms/kitchen" path="temperature,humidity" span="1h">`: the channel's history, and then live.
 * Without `path` the value itself, or the first number in it. */
export class SluiceChart extends SluiceElement {
  static readonly css = `
:host { display: block; min-width: 12em; }
canvas { display: block; width: 100%; height: var(--sluice-chart-height, 10em); }
figcaption { display: flex; flex-wrap: wrap; gap: .1em 1em; font-size: .85em; color: var(--quiet); }
figure { margin: 0; }
i { display: inline-block; width: .8em; height: .25em; margin-right: .4em; vertical-align: middle; }`;
  private canvas!: HTMLCanvasElement;
  private legend!: HTMLElement;
  private points: Message[] = [];
  private frame = 0;
  private round = 0;
  private sizes?: ResizeObserver;

  protected build(): void {
    this.canvas = el('canvas', { part: 'canvas', role: 'img' });
    this.legend = el('figcaption', { part: 'legend' });
    this.root.append(el('figure', { class: 'body' }, this.legend, this.canvas));
  }

  connectedCallback(): void {
    super.connectedCallback();
    this.sizes = new ResizeObserver(() => this.paint());
    this.sizes.observe(this.canvas);
  }

  disconnectedCallback(): void {
    super.disconnectedCallback();
    this.sizes?.disconnect();
    cancelAnimationFrame(this.frame);
    this.frame = 0;
  }

  protected joined(client: Sluice, channel: string): void {
    const round = ++this.round;
    client.history(channel, { limit: POINTS }).then((past) => {
      if (round !== this.round) return;
      const newest = past[past.length - 1]?.ts ?? 0;
      this.points = [...past, ...this.points.filter(({ ts }) => ts > newest)];
      this.paint();
    }, () => {}); // a history that one may not read leaves a chart of what comes
  }

  protected reset(): void {
    super.reset();
    this.points = [];
    this.round++;
  }

  protected take(message: Message): void {
    super.take(message);
    if (this.points.push(message) > POINTS * 1.2) this.points.splice(0, this.points.length - POINTS);
  }

  private fields(): string[] {
    const named = this.text('path');
    if (named) return named.split(',').map((path) => path.trim());
    const data = this.message?.data ?? this.points[this.points.length - 1]?.data;
    if (typeof data !== 'object' || data === null) return [''];
    const first = Object.entries(data).find(([, value]) => typeof value === 'number');
    return [first ? first[0] : ''];
  }

  protected paint(): void {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  private draw(): void {
    const { canvas } = this;
    const scale = globalThis.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const context = canvas.getContext('2d');
    if (!width || !height || !context) return;
    if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
    if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    const style = getComputedStyle(this);
    let span = 0;
    try {
      span = duration(this.text('span') || undefined);
    } catch {
      // As without.
    }
    const now = Date.now();
    const seen = span ? this.points.filter(({ ts }) => ts >= now - span) : this.points;
    const from = span ? now - span : seen[0]?.ts ?? now - 1;
    const to = span ? now : Math.max(seen[seen.length - 1]?.ts ?? now, from + 1);
    const fields = this.fields();
    const lines = fields.map((path) => seen.map(({ ts, data }) => [ts, pick(data, path)]).filter(([, y]) => typeof y === 'number') as [number, number][]);
    const all = lines.flatMap((line) => line.map(([, y]) => y));
    let [low, high] = [Math.min(...all), Math.max(...all)];
    if (!all.length) [low, high] = [0, 1];
    if (this.hasAttribute('min')) low = +this.text('min');
    if (this.hasAttribute('max')) high = +this.text('max');
    if (high <= low) [low, high] = [low - 1, low + 1];
    const ink = style.color;
    context.font = `11px ${style.fontFamily}`;
    context.fillStyle = context.strokeStyle = ink;
    const labels = [high, (high + low) / 2, low].map((y) => say(+y.toPrecision(4)));
    const left = Math.max(...labels.map((text) => context.measureText(text).width)) + 8;
    const y = (value: number): number => 8 + (1 - (value - low) / (high - low)) * (height - 26);
    const x = (time: number): number => left + ((time - from) / (to - from)) * (width - left - 4);
    context.globalAlpha = 0.65;
    [high, (high + low) / 2, low].forEach((value, i) => context.fillText(labels[i], 2, y(value) + 4));
    const clock = (time: number): string => new Date(time).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', ...(to - from < 600_000 && { second: '2-digit' }) });
    if (all.length) {
      context.fillText(clock(from), left, height - 3);
      context.fillText(clock(to), width - 4 - context.measureText(clock(to)).width, height - 3);
    }
    context.globalAlpha = 0.15;
    context.beginPath();
    for (const value of [high, (high + low) / 2, low]) {
      context.moveTo(left, y(value));
      context.lineTo(width, y(value));
    }
    context.stroke();
    context.globalAlpha = 1;
    context.lineWidth = 1.8;
    context.lineJoin = 'round';
    const colours = fields.map((_, i) => style.getPropertyValue(COLOURS[i % 4]).trim() || (i ? '' : style.getPropertyValue('--sluice-accent').trim()) || DEFAULTS[i % 4]);
    lines.forEach((line, i) => {
      context.strokeStyle = context.fillStyle = colours[i];
      context.beginPath();
      for (const [time, value] of line) context.lineTo(x(time), y(value));
      context.stroke();
      const end = line[line.length - 1];
      if (!end) return;
      context.beginPath();
      context.arc(x(end[0]), y(end[1]), 2.5, 0, 7);
      context.fill();
    });
    const unit = this.text('unit') && ` ${this.text('unit')}`;
    const parts = lines.map((line, i) => `${fields[i] || this.label} ${say(line[line.length - 1]?.[1], this.getAttribute('digits'))}${line.length ? unit : ''}`);
    this.legend.replaceChildren(...parts.map((text, i) => {
      const dot = el('i');
      dot.style.background = colours[i];
      return el('span', {}, dot, text);
    }));
    canvas.setAttribute('aria-label', `${this.label}: ${all.length ? `chart of ${parts.join(', ')}; between ${say(low)} and ${say(high)}` : 'no values yet'}`);
  }
}
