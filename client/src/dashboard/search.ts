/** Asks the gateway for what the filter means and the page does not have: channels beyond what the page keeps, beyond the
 * subscriptions that one session may have, or whose names begin with $, which `#` does not bring. */
import type { Message, Sluice, Subscription } from '../client/index';
import { isFilter } from '../client/names';
import { api } from './session';
import type { Store } from './store';

const PAUSE = 300; // ms after the last key
const MOST = 200; // values asked for one by one
const AT_ONCE = 4;

export class Search {
  private timer?: ReturnType<typeof setTimeout>;
  private round = 0;
  private sub?: Subscription;

  /** complete: the page has all that `#` brings. onFound: how many channels the gateway has that the page had not. */
  constructor(private client: Sluice, private store: Store, private complete: () => boolean, private onFound: (text: string) => void) {}

  seek(text: string, shown: number): void {
    clearTimeout(this.timer);
    this.round++;
    this.sub?.off();
    this.sub = this.store.sought = undefined;
    this.onFound('');
    if (text && (!shown || !this.complete())) this.timer = setTimeout(() => void this.ask(text, this.round), PAUSE);
  }

  private async ask(text: string, round: number): Promise<void> {
    const filter = isFilter(text) ? text : text.replace(/\/+$/, '') + '/#';
    const answer = await api(`/channels?filter=${encodeURIComponent(filter)}`).catch(() => undefined);
    if (!answer?.ok || round !== this.round) return; // no filter at all, and that is no fault: people type
    const names: string[] = (await answer.json()).channels.map(({ channel }: { channel: string }) => channel);
    const missing = names.filter((name) => !this.store.channels.has(name));
    if (!missing.length || round !== this.round) return;
    const wanted = new Set(missing);
    this.store.sought = (name) => wanted.has(name);
    this.onFound(`${missing.length} more from the gateway`);
    // Live if one more subscription is allowed. Their last values at least.
    this.sub = this.client.subscribe(filter, (message) => this.store.take(message), { error: () => void this.fetch(missing, round) });
  }

  private async fetch(names: string[], round: number): Promise<void> {
    const rest = names.slice(0, MOST);
    const next = async (): Promise<void> => {
      for (let name = rest.shift(); name !== undefined && round === this.round; name = rest.shift()) {
        const answer = await api(`/channels/${encodeURIComponent(name)}`).catch(() => undefined);
        if (answer?.ok && round === this.round) this.store.take((await answer.json()) as Message);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, next));
    if (names.length > MOST && round === this.round) this.onFound(`${names.length} more at the gateway, ${MOST} of them shown: narrow the filter`);
  }
}
