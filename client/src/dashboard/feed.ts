/** The log of all channels that the filter lets through. */
import { Log } from './log';
import type { Channel } from './store';

export class Feed {
  private log?: Log;
  private wanted: (name: string) => boolean = () => true;

  constructor(private box: HTMLElement, private select: (name: string) => void) {}

  show(on: boolean, wanted: (name: string) => boolean): void {
    this.wanted = wanted;
    this.box.hidden = !on;
    if (on && !this.log) this.box.replaceChildren((this.log = new Log(this.select)).element);
    else if (!on) this.log = undefined;
  }

  take(channel: Channel): void {
    if (this.log && this.wanted(channel.name)) this.log.take(channel.message!);
  }

  clear(): void {
    this.log?.clear();
  }
}
