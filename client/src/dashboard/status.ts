/** What the operator must know at a glance: over what, whether live, whether the broker is there, what was missed. */
import { storage } from './session';
import type { Sluice, StateEvent, Transport } from '../client/index';
import { byId, el, icon, setText } from './dom';
import { age } from './format';

const NAMES: Record<Transport, string> = { websocket: 'WebSocket', sse: 'SSE', longpoll: 'Long-poll' };
const ALL: Transport[] = ['websocket', 'sse', 'longpoll'];
const SUN = 'M12 3v2m0 14v2m9-9h-2M5 12H3m15.4-6.4L17 7M7 17l-1.4 1.4m12.8 0L17 17M7 7 5.6 5.6M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8z';
const MOON = 'M20 14.5A8 8 0 0 1 9.5 4 8 8 0 1 0 20 14.5z';

export class Status {
  private badge = byId('state');
  private downSince = 0;
  private lostSince = 0;
  private gaps = 0;

  constructor(private client: Sluice, onTheme: () => void) {
    client.on('state', (event) => this.show(event));
    client.on('upstream', ({ state, since }) => {
      this.downSince = state === 'down' ? since || Date.now() : 0;
      this.banners();
    });
    client.on('gap', ({ channel, reason }) => this.gap(`${channel}: ${reason}`));
    this.switch();
    this.theme(onTheme);
    setInterval(() => this.banners(), 1000);
  }

  private show({ state, transport, retryIn, reason }: StateEvent): void {
    const text = {
      live: 'Live',
      connecting: 'Connecting',
      waiting: `Retrying in ${Math.max(1, Math.round((retryIn || 0) / 1000))} s`,
      unauthorized: 'Not signed in',
      closed: 'Closed',
    }[state];
    this.badge.replaceChildren(text, ...(transport ? [el('span', { class: 'over' }, ` · ${NAMES[transport]}`)] : []));
    this.badge.dataset.state = state;
    this.badge.dataset.transport = transport || '';
    this.badge.title = reason || '';
    this.lostSince = state === 'live' || state === 'unauthorized' ? 0 : this.lostSince || Date.now();
    this.banners();
  }

  private banners(): void {
    const { downSince, lostSince } = this;
    const upstream = byId('upstream'), gateway = byId('gateway');
    upstream.hidden = !downSince;
    if (downSince) setText(upstream, `The broker can’t be reached: values are not current since ${new Date(downSince).toLocaleTimeString()} (${age(Date.now() - downSince)}).`);
    // A reconnect of a second is no news.
    gateway.hidden = !lostSince || Date.now() - lostSince < 1500;
    if (!gateway.hidden) setText(gateway, 'No connection to the gateway. Reconnecting; nothing that it keeps will be missed.');
    document.body.classList.toggle('old', !!downSince || !gateway.hidden);
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

  private theme(onTheme: () => void): void {
    const button = byId('theme');
    const system = matchMedia('(prefers-color-scheme: dark)');
    let wanted = storage('localStorage')?.getItem('sluice-theme') || null;
    const apply = (): void => {
      const dark = wanted ? wanted === 'dark' : system.matches;
      document.documentElement.dataset.theme = dark ? 'dark' : 'light';
      button.replaceChildren(icon(dark ? SUN : MOON));
      onTheme();
    };
    button.addEventListener('click', () => {
      wanted = document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark';
      storage('localStorage')?.setItem('sluice-theme', wanted);
      apply();
    });
    system.addEventListener('change', apply);
    apply();
  }
}
