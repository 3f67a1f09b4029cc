/** What is known of every channel: the last message, how often they come, and the last numbers for its sparkline. */
import type { Message } from '../client/index';
import { byInterest, numbers } from './format';
import { api } from './session';

const SPARK = 60; // numbers kept
const TAU = 20; // s, how slowly rates follow

export class Channel {
  message?: Message;
  /** Of messages that came live. */
  count = 0;
  publish?: boolean;
  spark: number[] = [];
  /** Which number the sparkline shows. */
  field?: string;
  private perSecond = 0;
  private at = 0; // of the last change of perSecond, s

  constructor(readonly name: string) {}

  take(message: Message): void {
    const now = performance.now() / 1000;
    if (this.message && !message.retained) {
      this.perSecond = this.rate(now) + 1 / TAU;
      this.at = now;
      this.count++;
    }
    this.message = message;
    this.note(message.data);
  }

  note(data: unknown): void {
    const found = numbers(data).sort(byInterest);
    this.field ??= found[0]?.[0];
    const value = found.find(([path]) => path === this.field)?.[1];
    if (value === undefined) return;
    this.spark.push(value);
    if (this.spark.length > SPARK) this.spark.shift();
  }

  rate(now = performance.now() / 1000): number {
    return this.perSecond * Math.exp(-(now - this.at) / TAU);
  }
}

export class Store {
  readonly channels = new Map<string, Channel>();
  private listeners = new Set<(channel: Channel, isNew: boolean) => void>();

  take(message: Message): void {
    let channel = this.channels.get(message.channel);
    const isNew = !channel;
    if (!channel) this.channels.set(message.channel, (channel = new Channel(message.channel)));
    channel.take(message);
    for (const listener of this.listeners) listener(channel, isNew);
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
