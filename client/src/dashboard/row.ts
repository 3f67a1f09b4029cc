/** One line of the list: a channel's row, or the head of a branch. */
import { el, setText } from './dom';
import { age, byInterest, clock, fields, isBinary, isBlob, isObject, number, rate, short } from './format';
import type { Line } from './outline';
import { drawSpark } from './spark';
import type { Channel } from './store';
import { now } from './time';

const TAIL = 10; // letters of a name that are always shown
const PAIRS = 6; // fields of an object that are tried; as many are seen as fit

/** The end of a name tells channels apart, so what does not fit is left out in the middle. */
export function shortened(label: string): Node[] {
  const cut = label.lastIndexOf('/') + 1;
  const leaf = label.slice(cut);
  const tail = leaf.length > TAIL * 1.5 ? leaf.slice(-TAIL) : '';
  const bold = el('b', { class: 'leaf-name' }, el('span', { class: 'cut' }, leaf.slice(0, leaf.length - tail.length)));
  if (tail) bold.append(el('span', { class: 'tail' }, tail));
  return cut ? [el('span', { class: 'quiet prefix' }, el('bdi', { dir: 'ltr' }, label.slice(0, cut))), bold] : [bold];
}

export class Head {
  readonly item: HTMLLIElement;
  readonly button: HTMLButtonElement;
  private count = el('span', { class: 'quiet count' });
  private label = el('span', { class: 'group-name' });

  constructor(public line: Line, toggle: (line: Line) => void) {
    this.button = el('button', { type: 'button', class: 'head', click: () => toggle(this.line) }, this.label, ' ', this.count);
    this.item = el('li', { class: 'branch' }, this.button);
  }

  show(line: Line): void {
    this.line = line;
    setText(this.label, line.label);
    setText(this.count, String(line.count));
    this.button.setAttribute('aria-expanded', String(!!line.open));
    this.item.classList.toggle('top', line.depth === 0);
    this.item.style.setProperty('--depth', String(line.depth));
  }
}

const WORTH = { stale: 'silent', offline: 'offline', unknown: 'of unknown age' };

/** What is to be said of a value that is not live. */
export const worth = ({ status }: Channel): string =>
  status && status.state !== 'live' ? `${WORTH[status.state]} since ${clock(status.since)}` : '';

/** The same in a word that the row has room for: a tooltip is out of reach on a phone. */
const WORD = { live: '', stale: 'stale', offline: 'offline', unknown: 'age unknown' };

export class Row {
  readonly item: HTMLLIElement;
  readonly button: HTMLButtonElement;
  dirty = true;
  private name = el('span', { class: 'name' });
  private value = el('span', { class: 'value', 'data-field': 'value' });
  private doubt = el('span', { class: 'pill doubt', 'data-field': 'doubt' });
  private ageCell = el('span', { class: 'age', 'data-field': 'age' });
  private rateCell = el('span', { class: 'rate', 'data-field': 'rate' });
  private canvas = el('canvas', { class: 'spark', 'aria-hidden': 'true' });
  private label = '';
  private drawn = '';

  constructor(public line: Line, readonly channel: Channel, select: (channel: Channel) => void) {
    this.button = el('button', { type: 'button', class: 'row', click: () => select(channel) }, this.name, this.value, this.canvas, this.rateCell, this.ageCell);
    this.name.title = channel.name;
    this.item = el('li', { 'data-channel': channel.name, class: 'leafline' }, this.button);
  }

  show(line: Line): void {
    this.line = line;
    if (this.label !== line.label) this.name.replaceChildren(...shortened((this.label = line.label)));
    this.item.classList.toggle('last', !!line.last);
    this.item.style.setProperty('--depth', String(line.depth));
  }

  mark(current: boolean): void {
    if (current) this.button.setAttribute('aria-current', 'true');
    else this.button.removeAttribute('aria-current');
  }

  fill(): void {
    this.dirty = false;
    const { data, cleared } = this.channel.message!;
    const parts = describe(cleared ? undefined : data);
    const text = parts.map(({ className, textContent }) => className + textContent).join('\n');
    if (text !== this.drawn) {
      this.drawn = text;
      this.value.className = `value ${cleared ? 'cleared' : ''}`;
      this.value.replaceChildren(this.doubt, ...parts);
    }
    // A constant has no line worth looking at.
    const { spark } = this.channel;
    const flat = spark.length < 2 || spark.every((one) => one === spark[0]);
    this.canvas.classList.toggle('none', flat);
    if (!flat) drawSpark(this.canvas, spark);
    this.clock();
  }

  clock(): void {
    this.button.title = worth(this.channel);
    this.item.classList.toggle('doubtful', !!this.button.title);
    setText(this.doubt, WORD[this.channel.status?.state ?? 'live']);
    setText(this.ageCell, age(now() - this.channel.message!.ts));
    setText(this.rateCell, rate(this.channel.rate()));
  }
}

const pill = (text: string, on: boolean): HTMLElement => el('span', { class: `pill ${on ? 'on' : ''}` }, text);

function describe(data: unknown): HTMLElement[] {
  if (typeof data === 'boolean') return [pill(String(data), data)];
  const state = isObject(data) && typeof data.state === 'string' ? data.state : typeof data === 'string' ? data : '';
  const onOff = /^(on|off|online|offline)$/i.test(state);
  const parts = onOff ? [pill(state, /^on/i.test(state))] : [];
  const found = isObject(data) && !isBinary(data) && !isBlob(data) ? fields(data).sort(byInterest).slice(0, PAIRS) : [];
  for (const [path, one] of found)
    parts.push(el('span', { class: 'pair' }, el('span', { class: 'quiet' }, path.split('.').pop()! + ' '), typeof one === 'number' ? number(one) : String(one)));
  if (!parts.length) parts.push(el('span', { class: `plain-value ${typeof data === 'number' ? 'figure' : ''}` }, short(data)));
  return parts;
}
