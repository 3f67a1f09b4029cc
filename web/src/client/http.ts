/** What SSE and long-poll share: their query, publishing by POST, and finding out which channel is refused. */
import type { Ask, End, Host, Sub } from './link';
import { SluiceError } from './types';

/** `?channel=A&from=C1&channel=B…`; one common cursor where all stand at the same place. */
export function query(subs: Sub[]): string {
  const cursor = subs[0]?.position;
  const common = cursor && subs.every((sub) => sub.position === cursor) ? cursor : '';
  const interval = Math.min(...subs.map((sub) => sub.interval)); // never slower than one of them asked
  const parts = subs.map(
    (sub) => `channel=${encodeURIComponent(sub.channel)}` + (common ? '' : `&from=${sub.position || 'last'}`),
  );
  if (common) parts.push(`cursor=${common}`);
  if (interval) parts.push(`interval=${interval}ms`);
  return '?' + parts.join('&');
}

export const retryAfter = (answer: Response): number | undefined => {
  const seconds = Number(answer.headers.get('retry-after'));
  return seconds > 0 ? seconds * 1000 : undefined;
};

async function errorOf(answer: Response): Promise<SluiceError> {
  const body: any = await answer.json().catch(() => ({}));
  return new SluiceError(body.code || `http_${answer.status}`, body.message, body.reason);
}

/** POST /channels/NAME. Slashes stay as they are, unless a proxy would tidy the path. */
export async function post(host: Host, { channel, data, reply }: Ask): Promise<unknown> {
  const tidy = !/(^|\/)(\.{0,2})(\/|$)/.test(channel);
  const name = encodeURIComponent(channel);
  const url = `${host.base}/channels/${tidy ? name.replace(/%2F/g, '/') : name}?as=json`;
  let answer: Response;
  try {
    answer = await host.fetch(url + (reply ? `&reply=${reply}ms` : ''), {
      method: 'POST',
      body: JSON.stringify(data ?? null),
    });
  } catch (error) {
    throw new SluiceError('connection_lost', String(error));
  }
  if (!answer.ok) throw await errorOf(answer);
  const body: any = await answer.json();
  return body.status === 'response' ? body.data : body.status;
}

/** A request with all channels was refused: sets aside those that are refused alone, else says how the link ends. */
export async function sortOut(host: Host, answer: Response, signal: AbortSignal): Promise<End | undefined> {
  const end: End = { reason: `HTTP ${answer.status}`, retryAfter: retryAfter(answer) };
  if (answer.status === 401) end.code = 4401;
  if (![400, 403, 404].includes(answer.status)) return end;
  let found = false;
  for (const sub of host.subs()) {
    const alone = await host.fetch(
      `${host.base}/poll?channel=${encodeURIComponent(sub.channel)}&from=${sub.position || 'last'}&wait=0`,
      { signal },
    );
    if (alone.status < 400 || alone.status >= 500) continue;
    const error = await errorOf(alone);
    found = true;
    host.refused(sub.channel, new SluiceError(error.code, error.message, undefined, sub.channel));
  }
  return found ? undefined : end;
}
