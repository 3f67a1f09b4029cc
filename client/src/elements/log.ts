import type { Message } from '../client/index.js';
import { clamp, el, pick, say, set, SluiceElement } from './element.js';

/** `<sluice-log channel="alarms/#" lines="100">`: the newest messages, the newest on top. */
export class SluiceLog extends SluiceElement {
  static readonly css = `
:host { display: block; }
[role='log'] { max-height: var(--sluice-log-height, 16em); overflow: auto; }
ol { margin: 0; padding: 0; list-style: none; font-variant-numeric: tabular-nums; }
li { display: flex; gap: .8em; padding: .15em 0; border-top: 1px solid var(--line); }
time, b { color: var(--quiet); font-weight: normal; white-space: nowrap; }
b { max-width: 40%; overflow: hidden; text-overflow: ellipsis; direction: rtl; }
span { overflow-wrap: anywhere; }
p { margin: 0; color: var(--quiet); }`;
  private list!: HTMLElement;
  private box!: HTMLElement;
  private empty!: HTMLElement;
  private fresh: Message[] = [];
  private frame = 0;

  protected build(): void {
    this.list = el('ol', { part: 'list' });
    this.box = el('div', { class: 'body', role: 'log', tabindex: '0' }, this.list);
    this.empty = el('p', { part: 'empty' }, 'no messages yet');
    this.root.append(this.empty, this.box);
  }

  protected reset(): void {
    super.reset();
    this.fresh = [];
    this.list.replaceChildren();
  }

  protected take(message: Message): void {
    super.take(message);
    this.fresh.push(message);
    const most = this.most();
    if (this.fresh.length > most * 2) this.fresh.splice(0, this.fresh.length - most); // a hidden page paints nothing
  }

  private most(): number {
    return clamp(1, +this.text('lines') || 50, 1_000);
  }

  /** Once a frame, however many have come. */
  protected paint(): void {
    set(this.box, { 'aria-label': this.label, 'aria-live': this.hasAttribute('announce') ? 'polite' : 'off' });
    this.empty.hidden = !!(this.list.childElementCount || this.fresh.length);
    if (!this.fresh.length || this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      const many = /[+#]/.test(this.text('channel'));
      for (const { channel, data, ts } of this.fresh.splice(0).slice(-this.most())) {
        const time = el('time', { datetime: new Date(ts).toISOString() }, new Date(ts).toLocaleTimeString());
        const name = many ? [el('b', { title: channel }, el('bdi', {}, channel))] : [];
        this.list.prepend(el('li', { part: 'line' }, time, ...name, el('span', {}, say(pick(data, this.text('path'))))));
      }
      while (this.list.childElementCount > this.most()) this.list.lastElementChild!.remove();
      this.empty.hidden = !!this.list.childElementCount;
    });
  }
}
