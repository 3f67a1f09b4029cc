/** Listening to all that one may see. `#` brings everything, but only to those who may have everything: where it is refused,
 * the list of channels says what there is, and narrower filters are tried down to single channels. */
import type { Message, Sluice, SluiceError, Subscription } from '../client/index';
import { matches } from '../client/names';
import { api } from './session';

const AGAIN = 20_000; // ms between looks at the list, for channels that are new

export class Watch {
  /** There are channels for which no subscription is left. */
  short = false;
  private subs = new Map<string, Subscription>();
  private refused = new Set<string>();
  private seen = new Set<string>(); // filters that have brought something
  private timer?: ReturnType<typeof setInterval>;
  private soon?: ReturnType<typeof setTimeout>;

  /** onLimited: `#` was refused. onLost: what had come comes no more. tell: something that people should read. */
  constructor(
    private client: Sluice,
    private take: (message: Message) => void,
    private onLimited: () => void,
    private onLost: (covered: (name: string) => boolean) => void,
    private tell: (text: string) => void,
  ) {
    this.restart();
  }

  /** Somebody else is here now. */
  restart(): void {
    clearInterval(this.timer);
    clearTimeout(this.soon);
    this.timer = undefined;
    for (const sub of this.subs.values()) sub.off();
    this.subs.clear();
    this.refused.clear();
    this.seen.clear();
    this.short = false;
    this.add('#');
  }

  private add(filter: string): void {
    if (this.subs.has(filter) || this.refused.has(filter)) return;
    const take = (message: Message): void => {
      this.seen.add(filter);
      this.take(message);
    };
    this.subs.set(filter, this.client.subscribe(filter, take, { error: (error) => this.deny(filter, error) }));
  }

  private deny(filter: string, { code }: SluiceError): void {
    this.subs.get(filter)?.off();
    this.subs.delete(filter);
    if (code === 'limit_reached') {
      this.short = true;
      this.tell('Not every channel is shown: the gateway allows no more subscriptions. Filter by name to find the others.');
    }
    if (code !== 'forbidden' && code !== 'unknown_channel') return;
    this.refused.add(filter);
    if (this.seen.delete(filter)) {
      this.tell(filter === '#' ? 'You may no longer see everything.' : `You may no longer see ${filter}.`);
      this.onLost((name) => this.covers(name));
    }
    if (filter === '#') this.onLimited();
    this.timer ??= setInterval(() => void this.look(), AGAIN);
    clearTimeout(this.soon);
    this.soon = setTimeout(() => void this.look(), 50); // refusals come in groups
  }

  private covers(name: string): boolean {
    return [...this.subs.keys()].some((filter) => matches(filter, name));
  }

  /** The widest filter that was not refused, for each channel that nothing covers. */
  private async look(): Promise<void> {
    const answer = await api('/channels').catch(() => undefined);
    if (!answer?.ok) return;
    for (const { channel } of (await answer.json()).channels) {
      if (this.covers(channel)) continue;
      const levels: string[] = channel.split('/');
      const filters = levels.map((_, i) => [...levels.slice(0, i + 1), '#'].join('/'));
      const next = [...filters, channel].find((filter) => !this.refused.has(filter));
      if (next) this.add(next);
    }
  }
}
