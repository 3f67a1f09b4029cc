/** Server-Sent Events by fetch(): unlike EventSource it tells the status and Retry-After, and runs everywhere. */
import { post, query, sortOut } from './http';
import type { Ask, Host, Link, Sub } from './link';

const QUIET = 60_000; // the gateway sends a comment every 25 s

export class StreamLink implements Link {
  readonly transport = 'sse';
  private abort = new AbortController();
  private timer?: ReturnType<typeof setTimeout>;
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
    clearTimeout(this.timer);
    this.abort.abort();
  }

  private wait(ms: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.end('the stream is silent'), ms);
  }

  private end(reason: string, more = {}): void {
    if (this.over) return;
    this.close();
    this.host.dead(this, { reason, ...more });
  }

  private sign(): void {
    this.wait(QUIET);
    if (this.told) return;
    this.told = true;
    this.host.alive(this);
  }

  private async run(): Promise<void> {
    const { host } = this;
    const { signal } = this.abort;
    this.wait(host.connectTimeout);
    try {
      const subs = host.subs();
      const answer = await host.fetch(host.base + (subs.length ? '/sse' + query(subs) : '/healthz'), {
        signal,
        cache: 'no-store',
      });
      if (!answer.ok) {
        const end = await sortOut(host, answer, signal);
        return end ? this.end(end.reason, end) : this.update();
      }
      if (!subs.length) {
        // Nothing to listen to yet; somebody is there.
        this.sign();
        return clearTimeout(this.timer);
      }
      const reader = answer.body!.getReader();
      const decoder = new TextDecoder();
      let text = '';
      for (;;) {
        const { done, value } = await reader.read();
        if (signal.aborted) return;
        if (done) break;
        this.sign();
        text += decoder.decode(value, { stream: true });
        const events = text.split('\n\n');
        text = events.pop()!;
        for (const event of events) {
          if (signal.aborted) return;
          this.event(subs, event);
        }
      }
      this.end('the stream ended');
    } catch (error) {
      if (!signal.aborted) this.end(String(error));
    }
  }

  private event(subs: Sub[], text: string): void {
    let name = 'message';
    let id = '';
    let data = '';
    for (const line of text.split('\n')) {
      const [, field, value] = /^(\w*): ?(.*)$/.exec(line) || [];
      if (field === 'event') name = value;
      else if (field === 'id') id = value;
      else if (field === 'data') data += value + '\n';
    }
    const { host } = this;
    if (!data) {
      if (id) host.caughtUp(subs, id);
      return;
    }
    const object = JSON.parse(data);
    if (name === 'message') host.message(object);
    else if (name === 'gap') host.gap(object);
    else if (name === 'upstream') host.upstream(object);
    else if (name === 'error') this.end(object.code);
  }
}
