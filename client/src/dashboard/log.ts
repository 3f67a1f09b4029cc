/** Messages as they come, newest first. It can be stopped for reading; what comes meanwhile is counted and then shown. */
import type { Message } from '../client/index';
import { el, setText } from './dom';
import { clock, isBinary, short } from './format';

const KEPT = 200; // lines
const PACE = 250; // ms between paints

export class Log {
  readonly element = el('section', { class: 'log', 'aria-label': 'Message log' });
  private list = el('ol', { class: 'log-lines', 'data-testid': 'log', tabindex: '0', 'aria-label': 'Messages' });
  private state = el('span', { class: 'quiet small', role: 'status' });
  private button = el('button', { type: 'button', class: 'small', 'data-testid': 'log-pause', click: () => this.pause(!this.paused) });
  private waiting: Message[] = [];
  private missed = 0;
  private paused = false;
  private timer?: ReturnType<typeof setTimeout>;

  /** select: where there are several channels, what a click on a name does. */
  constructor(private select?: (name: string) => void) {
    this.element.append(
      el('div', { class: 'actions log-bar' }, this.button,
        el('button', { type: 'button', class: 'plain small', click: () => this.clear() }, 'Clear'), this.state), this.list);
    this.pause(false);
  }

  take(message: Message): void {
    this.waiting.push(message);
    if (this.waiting.length > KEPT) {
      this.waiting.shift();
      this.missed++;
    }
    this.timer ??= setTimeout(() => this.paint(), PACE);
  }

  clear(): void {
    this.waiting = [];
    this.missed = 0;
    this.list.replaceChildren();
    this.paint();
  }

  private pause(on: boolean): void {
    this.paused = on;
    setText(this.button, on ? 'Continue' : 'Pause');
    this.paint();
  }

  private paint(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    const more = this.waiting.length + this.missed;
    if (this.paused) return setText(this.state, more ? `Paused, ${more} waiting` : 'Paused');
    setText(this.state, this.missed ? `${this.missed} were too many to show` : this.list.childElementCount || more ? '' : 'Waiting for messages');
    this.list.prepend(...this.waiting.reverse().map((message) => this.line(message)));
    while (this.list.childElementCount > KEPT) this.list.lastElementChild!.remove();
    this.waiting = [];
    this.missed = 0;
  }

  private line({ channel, data, ts, retained, cleared }: Message): HTMLElement {
    const text = cleared ? 'cleared' : typeof data === 'string' || isBinary(data) ? short(data) : JSON.stringify(data);
    const { select } = this;
    return el('li', {}, el('time', { class: 'quiet' }, clock(ts, true)),
      ...(select ? [el('button', { type: 'button', class: 'plain small log-name', title: channel, click: () => select(channel) }, channel)] : []),
      el('span', { class: 'log-value' }, text.length > 500 ? text.slice(0, 500) + '…' : text, retained ? el('span', { class: 'quiet' }, ' (retained)') : ''));
  }
}
