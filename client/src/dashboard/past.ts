/** The past of the channels that are on the screen, so that their lines and rates are right from the start. A few at a time,
 * and only of what stays on the screen for a moment. */
import { type Channel, history } from './store';

const POINTS = 60;
const AT_ONCE = 3;
const CALM = 150; // ms without scrolling

export class Past {
  private waiting: Channel[] = [];
  private running = 0;
  private timer?: ReturnType<typeof setTimeout>;

  constructor(private onFilled: (channel: Channel) => void) {}

  want(channels: Channel[]): void {
    // What has been scrolled past is not asked for.
    this.waiting = [...channels, ...this.waiting].slice(0, 80);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.go(), CALM);
  }

  private go(): void {
    while (this.running < AT_ONCE && this.waiting.length) {
      const channel = this.waiting.shift()!;
      if (channel.filled || channel.field === undefined) continue;
      channel.filled = true;
      this.running++;
      void history(channel.name, POINTS)
        .then((messages) => channel.fill(messages), () => {})
        .finally(() => {
          this.running--;
          this.onFilled(channel);
          this.go();
        });
    }
  }
}
