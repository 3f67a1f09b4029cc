/** Long-poll: what always works. */
import { post, query, sortOut } from './http';
import type { Ask, Host, Link } from './link';

const WAIT = 25; // s
const SLACK = 10_000; // the answer may take so much longer

export class PollLink implements Link {
  readonly transport = 'longpoll';
  private abort = new AbortController();
  private over = false;
  private told = false;

  constructor(private host: Host) {
    void this.run();
  }

  start(): boolean {
    return false;
  }

  update(): void {
    this.abort.abort();
    this.abort = new AbortController();
    void this.run();
  }

  ask(ask: Ask): Promise<unknown> {
    return post(this.host, ask);
  }

  check(): void {
    if (this.told) this.update();
  }

  close(): void {
    this.over = true;
    this.abort.abort();
  }

  private end(reason: string, more = {}): void {
    if (this.over) return;
    this.close();
    this.host.dead(this, { reason, ...more });
  }

  private async run(): Promise<void> {
    const { abort, host } = this;
    let timer: ReturnType<typeof setTimeout> | undefined;
    try {
      while (!abort.signal.aborted) {
        const subs = host.subs();
        // The first poll does not wait, so that its answer is a sign of life.
        const wait = this.told ? WAIT : 0;
        timer = setTimeout(() => {
          abort.abort();
          this.end('a poll was not answered');
        }, this.told ? WAIT * 1000 + SLACK : host.connectTimeout);
        const answer = await host.fetch(
          host.base + (subs.length ? `/poll${query(subs)}&wait=${wait}` : '/healthz'),
          { signal: abort.signal, cache: 'no-store' },
        );
        const body: any = answer.status === 200 ? await answer.json() : {};
        clearTimeout(timer);
        if (abort.signal.aborted) return;
        if (!answer.ok) {
          const end = await sortOut(host, answer, abort.signal);
          if (end) return this.end(end.reason, end);
          continue;
        }
        if (!this.told) {
          this.told = true;
          host.alive(this);
        }
        if (!subs.length) return;
        host.upstream(body.upstream || { state: answer.headers.get('sluice-upstream') ? 'down' : 'up' });
        for (const gap of body.gaps || []) host.gap(gap);
        for (const message of body.messages || []) {
          // A handler may have changed the subscriptions or the transport: whoever follows asks for the rest.
          if (abort.signal.aborted) return;
          host.message(message);
        }
        if (abort.signal.aborted) return;
        const cursor = answer.headers.get('sluice-cursor') || body.cursor;
        if (cursor) host.caughtUp(subs, cursor);
      }
    } catch (error) {
      if (!abort.signal.aborted) this.end(String(error));
    } finally {
      clearTimeout(timer);
    }
  }
}
