/** The hub in one of the tabs: the one that holds a Web Lock leads, and all speak over a BroadcastChannel. When it
 * closes, the next in the lock's queue leads, and every tab goes on from its own cursors there. */
import { Hub, type Tab } from './hub.js';
import type { Down, Line, Up } from './line.js';

interface Note {
  hub?: string; // who says it, if it is a hub: at first only that
  to?: string[];
  down?: Down;
  from?: string;
  up?: Up;
}

const random = (): string => Math.random().toString(36).slice(2);

/** This page's candidates, by name. */
const leaders = new Map<string, Leader>();

class Leader {
  users = 0;
  private hub?: Hub;
  private abort = new AbortController();
  private resign = (): void => this.abort.abort();

  constructor(private name: string) {
    navigator.locks
      .request(name, { signal: this.abort.signal }, () => new Promise<void>((resolve) => this.lead(resolve)))
      .catch(() => {}); // not wanted any more
  }

  /** Leads no longer than anybody needs it. */
  look(): void {
    if (this.users || this.hub?.tabs.size) return;
    leaders.delete(this.name);
    this.resign();
  }

  private lead(resolve: () => void): void {
    const channel = new BroadcastChannel(this.name);
    const me = random();
    const ids = new Map<Tab, string>();
    const tabs = new Map<string, Tab>();
    const send = (note: Note): void => channel.postMessage({ ...note, hub: me });
    const hub = (this.hub = new Hub((to, down) => send({ to: to.map((tab) => ids.get(tab)!), down })));
    const gone = (id: string): void => {
      const tab = tabs.get(id);
      if (!tab) return;
      tabs.delete(id);
      hub.leave(tab);
      ids.delete(tab);
      this.look();
    };
    this.resign = () => (channel.close(), resolve());
    channel.onmessage = ({ data: { from, up } }: MessageEvent<Note>) => {
      if (!from || !up) return;
      let tab = tabs.get(from);
      if (typeof up === 'object' && 'open' in up && !tab) {
        tab = { wants: new Map() };
        tabs.set(from, tab);
        ids.set(tab, from);
        if (up.open.lock) void navigator.locks.request(up.open.lock, () => gone(from)); // the tab has died
      }
      if (up === 'close') gone(from);
      else if (tab) hub.take(tab, up);
      else send({ to: [from], down: { end: { reason: 'the leading tab does not know this one' } } });
    };
    send({});
  }
}

/** `opening`: what is said to a hub that is new. */
export function lineToLeader(name: string, opening: Up, take: (down: Down) => void): Line {
  const me = random();
  const channel = new BroadcastChannel(name);
  let leader = leaders.get(name);
  let hub = '';
  if (!leader) leaders.set(name, (leader = new Leader(name)));
  leader.users++;
  const send = (up: Up): void => channel.postMessage({ from: me, up });
  channel.onmessage = ({ data }: MessageEvent<Note>) => {
    if (!data.hub) return;
    if (!data.to && data.hub !== hub) {
      if (hub) return take({ end: { reason: 'the leading tab has gone' } });
      return send(opening); // it was not there, or has just begun
    }
    if (!data.to?.includes(me)) return;
    hub = data.hub;
    take(data.down!);
  };
  return {
    send,
    close: () => {
      channel.close();
      leader.users--;
      leader.look();
    },
  };
}
