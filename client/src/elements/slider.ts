import { el, set, SluiceElement } from './element.js';

/** `<sluice-slider channel="devices/lamp" path="brightness" min="0" max="254" label="Brightness">`: publishes when it is
 * let go, as the switch does. */
export class SluiceSlider extends SluiceElement {
  static readonly css = `
:host { display: inline-block; min-width: 12em; }
.body { display: grid; grid-template-columns: 1fr auto; gap: .1em .8em; align-items: center; }
input { grid-column: 1 / 3; width: 100%; min-height: 2em; margin: 0; accent-color: var(--accent); cursor: pointer; }
input:disabled { cursor: not-allowed; }
.value { font-variant-numeric: tabular-nums; }`;
  private input!: HTMLInputElement;
  private name!: HTMLElement;
  private output!: HTMLElement;
  private held = false; // a person moves it: what comes meanwhile does not

  protected build(): void {
    this.name = el('span', { part: 'label', 'aria-hidden': 'true' });
    this.output = el('span', { class: 'value', part: 'value', 'aria-hidden': 'true' });
    this.input = el('input', { type: 'range', part: 'slider' });
    this.input.addEventListener('input', () => {
      this.held = true;
      this.paint();
    });
    this.input.addEventListener('change', () => void this.send());
    this.root.append(el('div', { class: 'body' }, this.name, this.output, this.input));
  }

  private async send(): Promise<void> {
    this.held = false;
    const wish = this.input.valueAsNumber;
    await this.command(wish, wish, () => this.value === wish);
  }

  protected reset(): void {
    super.reset();
    this.held = false;
  }

  protected paint(): void {
    const { input } = this;
    for (const name of ['min', 'max', 'step'] as const) {
      const now = this.text(name) || { min: '0', max: '100', step: '1' }[name];
      if (input[name] !== now) input[name] = now;
    }
    input.disabled = this.locked;
    const value = this.commanding && this.wish !== undefined ? this.wish : this.value;
    if (!this.held && typeof value === 'number') input.value = String(value);
    const shown = this.held ? input.valueAsNumber : typeof value === 'number' ? value : undefined;
    const text = this.say(shown);
    this.output.textContent = text;
    this.name.textContent = this.label;
    set(input, { 'aria-label': this.label, 'aria-valuetext': text, 'aria-busy': this.state === 'pending' });
  }
}
