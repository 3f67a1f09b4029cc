/** What SSE and long-poll share: asking with a query, publishing by POST, and finding out which channel is refused.
 *
 * Whatever answers may be a proxy, a captive portal or another server. Only what the protocol defines counts as the
 * gateway's word; the rest ends the link, and nothing is concluded from it. */
import type { Ask, End, Host, Link, Sub } from './link.js';
import { SluiceError, type Transport } from './types.js';

/** A link of requests, each for all subscriptions as they then are. */
export abstract class HttpLink implements Link {
  abstract readonly transport: Transport;
  protected told = false; // that it is alive
  protected timer?: ReturnType<typeof setTimeout>;
  private abort = new AbortController();

  constructor(protected host: Host) {
    void this.run();
  }

  protected abstract path(subs: Sub[]): string;
  /** Returns when it is time to ask again, or after end(). */
  protected abstract read(answer: Response, subs: Sub[], signal: AbortSignal): Promise<void>;

  /** ms until an answer begins. */
  protected patience(): number {
    return this.host.connectTimeout;
  }

  start(): boolean {
    return false;
  }

  update(): void {
    this.abort.abort();
    this.abort = new AbortController();
    void this.run();
  }

  renew(): void {
    this.update();
  }

  ask(ask: Ask): Promise<unknown> {
    return post(this.host, ask);
  }

  check(): void {
    if (this.told) this.update();
  }

  close(): void {
    clearTimeout(this.timer);
    this.abort.abort();
  }

  protected wait(ms: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.end('nothing comes'), ms);
  }

  protected sign(): void {
    if (this.told) return;
    this.told = true;
    this.host.alive(this);
  }

  /** Not the gateway's answer. */
  protected strange(answer: Response): void {
    this.end(strange(answer), { heard: true });
  }

  protected end(reason: string, more = {}): void {
    if (this.abort.signal.aborted) return;
    this.close();
    this.host.dead(this, { reason, ...more });
  }

  private async run(): Promise<void> {
    const { host } = this;
    const { signal } = this.abort;
    try {
      while (!signal.aborted) {
        const subs = host.subs();
        this.wait(this.patience());
        const answer = await host.request(subs.length ? this.path(subs) : '/healthz', { signal });
        if (!answer.ok) {
          const end = await sortOut(host, answer, signal);
          if (end && !signal.aborted) this.end(end.reason, end);
        } else if (subs.length) {
          await this.read(answer, subs, signal);
        } else {
          // Nothing to listen to yet; is somebody there?
          const body = await bodyOf(answer);
          if (signal.aborted) return;
          clearTimeout(this.timer);
          return body.status ? this.sign() : this.strange(answer);
        }
      }
    } catch (error) {
      if (!signal.aborted) this.end(String(error));
    }
  }
}

/** `?channel=A&from=C1&channel=B…`; one common cursor where all stand at the same place. */
export function query(subs: Sub[]): string {
  const cursor = subs[0]?.position;
  const common = cursor && subs.every((sub) => sub.position === cursor) ? cursor : '';
  const interval = Math.min(...subs.map((sub) => sub.interval)); // never slower than one of them asked
  const parts = subs.map(
    (sub) => `channel=${encodeURIComponent(sub.channel)}` + (common || (!sub.position && sub.since) ? '' : `&from=${sub.position || 'last'}`),
  );
  // One time for all that have no position yet: the earliest.
  const since = Math.max(...subs.map((sub) => (sub.position ? 0 : sub.since)));
  if (common) parts.push(`cursor=${common}`);
  if (since) parts.push(`since=${since}ms`);
  if (interval) parts.push(`interval=${interval}ms`);
  return '?' + parts.join('&');
}

const strange = (answer: Response): string =>
  `HTTP ${answer.status} ${answer.headers.get('content-type') || ''} is no answer of the gateway`;

/** An object, whatever came. */
export const bodyOf = async (answer: Response): Promise<any> => (await answer.json().catch(() => 0)) || {};

/** Of a channel, if the gateway says so. */
export const isRefusal = ({ status }: Response): boolean => [400, 403, 404].includes(status);

/** The gateway's own error, if it is one. */
export async function errorOf(answer: Response): Promise<SluiceError | undefined> {
  const { type, code, message, reason } = await bodyOf(answer);
  return type === 'error' && code ? new SluiceError(code, message, reason) : undefined;
}

/** What publish() and request() resolve with. */
export const settled = (status: string, { cursor, data }: any): unknown =>
  status === 'response' ? data : /^[ct]/.test(status) ? { status, cursor, data } : status;

/** POST /channels/NAME. Slashes stay as they are, unless a proxy would tidy the path. */
export async function post(host: Host, { channel, body, reply, confirm, key }: Ask): Promise<unknown> {
  const tidy = !/(^|\/)(\.{0,2})(\/|$)/.test(channel);
  const name = encodeURIComponent(channel);
  const path = `/channels/${tidy ? name.replace(/%2F/g, '/') : name}?as=${typeof body === 'string' ? 'json' : 'payload'}`;
  let answer: Response;
  try {
    answer = await host.request(path + (reply ? `&reply=${reply}ms` : '') + (confirm ? '&confirm=true' : ''), {
      method: 'POST',
      headers: key ? { 'Idempotency-Key': key } : {},
      body,
    });
  } catch (error) {
    throw new SluiceError('connection_lost', String(error));
  }
  const said = answer.ok ? await bodyOf(answer) : {};
  if (/^(published|accepted|response|confirmed|timeout)$/.test(said.status)) return settled(said.status, said);
  throw (
    (!answer.ok && (await errorOf(answer))) ||
    new SluiceError('connection_lost', strange(answer) + '; whether it took effect is unknown')
  );
}

/** A request with all channels was refused: sets aside those that are refused alone, else says how the link ends. */
async function sortOut(host: Host, answer: Response, signal: AbortSignal): Promise<End | undefined> {
  const error = await errorOf(answer);
  const asked = Number(answer.headers.get('retry-after')) * 1000 || 0;
  if (!error) return { reason: strange(answer), heard: true, retryAfter: Math.min(asked, 30_000) };
  if (answer.status === 401) return { code: 4401, reason: error.message };
  const end: End = { reason: `HTTP ${answer.status}: ${error.message}`, heard: true, retryAfter: Math.min(asked, 300_000) };
  if (!isRefusal(answer)) return end;
  let found = false;
  for (const sub of host.subs()) {
    const alone = await host.request(`/poll${query([sub])}&wait=0`, { signal });
    const why = isRefusal(alone) && (await errorOf(alone));
    if (!why) continue;
    found = true;
    host.refused(sub.channel, new SluiceError(why.code, why.message, undefined, sub.channel));
  }
  return found ? undefined : end;
}
