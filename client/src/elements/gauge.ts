import { clamp, el, set, SluiceElement } from './element.js';

const SVG = 'http://www.w3.org/2000/svg';
const ARC = 'M10 55 A45 45 0 0 1 100 55';
const LENGTH = Math.PI * 45;

const svg = (tag: string, attributes: Record<string, string>): Element => set(document.createElementNS(SVG, tag), attributes);

/** `<sluice-gauge channel="tank" path="level" min="0" max="100" unit="%" label="Tank">` */
export class SluiceGauge extends SluiceElement {
  static readonly css = `
:host { display: inline-block; width: 9em; text-align: center; }
svg { display: block; width: 100%; }
path { fill: none; stroke-width: 10; stroke-linecap: round; }
.rail { stroke: var(--line); } .bar { stroke: var(--accent); }
.value { display: block; margin-top: -1.9em; font-size: 1.35em; font-weight: 600; font-variant-numeric: tabular-nums; }
.label { display: block; color: var(--quiet); font-size: .85em; overflow-wrap: anywhere; }`;
  private meter!: HTMLElement;
  private bar!: Element;
  private shown!: HTMLElement;
  private name!: HTMLElement;

  protected build(): void {
    const picture = svg('svg', { viewBox: '0 0 110 65', 'aria-hidden': 'true' });
    this.bar = svg('path', { class: 'bar', part: 'bar', d: ARC });
    picture.append(svg('path', { class: 'rail', part: 'rail', d: ARC }), this.bar);
    this.shown = el('span', { class: 'value', part: 'value', 'aria-hidden': 'true' });
    this.name = el('span', { class: 'label', part: 'label', 'aria-hidden': 'true' });
    this.meter = el('div', { role: 'meter', class: 'body' }, this.shown, this.name);
    this.meter.prepend(picture);
    this.root.append(this.meter);
  }

  protected paint(): void {
    const min = +(this.text('min') || 0);
    const max = +(this.text('max') || 100);
    const value = typeof this.value === 'number' ? this.value : undefined;
    const part = value === undefined || max <= min ? 0 : clamp(0, (value - min) / (max - min), 1);
    set(this.bar, { 'stroke-dasharray': `${part * LENGTH} ${LENGTH * 2}`, visibility: value === undefined ? 'hidden' : 'visible' });
    const text = this.say(value);
    this.shown.textContent = text;
    this.name.textContent = this.label;
    set(this.meter, { 'aria-label': this.label, 'aria-valuemin': min, 'aria-valuemax': max, 'aria-valuenow': clamp(min, value ?? min, max), 'aria-valuetext': text });
  }
}
