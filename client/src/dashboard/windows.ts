/** What the gateway has of a number over time, as windows with a smallest, largest and mean value. What comes live goes on in
 * them, from the cursor of the answer: nothing is missing, and nothing counts twice. */
import type { Message } from '../client/index';
import { isObject, type Json } from './format';
import { api } from './session';

interface Answer {
  cursor: string; step: number; t: number[]; min: number[]; max: number[]; mean: number[]; count: number[]; gaps: [number, number][];
}

const place = (cursor: string): [string, number] => [cursor.split('.')[0], Number(cursor.split('.')[1])];

export class Windows {
  readonly times: number[] = []; // seconds
  readonly min: (number | null)[] = [];
  readonly max: (number | null)[] = [];
  readonly mean: (number | null)[] = [];
  private counts: number[] = [];
  private step: number;

  constructor(private answer: Answer) {
    this.step = answer.step;
    let gap = 0;
    answer.t.forEach((t, i) => {
      let cut: number | undefined;
      for (; gap < answer.gaps.length && answer.gaps[gap][0] < t; gap++) cut = answer.gaps[gap][0];
      if (cut !== undefined && i) this.push(Math.max(cut, answer.t[i - 1] + 1), null, null, null, 0); // no line across it
      this.push(t, answer.min[i], answer.max[i], answer.mean[i], answer.count[i]);
    });
  }

  /** undefined: the gateway does not say. */
  static async load(channel: string, pointer: string, from: number, to: number | undefined, points: number): Promise<Windows | undefined> {
    const query = new URLSearchParams({ field: pointer, from: String(Math.round(from)), to: to ? String(Math.round(to)) : 'now', points: String(points) });
    const answer = await api(`/channels/${encodeURIComponent(channel)}/series?${query}`).catch(() => undefined);
    return answer?.ok ? new Windows(await answer.json()) : undefined;
  }

  add(message: Message, value: number): void {
    const [epoch, number] = place(message.cursor), [begun, at] = place(this.answer.cursor);
    const t = Math.floor(message.ts / this.step) * this.step, last = this.times.length - 1;
    if (epoch === begun && number <= at) return; // the answer has it
    if (last < 0 || t / 1000 > this.times[last]) return this.push(t, value, value, value, 1);
    if (t / 1000 < this.times[last]) return; // the clock was set: right again with the next answer
    const count = ++this.counts[last];
    this.min[last] = Math.min(this.min[last] ?? value, value);
    this.max[last] = Math.max(this.max[last] ?? value, value);
    this.mean[last] = (this.mean[last] ?? 0) + (value - (this.mean[last] ?? 0)) / count;
  }

  private push(t: number, min: number | null, max: number | null, mean: number | null, count: number): void {
    this.times.push(t / 1000);
    this.min.push(min);
    this.max.push(max);
    this.mean.push(mean);
    this.counts.push(count);
  }
}

/** The JSON pointers to the numbers in a value, by the paths that numbers() gives them. */
export function pointers(value: Json | undefined, path = '', pointer = '', found = new Map<string, string>()): Map<string, string> {
  if (typeof value === 'number') found.set(path, pointer);
  else if (isObject(value))
    for (const key of Object.keys(value)) {
      if (found.size >= 64) break;
      pointers(value[key], path ? `${path}.${key}` : key, `${pointer}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`, found);
    }
  return found;
}
