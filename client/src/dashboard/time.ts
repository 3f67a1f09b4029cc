/** The gateway's time. Ages and charts go by it, since the clock of whoever looks may be wrong. */
import { age } from './format';
import { api } from './session';

const SLIGHT = 2_000; // ms that are no difference
let ahead = 0; // ms that this browser's clock is ahead of the gateway's

export const now = (): number => Date.now() - ahead;

/** Compares the clocks: the gateway says how old the value of a channel is. Returns what people should know of it. */
export async function compareClocks(channel: string): Promise<string> {
  const asked = Date.now();
  const answer = await api(`/channels?filter=${encodeURIComponent(channel)}`).catch(() => undefined);
  const [row] = answer?.ok ? (await answer.json()).channels : [];
  if (!row) return '';
  const found = (asked + Date.now()) / 2 - (row.ts + row.age);
  ahead = Math.abs(found) > SLIGHT ? found : 0;
  return Math.abs(ahead) < 60_000 ? '' : `The clock of this device is ${age(Math.abs(ahead))} ${ahead > 0 ? 'ahead of' : 'behind'} the gateway’s. Ages here go by the gateway.`;
}
