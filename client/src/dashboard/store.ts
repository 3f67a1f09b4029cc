/** What is known of every channel: the last two messages, how often they come, and the last numbers for its sparkline. */
import type { Message, Status } from '../client/index';
import { at, byInterest, numbers } from './format';
import { api } from './session';
import { now } from './time';

const SPARK = 60; // numbers kept
const TAU = 20; // s, how slowly rates follow
const SHORTEST = 5; // s; a rate is not reckoned over less
const MOST = 150_000; // channels kept in the page; others are found by asking the gateway

export class Channel {
  message?: Message;
  before?: Message;
  /** What the gateway said last of its state. */
  status?: Status;
  /** Of messages that came live. */
  count = 0;
  spark: number[] = [];
  /** Which number the sparkline shows. */
  field?: string;
  /** Its past has been asked for. */
  filled = false;
  private keys: string[] = [];
  private perSecond = 0;
  private at = performance.now() / 1000; // of the last change of perSecond
  private born = this.at;

  constructor(readonly name: string) {}

  take(message: Message): void {
    if (this.message && !message.retained) {
      const seconds = performance.now() / 1000;
      this.perSecond = this.decayed(seconds) + 1 / TAU;
      this.at = seconds;
      this.count++;
    }
    this.before = this.message;
    this.message = message;
    if (message.cleared) this.status = undefined;
    this.note(message.data);
  }

  note(data: unknown): void {
    if (this.field === undefined) {
      const [found] = numbers(data).sort(byInterest);
      if (!found) return;
      this.field = found[0];
      this.keys = found[0] ? found[0].split('.') : [];
    }
    // A key with a dot in it is not found by its parts.
    const value = at(data, this.keys) ?? numbers(data).find(([path]) => path === this.field)?.[1];
    if (typeof value !== 'number') return;
    this.spark.push(value);
    if (this.spark.length > SPARK) this.spark.shift();
  }

  /** The past, oldest first: a rate and a line from the start. */
  fill(messages: Message[]): void {
    const live = this.spark;
    this.spark = [];
    for (const message of messages) this.note(message.data);
    if (this.spark.length < live.length) this.spark = live;
    const known = messages.filter((message) => !message.retained).map((message) => message.ts);
    if (known.length < 2) return;
    const at = now();
    const seconds = performance.now() / 1000;
    this.born = Math.min(this.born, seconds - (at - known[0]) / 1000);
    this.perSecond = known.reduce((sum, ts) => sum + Math.exp(-(at - ts) / 1000 / TAU) / TAU, 0);
    this.at = seconds;
  }

  /** Messages a second. What was before the page knew the channel is not counted as silence. */
  rate(seconds = performance.now() / 1000): number {
    return this.decayed(seconds) / (1 - Math.exp(-Math.max(seconds - this.born, SHORTEST) / TAU));
  }

  private decayed(seconds: number): number {
    return this.perSecond * Math.exp(-(seconds - this.at) / TAU);
  }
}

export class Store {
  readonly channels = new Map<string, Channel>();
  /** Some channels were not kept. */
  full = false;
  /** Names that are kept even so. */
  sought?: (name: string) => boolean;
  private listeners = new Set<(channel: Channel, isNew: boolean) => void>();

  constructor(private most = MOST) {}

  take(message: Message): void {
    let channel = this.channels.get(message.channel);
    const isNew = !channel;
    if (!channel) {
      if (this.channels.size >= this.most && !this.sought?.(message.channel)) {
        this.full = true;
        return;
      }
      this.channels.set(message.channel, (channel = new Channel(message.channel)));
    }
    channel.take(message);
    for (const listener of this.listeners) listener(channel, isNew);
  }

  /** The state of a channel has changed: shown with its age. */
  judge(status: Status): void {
    const channel = this.channels.get(status.channel);
    if (channel) channel.status = status;
  }

  forget(name: string): void {
    this.channels.delete(name);
  }

  onChange(listener: (channel: Channel, isNew: boolean) => void): void {
    this.listeners.add(listener);
  }
}

/** GET /channels/NAME/history, oldest first. */
export async function history(name: string, limit: number): Promise<Message[]> {
  const answer = await api(`/channels/${encodeURIComponent(name)}/history?limit=${limit}`);
  return answer.ok ? (await answer.json()).messages : [];
}
