import { compare } from '../client/names.js';
import type { Message, Sluice } from '../client/index.js';
import { el, pick, say, sleep, SluiceElement } from './element.js';

const POINTS = 5_000;
const AGAIN = 5_000; // ms: after an answer that did not come

/** When, the newest value, and of a window the smallest and the largest one. NaN: something may be missing here. */
type Point = [number, number, number?, number?];

interface Past {
  line?: Point[];
  messages?: Message[];
  /** How long a window is, ms. */
  step?: number;
  /** The windows have every message up to here. */
  cursor?: string;
}

/** `<sluice-chart channel="rooms/kitchen" path="temperature,humidity" span="1h">`: the past, and then live. The past of a
 * span are the gateway's windows (`/series`), without `span` the channel's history. Without `path` the value itself, or
 * the first number in it. */
export class SluiceChart extends SluiceElement {
  static readonly css = `
:host { display: block; min-width: 12em; --s0: var(--sluice-series-0, var(--accent)); --s1: var(--sluice-series-1, #d9730d); --s2: var(--sluice-series-2, #7048c8); --s3: var(--sluice-series-3, #2b8a3e); }
canvas { display: block; width: 100%; height: var(--sluice-chart-height, 10em); }
figcaption { display: flex; flex-wrap: wrap; gap: .1em 1em; font-size: .85em; color: var(--quiet); }
figure { margin: 0; }
i { display: inline-block; width: .8em; height: .25em; margin-right: .4em; vertical-align: middle; }`;
  private canvas!: HTMLCanvasElement;
  private legend!: HTMLElement;
  private points: Message[] = []; // with `span` what came since the windows were asked for, otherwise all
  private found?: string; // the field, without `path`
  private past: Past[] = []; // of each field
  private asked = ''; // what for; '': anew
  private ahead = 0; // ms that this clock is ahead of the gateway's
  private frame = 0;
  private turn?: object; // of asking, while it lasts

  protected build(): void {
    this.canvas = el('canvas', { part: 'canvas', role: 'img' });
    this.legend = el('figcaption', { part: 'legend' });
    this.root.append(el('figure', { class: 'body' }, this.legend, this.canvas));
    new ResizeObserver(() => this.paint()).observe(this.canvas);
  }

  protected joined(client: Sluice, channel: string): void {
    this.leave.push(client.on('gap', (gap) => {
      if (gap.channel !== channel) return;
      this.asked = '';
      this.paint();
    }));
  }

  /** Asks for the past: the windows of each field, or the history. One that may not be read leaves a chart of what comes. */
  private async load(span: number): Promise<void> {
    const turn = (this.turn = {});
    const ask = async (what: string): Promise<any> => {
      const answer = await this.client!['host'].request(`/channels/${encodeURIComponent(this.text('channel'))}/${what}`, {});
      if (answer.status > 428) throw answer;
      return answer.json();
    };
    try {
      const past = await Promise.all(span ? this.fields().map(async (path): Promise<Past> => {
        const field = path && '/' + path.replace(/[~/.]/g, (c) => ({ '~': '~0', '/': '~1' })[c] || '/');
        const { t = [], min, max, last, gaps = [], step, cursor, to } = await ask(`series?from=-${span}ms&field=${encodeURIComponent(field)}`);
        if (to) this.ahead = Date.now() - to;
        const line: Point[] = t.flatMap((time: number, i: number) => {
          let cut = 0;
          while (gaps[0]?.[0] < time) [cut] = gaps.shift();
          const point = [time, last[i], min[i], max[i]];
          return cut && i ? [[cut, NaN], point] : [point]; // no line across it
        });
        if (gaps[0]) line.push([gaps[0][0], NaN]);
        return { line, step, cursor };
      }) : [ask(`history?limit=${POINTS}`)]);
      if (turn !== this.turn) return;
      if (span) this.past = past;
      else {
        const messages: Message[] = past[0].messages || [];
        const newest = messages.at(-1)?.ts ?? 0;
        this.points = [...messages, ...this.points.filter(({ ts }) => ts > newest)];
      }
    } catch {
      await sleep(AGAIN);
      if (turn !== this.turn) return;
      this.asked = '';
    }
    this.turn = undefined;
    this.paint();
  }

  protected reset(): void {
    super.reset();
    this.points = [];
    this.past = [];
    this.asked = '';
    this.turn = this.found = undefined;
  }

  protected take(message: Message): void {
    super.take(message);
    if (this.points.push(message) <= POINTS * 1.2) return;
    this.points.splice(0, this.points.length - POINTS);
    if (this.ms('span')) this.asked = ''; // what goes is in its windows
  }

