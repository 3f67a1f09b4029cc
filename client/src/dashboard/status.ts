/** What the operator must know at a glance: over what, whether live, whether the broker is there, what was missed. */
import { storage } from './session';
import type { Sluice, StateEvent, Transport } from '../client/index';
import { byId, el, setText } from './dom';
import { age, clock } from './format';
import { now } from './time';

const NAMES: Record<Transport, string> = { websocket: 'WebSocket', sse: 'SSE', longpoll: 'Long-poll' };
const ALL: Transport[] = ['websocket', 'sse', 'longpoll'];
const LONG = 1500; // ms; a reconnect that takes less is no news

export class Status {
  private badge = byId('state');
  private event?: StateEvent;
  private downSince = 0;
  private lostSince = 0;
  private gaps = 0;
  private channel?: string;

  constructor(private client: Sluice, onLook: () => void) {
    client.on('state', (event) => {
      this.event = event;
      this.lostSince = event.state === 'live' || event.state === 'unauthorized' ? 0 : this.lostSince || Date.now();
      this.show();
    });
    client.on('upstream', ({ state, since }) => {
      this.downSince = state === 'down' ? since || now() : 0;
      this.show();
    });
    client.on('gap', ({ channel, reason }) => this.gap(`${channel}: ${reason}`));
    this.switch();
    this.look('theme', onLook);
    this.look('density', onLook);
    setInterval(() => this.banners(), 1000);
  }

  private show(): void {
    const { state, transport, retryIn, reason } = this.event ?? { state: 'connecting', transport: null };
    const text = {
      live: this.downSince ? 'Broker down' : 'Live',
      connecting: 'Connecting',
      waiting: `Retrying in ${Math.max(1, Math.round((retryIn || 0) / 1000))} s`,
      unauthorized: 'Not signed in',
      closed: 'Closed',
    }[state];
    this.badge.replaceChildren(text, ...(transport ? [el('span', { class: 'over' }, ` · ${NAMES[transport]}`)] : []));
    this.badge.dataset.state = state;
    this.badge.dataset.transport = transport || '';
    this.badge.dataset.upstream = this.downSince ? 'down' : 'up';
    this.badge.title = reason || '';
    this.banners();
  }

  private banners(): void {
    const { downSince, lostSince } = this;
    const upstream = byId('upstream'), gateway = byId('gateway');
    gateway.hidden = !lostSince || Date.now() - lostSince < LONG;
    upstream.hidden = !downSince || !gateway.hidden; // without the gateway nobody here knows of the broker
    if (downSince) setText(upstream, `Broker unreachable. Values are stale since ${clock(downSince)} (${age(now() - downSince)}).`);
    if (!gateway.hidden) setText(gateway, 'Gateway unreachable. Reconnecting; you will get what it has kept meanwhile.');
    document.body.classList.toggle('old', !!downSince || !gateway.hidden);
    this.title(!gateway.hidden ? 'Offline' : downSince ? 'Broker down' : '');
  }

  /** A tab in the background shows trouble too. */
  private title(trouble: string): void {
    const title = [trouble && `⚠ ${trouble}`, this.channel, 'Sluice'].filter(Boolean).join(' · ');
    if (document.title !== title) document.title = title;
    const icon = byId<HTMLAnchorElement>('icon');
    const href = trouble ? 'favicon-down.svg' : 'favicon.svg';
    if (icon.getAttribute('href') !== href) icon.setAttribute('href', href);
  }

  selected(name: string | undefined): void {
    this.channel = name;
    this.banners();
  }

  count(shown: number, all: number, full: boolean): void {
    const more = full ? ' kept; filter to find others' : '';
    setText(byId('count'), !all ? 'Waiting for channels' : shown === all ? `${all} channel${all === 1 ? '' : 's'}${more}` : `${shown} of ${all} channels${more}`);
  }

  /** What the gateway has beyond it. */
  found(text: string): void {
    setText(byId('found'), text && ` · ${text}`);
  }

  /** Not every channel is shown. */
  limited(yes: boolean): void {
    byId('limited').hidden = !yes;
  }

  notice(text: string): void {
    const notice = byId('notice');
    notice.hidden = false;
    notice.replaceChildren(text, el('button', { type: 'button', class: 'plain small', click: () => (notice.hidden = true) }, 'Dismiss'));
  }

  private gap(text: string): void {
    const button = byId<HTMLButtonElement>('gaps');
    this.gaps++;
    button.hidden = false;
    button.title = text;
    setText(button, `${this.gaps} gap${this.gaps === 1 ? '' : 's'}, last: ${text}`);
    button.onclick = () => {
      this.gaps = 0;
      button.hidden = true;
    };
  }

  private switch(): void {
    const select = byId<HTMLSelectElement>('transport');
    select.addEventListener('change', () => {
      const value = select.value as Transport | 'auto';
      this.client.use(value === 'auto' ? ALL : [value]);
    });
  }

  /** A setting of how it looks, kept for the next visit. */
  private look(name: 'theme' | 'density', onLook: () => void): void {
    const select = byId<HTMLSelectElement>(name);
    const system = matchMedia('(prefers-color-scheme: dark)');
    const key = `sluice-${name}`;
    const apply = (): void => void (document.documentElement.dataset[name] = select.value || (system.matches ? 'dark' : 'light'));
    const changed = (): void => {
      apply();
      onLook();
    };
    const kept = storage('localStorage')?.getItem(key);
    if (kept && [...select.options].some(({ value }) => value === kept)) select.value = kept;
    select.addEventListener('change', () => {
      storage('localStorage')?.setItem(key, select.value);
      changed();
    });
    if (name === 'theme') system.addEventListener('change', changed);
    apply();
  }
}
