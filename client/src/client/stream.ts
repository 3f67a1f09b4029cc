/** Server-Sent Events by fetch(): unlike EventSource it tells the status and Retry-After, sends a token in a header, and runs
 * everywhere. */
import { HttpLink, query } from './http.js';
import type { Sub } from './link.js';
import { isCursor } from './names.js';
import { closeCodeOf, SluiceError } from './types.js';

const QUIET = 60_000; // the gateway sends a comment every 25 s

export class StreamLink extends HttpLink {
  readonly transport = 'sse';

  protected path(subs: Sub[]): string {
    return '/sse' + query(subs);
  }

  protected async read(answer: Response, subs: Sub[], signal: AbortSignal): Promise<void> {
    if (!/^text\/event-stream/i.test(answer.headers.get('content-type')!) || !answer.body) return this.strange(answer);
    const reader = answer.body.getReader();
    const decoder = new TextDecoder();
    let text = '';
    for (;;) {
      const { done, value } = await reader.read();
      if (signal.aborted) return;
      if (done) return this.end('the stream ended');
      this.wait(this.told ? QUIET : this.patience());
      text += decoder.decode(value, { stream: true });
      const events = text.split('\n\n');
      text = events.pop()!;
      for (const event of events) {
        if (signal.aborted) return;
        if (!this.event(subs, event)) return this.strange(answer);
      }
    }
  }

  /** False: no gateway says that. The first that names a place is the sign of life. */
  private event(subs: Sub[], text: string): boolean {
    let name = 'message';
    let id = '';
    let data = '';
    for (const line of text.split('\n')) {
      const [, field, value] = /^(\w*): ?(.*)$/s.exec(line) || [];
      if (field === 'event') name = value;
      else if (field === 'id') id = value;
      else if (field === 'data') data += value + '\n';
    }
    const { host } = this;
    if (id && !isCursor(id)) return false;
    if (!data) {
      if (!id) return true; // a comment, or retry:
      this.sign();
      host.caughtUp(subs, id);
      return true;
    }
    const object = JSON.parse(data);
    if (name === 'message') {
      if (!id || !object.channel) return false;
      this.sign();
      host.message(object);
    } else if (name === 'gap') {
      this.sign();
      host.gap(object);
    } else if (name === 'status') {
      this.sign();
      host.worth(object);
    } else if (name === 'upstream') host.upstream(object);
    else if (name === 'expiring') host.expiring();
    else if (name === 'error') {
      const { code, channel, message } = object;
      if (channel) host.refused(channel, new SluiceError(code, message, undefined, channel));
      else this.end(message, { code: closeCodeOf(code), heard: true });
    }
    return true;
  }
}
