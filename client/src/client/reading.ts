/** What can be asked for without a subscription, and a subscription as an async iterator. */
import type { Sluice } from './client.js';
import { bodyOf, errorOf } from './http.js';
import type { Host } from './link.js';
import { type Message, SluiceError, type SubscribeOptions } from './types.js';

const KEPT = 10_000;

/** The body of an answer of the gateway; anything else is an error. */
async function read(host: Host, path: string): Promise<any> {
  const answer = await host.request(path, {}).catch((error) => {
    throw new SluiceError('unreachable', String(error));
  });
  if (!answer.ok) throw (await errorOf(answer)) || new SluiceError('unreachable', `HTTP ${answer.status} is no answer of the gateway`);
  return bodyOf(answer);
}

const at = (channel: string): string => '/channels/' + encodeURIComponent(channel);

/** GET /channels/NAME; no value yet is undefined. */
export const get = (host: Host, channel: string): Promise<Message | undefined> =>
  read(host, at(channel)).catch((error) => {
    if (error.code !== 'no_value') throw error;
  });

/** GET /channels/NAME/history. */
export const history = async (host: Host, channel: string, { limit, cursor }: { limit?: number; cursor?: string }): Promise<Message[]> =>
  (await read(host, `${at(channel)}/history?${limit ? `limit=${limit}&` : ''}${cursor ? `cursor=${cursor}` : ''}`)).messages;

/** Ends with the loop. Messages wait while the loop's body does; beyond a bound that is an error, and none is left out. */
export async function* stream<T>(sluice: Sluice, channel: string, options: SubscribeOptions): AsyncGenerator<Message<T>, void> {
  let waiting: Message<T>[] = [];
  let error: SluiceError | undefined;
  let wake = (): void => {};
  const fail = (why: SluiceError): void => {
    error ||= why;
    wake();
  };
  const end = sluice.on('state', ({ state }) => state === 'closed' && fail(new SluiceError('closed')));
  const { off } = sluice.subscribe<T>(channel, (message) => {
    if (waiting.push(message) > KEPT) fail(new SluiceError('overflow', `${KEPT} messages wait for the loop`));
    wake();
  }, { ...options, error: fail });
  try {
    while (!error) {
      const some = waiting;
      waiting = [];
      yield* some;
      if (!waiting.length && !error) await new Promise<void>((resolve) => (wake = resolve));
    }
    if (error.code !== 'closed') throw error;
  } finally {
    off();
    end();
  }
}
