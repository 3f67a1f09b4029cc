import { el, literal, same, set, SluiceElement } from './element.js';

/** `<sluice-switch channel="devices/lamp" path="state" label="Lamp">`: publishes on `channel`, or on `to`.
 *
 * What on and off are is taken from the attributes `on` and `off` (JSON or text), or else from what the device says:
 * true and false, 1 and 0, "ON" and "OFF". With `path` an object is published, {"state":"ON"}; `bare` publishes the
 * value alone. */
export class SluiceSwitch extends SluiceElement {
  static readonly css = `
button { font: inherit; color: inherit; display: inline-flex; align-items: center; gap: .6em; min-height: 2.75em; padding: 0 .3em; border: 0; background: none; cursor: pointer; }
button:disabled { cursor: not-allowed; opacity: .6; }
.track { box-sizing: border-box; width: 2.9em; height: 1.6em; padding: .2em; border-radius: 1em; background: var(--line); border: 1px solid var(--quiet); }
.knob { display: block; width: 1.1em; height: 1.1em; border-radius: 50%; background: var(--sluice-knob, #fff); box-shadow: 0 0 0 1px var(--quiet); }
[aria-checked='true'] .track { background: var(--accent); }
[aria-checked='true'] .knob { transform: translateX(1.3em); }
[aria-checked='mixed'] .knob { transform: translateX(.65em); }
@media (prefers-reduced-motion: no-preference) { .knob { transition: transform .15s; } }`;
  private button!: HTMLButtonElement;
  private name!: HTMLElement;

  protected build(): void {
    this.name = el('span', { part: 'label' });
    this.button = el('button', { type: 'button', role: 'switch', class: 'body', part: 'button' },
      el('span', { class: 'track', part: 'track' }, el('span', { class: 'knob', part: 'knob' })), this.name);
    this.button.addEventListener('click', () => void this.turn());
    this.root.append(this.button);
  }

  private words(): [unknown, unknown] {
    const { value } = this;
    const [on, off] = [this.getAttribute('on'), this.getAttribute('off')];
    let pair: [unknown, unknown] = [true, false];
    if (typeof value === 'number') pair = [1, 0];
    else if (typeof value === 'string') {
      const like = [['ON', 'OFF'], ['on', 'off'], ['On', 'Off'], ['true', 'false'], ['1', '0'], ['open', 'close'], ['OPEN', 'CLOSE']];
      pair = (like.find((words) => words.includes(value)) || like[0]) as [string, string];
    }
    return [on === null ? pair[0] : literal(on), off === null ? pair[1] : literal(off)];
  }

  /** undefined: the device says neither, or nothing. */
  private get reported(): boolean | undefined {
    const [on, off] = this.words();
    return same(this.value, on) ? true : same(this.value, off) ? false : undefined;
  }

  private async turn(): Promise<void> {
    const wish = !(this.wish ?? this.reported);
    await this.command(wish, this.words()[wish ? 0 : 1], () => this.reported === wish);
  }

  protected paint(): void {
    const on = this.commanding ? this.wish : this.reported;
    set(this.button, { 'aria-checked': on ?? 'mixed', 'aria-busy': this.state === 'pending' });
    this.button.disabled = this.locked;
    this.name.textContent = this.label;
  }
}