  private fields(): string[] {
    const named = this.text('path');
    if (named) return named.split(',').map((path) => path.trim());
    const data = (this.message || this.points.at(-1))?.data;
    // The same one for good, although each message may have others.
    if (typeof data === 'object' && data) this.found ??= Object.keys(data).find((key) => typeof pick(data, key) === 'number');
    return [this.found || ''];
  }

  protected paint(): void {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  private draw(): void {
    const { canvas } = this;
    const span = this.ms('span'); // 0: all there is
    const scale = devicePixelRatio;
    const { clientWidth: width, clientHeight: height } = canvas;
    const context = canvas.getContext('2d');
    if (!width || !height || !context) return;
    canvas.width = width * scale; // clears it
    canvas.height = height * scale;
    context.scale(scale, scale);
    const style = getComputedStyle(this);
    const fields = this.fields();
    const asked = span + fields.join();
    if (asked !== this.asked && !this.turn && this.client?.state === 'live' && (this.message || this.text('path'))) {
      if (this.asked) this.past = [];
      this.asked = asked;
      void this.load(span);
    }
    const now = Date.now() - this.ahead;
    const seen = span ? this.points.filter(({ ts }) => ts >= now - span) : this.points;
    const from = span ? now - span : seen[0]?.ts ?? now - 1;
    const to = span ? now : Math.max(seen.at(-1)?.ts ?? now, from + 1);
    const lines = fields.map((path, i) => {
      const { line = [], cursor } = this.past[i] || {};
      const live = seen.filter((message) => !cursor || !(compare(message.cursor, cursor)! < 1));
      return [...line.filter(([ts]) => ts >= from), ...live.map(({ ts, data }) => [ts, pick(data, path)]).filter(([, y]) => typeof y === 'number') as Point[]];
    });
    const known = lines.map((line) => line.filter(([, y]) => y === y));
    const all = known.flat().flatMap(([, ...values]) => values) as number[];
    let [low, high] = all.length ? [Math.min(...all), Math.max(...all)] : [0, 1];
    if (this.hasAttribute('min')) low = +this.text('min');
    if (this.hasAttribute('max')) high = +this.text('max');
    if (high <= low) [low, high] = [low - 1, low + 1];
    context.font = `11px ${style.fontFamily}`;
    context.fillStyle = style.color;
    const levels = [high, (high + low) / 2, low];
    const labels = levels.map((y) => say(+y.toPrecision(4)));
    const left = Math.max(...labels.map((text) => context.measureText(text).width)) + 8;
    const y = (value: number): number => 8 + (1 - (value - low) / (high - low)) * (height - 26);
    const x = (time: number): number => left + ((time - from) / (to - from)) * (width - left - 4);
    const clock = (time: number): string => new Date(time).toLocaleTimeString([], { timeStyle: to - from < 600_000 ? 'medium' : 'short' });
    levels.forEach((value, i) => {
      context.globalAlpha = 0.15;
      context.fillRect(left, y(value), width, 1);
      context.globalAlpha = 0.65;
      context.fillText(labels[i], 2, y(value) + 4);
    });
    if (all.length) {
      context.fillText(clock(from), left, height - 3);
      context.textAlign = 'right';
      context.fillText(clock(to), width - 4, height - 3);
    }
    context.lineWidth = 1.8;
    context.lineJoin = 'round';
    const colours = fields.map((_, i) => style.getPropertyValue(`--s${i % 4}`));
    lines.forEach((line, i) => {
      context.strokeStyle = context.fillStyle = colours[i];
      context.globalAlpha = 0.4;
      const thin = Math.max(1.5, x(this.past[i]?.step || 0) - x(0));
      for (const [time, , min, max] of line) if (max! > min!) context.fillRect(x(time), y(max!), thin, y(min!) - y(max!));
      context.globalAlpha = 1;
      context.beginPath();
      let open = false;
      for (const [time, value] of line) {
        context[open ? 'lineTo' : 'moveTo'](x(time), y(value)); // NaN does nothing
        open = value === value;
      }
      context.stroke();
      const end = known[i].at(-1);
      if (!end) return;
      context.beginPath();
      context.arc(x(end[0]), y(end[1]), 2.5, 0, 7);
      context.fill();
    });
    const parts = known.map((line, i) => `${fields[i] || this.label} ${this.say(line.at(-1)?.[1])}`);
    this.legend.replaceChildren(...parts.map((text, i) => {
      const dot = el('i');
      dot.style.background = colours[i];
      return el('span', {}, dot, text);
    }));
    canvas.setAttribute('aria-label', `${this.label}: ${all.length ? `chart of ${parts.join(', ')}; between ${say(low)} and ${say(high)}` : 'no values yet'}`);
  }
}
