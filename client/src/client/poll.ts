/** Long-poll: what always works. */
import { bodyOf, HttpLink, query } from './http.js';
import type { Sub } from './link.js';
import { isCursor } from './names.js';

const WAIT = 25; // s
const SLACK = 10_000; // the answer may take so much longer

export class PollLink extends HttpLink {
  readonly transport = 'longpoll';

  protected path(subs: Sub[]): string {
    // The first poll does not wait, so that its answer is a sign of life.
    return `/poll${query(subs)}&wait=${this.told ? WAIT : 0}`;
  }

  protected patience(): number {
    return this.told ? WAIT * 1000 + SLACK : super.patience();
  }

  protected async read(answer: Response, subs: Sub[], signal: AbortSignal): Promise<void> {
    const body = answer.status === 200 ? await bodyOf(answer) : {};
    const { host } = this;
    const { headers } = answer;
    if (signal.aborted) return;
    const cursor = headers.get('sluice-cursor') || body.cursor;
    if (!isCursor(cursor) || (answer.status === 200 && !body.messages)) return this.strange(answer);
    this.sign();
    host.upstream(body.upstream || { state: headers.get('sluice-upstream') ? 'down' : 'up' });
    for (const gap of body.gaps || []) host.gap(gap);
    for (const message of body.messages || []) {
      // A handler may have changed the subscriptions or the transport: whoever follows asks for the rest.
      if (signal.aborted) return;
      host.message(message);
    }
    for (const status of body.states || []) host.worth(status);
    if (!signal.aborted) host.caughtUp(subs, cursor);
  }
}
