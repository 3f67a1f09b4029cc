/** The channels as a tree of their levels. Counts are kept at every branch as channels come and go, so that no change walks
 * over all of them; lines() flattens what is open into what a list shows. */
import { isFilter, matches } from '../client/names';
import type { Channel } from './store';

export type View = 'groups' | 'tree' | 'list';
export type Sort = 'name' | 'age' | 'rate' | 'value';

const SMALL = 60; // a branch of so many channels is open at first

export interface Node {
  name: string;
  path: string;
  depth: number;
  parent?: Node;
  children?: Map<string, Node>;
  /** The children by name; undefined: to be sorted anew. */
  order?: Node[];
  channel?: Channel;
  /** The channel matches the filter. */
  match: boolean;
  /** Channels from here on, and those of them that match. */
  all: number;
  shown: number;
  /** As the user wanted it; undefined: as it is best. */
  open?: boolean;
}

export interface Line {
  key: string;
  depth: number;
  label: string;
  /** A row for a channel, or a branch. */
  channel?: Channel;
  node?: Node;
  open?: boolean;
  count?: number;
  last?: boolean;
}

export function matcher(text: string): (name: string) => boolean {
  if (!text) return () => true;
  if (isFilter(text)) return (name) => matches(text, name);
  const low = text.toLowerCase();
  return (name) => name.toLowerCase().includes(low);
}

const node = (name: string, parent?: Node): Node => ({
  name, path: parent && parent.depth >= 0 ? `${parent.path}/${name}` : name, depth: parent ? parent.depth + 1 : -1, parent, match: false, all: 0, shown: 0,
});

const value = (channel: Channel): number | string => {
  const last = channel.spark[channel.spark.length - 1];
  return last ?? String(channel.message?.data);
};

const ORDERS: Record<Exclude<Sort, 'name'>, (a: Channel, b: Channel) => number> = {
  age: (a, b) => b.message!.ts - a.message!.ts,
  rate: (a, b) => b.rate() - a.rate(),
  value: (a, b) => {
    const x = value(a), y = value(b);
    if (typeof x === 'number' && typeof y === 'number') return y - x;
    return typeof x === 'number' ? -1 : typeof y === 'number' ? 1 : x < y ? -1 : x > y ? 1 : 0;
  },
};

export class Outline {
  view: View = 'groups';
  sort: Sort = 'name';
  pins: string[] = [];
  readonly root = node('');
  private filter = '';
  private wanted = matcher('');
  private nodes = new Map<string, Node>();
  private pinsOpen?: boolean;

  add(channel: Channel): void {
    let at = this.root;
    for (const name of channel.name.split('/')) {
      at.children ??= new Map();
      let next = at.children.get(name);
      if (!next) {
        at.children.set(name, (next = node(name, at)));
        at.order = undefined;
      }
      at = next;
    }
    if (at.channel) return;
    at.channel = channel;
    at.match = this.wanted(channel.name);
    this.nodes.set(channel.name, at);
    this.count(at, 1);
  }

  remove(name: string): void {
    const found = this.nodes.get(name);
    if (!found) return;
    this.count(found, -1);
    found.channel = undefined;
    this.nodes.delete(name);
    for (let at = found; at.parent && !at.all; at = at.parent) {
      at.parent.children!.delete(at.name);
      at.parent.order = undefined;
    }
  }

  private count(from: Node, step: number): void {
    for (let at: Node | undefined = from; at; at = at.parent) {
      at.all += step;
      if (from.match) at.shown += step;
    }
  }

  setFilter(text: string): void {
    this.filter = text;
    this.wanted = matcher(text);
    const walk = (at: Node): number => {
      at.match = !!at.channel && this.wanted(at.channel.name);
      at.shown = at.match ? 1 : 0;
      if (at.children) for (const child of at.children.values()) at.shown += walk(child);
      return at.shown;
    };
    walk(this.root);
  }

  /** Opens or closes the branch of a line. */
  toggle(line: Line, open = !line.open): void {
    if (line.node) line.node.open = open;
    else this.pinsOpen = open;
  }

  lines(): Line[] {
    const out: Line[] = [];
    this.pinned(out);
    if (this.view === 'tree') for (const child of sorted(this.root)) this.branch(child, 0, out);
    else if (this.view === 'list') this.rows(this.root, 0, 0, out);
    else for (const group of sorted(this.root)) this.group(group, out);
    return out;
  }

  private pinned(out: Line[]): void {
    const found = this.pins.map((name) => this.nodes.get(name)).filter((one): one is Node => !!one?.match);
    if (!found.length) return;
    const open = this.pinsOpen ?? true;
    out.push({ key: 'pins', depth: 0, label: 'Pinned', open, count: found.length });
    if (!open) return;
    for (const { channel } of found) out.push({ key: 'p:' + channel!.name, depth: 0, label: channel!.name, channel });
    out[out.length - 1].last = true;
  }

  private group(group: Node, out: Line[]): void {
    if (!group.shown) return;
    const open = group.open ?? true;
    out.push({ key: 'b:' + group.path, depth: 0, label: group.name || '/', node: group, open, count: group.shown });
    if (open) this.rows(group, 0, group.path.length + 1, out);
  }

  /** All channels from here on, without the first `cut` letters of their names. */
  private rows(from: Node, depth: number, cut: number, out: Line[]): void {
    const first = out.length;
    const walk = (at: Node): void => {
      if (!at.shown) return;
      if (at.match) out.push({ key: 'r:' + at.path, depth, label: at.path.slice(cut) || at.path, channel: at.channel });
      if (at.children) for (const child of sorted(at)) walk(child);
    };
    walk(from);
    if (this.sort !== 'name') {
      const order = ORDERS[this.sort];
      const part = out.splice(first).sort((a, b) => order(a.channel!, b.channel!));
      for (const line of part) out.push(line);
    }
    if (out.length > first) out[out.length - 1].last = true;
  }

  private branch(at: Node, depth: number, out: Line[]): void {
    if (!at.shown) return;
    let label = at.name || '/';
    // A branch with one branch in it and nothing else is one line.
    let end = at;
    for (let only = single(end); only; only = single(end)) {
      label += '/' + only.name;
      end = only;
    }
    if (!end.children?.size) {
      out.push({ key: 'r:' + end.path, depth, label, channel: end.channel });
      return;
    }
    const open = end.open ?? (!!this.filter || depth === 0 || end.all <= SMALL);
    out.push({ key: 'b:' + end.path, depth, label, node: end, open, count: end.shown });
    if (!open) return;
    if (end.match) out.push({ key: 'r:' + end.path, depth: depth + 1, label: end.name, channel: end.channel });
    for (const child of sorted(end)) this.branch(child, depth + 1, out);
    if (!depth) out[out.length - 1].last = true;
  }
}

const single = (at: Node): Node | undefined => {
  if (at.channel || at.children?.size !== 1) return undefined;
  const [only] = at.children.values();
  return only.children && !only.channel ? only : undefined;
};

const sorted = (at: Node): Node[] => (at.order ??= [...(at.children?.values() ?? [])].sort((a, b) => (a.name < b.name ? -1 : 1)));
