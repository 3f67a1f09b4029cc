import { el, say, SluiceElement } from './element.js';

/** `<sluice-value channel="rooms/kitchen/t" path="temperature" unit="°C" digits="1" max-age="5m">` */
export class SluiceValue extends SluiceElement {
  static readonly css = `
.unit { margin-left: .2em; color: var(--quiet); }
.value { font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }`;
  private shown!: HTMLElement;
  private unit!: HTMLElement;

  protected build(): void {
    this.shown = el('span', { class: 'value', part: 'value' });
    this.unit = el('span', { class: 'unit', part: 'unit' });
    this.root.append(el('span', { class: 'body' }, this.shown, this.unit));
  }

  protected paint(): void {
    this.shown.textContent = say(this.value, this.text('digits'));
    this.unit.textContent = this.value === undefined || this.value === null ? '' : this.text('unit');
  }
}
