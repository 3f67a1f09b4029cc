/** WebSocket: /ws. */
import { post, settled } from './http.js';
import type { Ask, Host, Link, Sub } from './link.js';
import { isCursor, later } from './names.js';
import { closeCodeOf, SluiceError, type WebSocketLike } from './types.js';

const QUIET = 30_000; // nothing for so long: ask
const PONG = 5_000; // ... and wait so long for an answer

interface Pending {
  confirm?: boolean;
  resolve(value: unknown): void;
  reject(error: SluiceError): void;
}

export class SocketLink implements Link {
  readonly transport = 'websocket';
  private socket: WebSocketLike;
  private next = 1;
  private pending = new Map<number, Pending>();
  private subscribing = new Map<number, Sub>();
  private told = false; // that it is alive
  private greeted = false;
  private over = false;
  private asked = false;
  private heard = Date.now();
  private timer: ReturnType<typeof setTimeout>;

  constructor(private host: Host) {
    this.socket = new host.WebSocket!(host.base.replace(/^http/, 'ws') + '/ws', 'sluice.v1');
    // A proxy may let the handshake through and nothing after it.
    this.timer = setTimeout(() => this.end('no welcome'), host.WebSocket!.patience || host.connectTimeout);
    this.socket.onopen = () => host.token && this.renew();
    this.socket.onmessage = (event: MessageEvent) => this.read(event.data);
    this.socket.onclose = (event: CloseEvent) => this.end(event.reason || `closed (${event.code})`, event.code);
    this.socket.onerror = () => {}; // close follows
  }

  start(): boolean {
    this.update(this.host.subs(), []);
    return true;
  }

  update(added: Sub[], removed: Sub[]): void {
    for (const sub of removed) this.send({ type: 'unsubscribe', channel: sub.channel });
    for (const sub of added) {
      const id = this.next++;
      this.subscribing.set(id, sub);
      this.send({
        type: 'subscribe',
        id,
        channel: sub.channel,
        cursor: sub.position,
        since: sub.since ? `${sub.since}ms` : undefined,
        interval: sub.interval ? `${sub.interval}ms` : undefined,
      });
    }
  }

  renew(): void {
    this.send({ type: 'hello', id: 0, token: this.host.token });
  }

  ask(ask: Ask): Promise<unknown> {
    const { channel, body, reply, confirm, key } = ask;
    if (typeof body !== 'string') return post(this.host, ask); // frames are JSON, which has no bytes
    const id = this.next++;
    return new Promise((resolve, reject) => {
      this.pending.set(id, { resolve, reject, confirm });
      const head = JSON.stringify({ type: reply ? 'request' : 'publish', id, channel, timeout: reply, confirm, idempotency_key: key });
      this.write(`${head.slice(0, -1)},"data":${body}}`);
    });
  }

  check(): void {
    if (!this.told) return;
    clearTimeout(this.timer);
    this.asked = true;
    this.send({ type: 'ping' });
    this.timer = setTimeout(() => this.end('no answer to a ping'), PONG);
  }

  close(): void {
    this.finish();
    this.socket.close(1000);
  }

  private send(frame: object): void {
    this.write(JSON.stringify(frame));
  }

  private write(text: string): void {
    if (this.socket.readyState === 1) this.socket.send(text);
  }

  /** Asks as soon as nothing has come for long. Browsers answer the gateway's pings, but don't show them. */
  private listen(): void {
    clearTimeout(this.timer);
    const rest = this.heard + QUIET - Date.now();
    if (rest > 0) this.timer = setTimeout(() => this.listen(), rest);
    else this.check();
  }

  private sign(): void {
    if (this.told) return;
    this.told = true;
    this.listen();
    this.host.alive(this);
  }

  /** Other servers have a /ws as well: development servers, for instance. */
  private read(text: any): void {
    let frame;
    try {
      frame = text.type ? text : JSON.parse(text); // another tab has taken it apart
    } catch {} // seen below
    this.greeted ||= frame?.type === 'welcome' && isCursor(frame.cursor);
    if (frame && this.greeted) this.receive(frame);
    else this.end('the WebSocket is not of a gateway');
  }

  private receive(frame: any): void {
    if (this.over) return;
    this.heard = Date.now();
    const host = this.host;
    const waiting = this.pending.get(frame.id);
    const sub = this.subscribing.get(frame.id);
    if (this.asked) {
      this.asked = false;
      this.listen();
    }
    switch (frame.type) {
      case 'welcome':
        if (!host.token) this.sign();
        break;
      case 'hello':
        host.identity({ subject: frame.subject, expires: frame.expires });
        this.sign();
        break;
      case 'expiring':
        host.expiring();
        break;
      case 'message':
        host.message(frame, this.subscribing);
        break;
      case 'subscribed':
        this.subscribing.delete(frame.id);
        if (sub) {
          sub.left = frame.snapshot;
          sub.goal = frame.cursor;
          if (!sub.left) sub.position = later(sub.position, frame.cursor);
        }
        break;
      case 'status':
        host.worth(frame);
        break;
      case 'gap':
        host.gap(frame);
        break;
      case 'upstream':
        host.upstream(frame);
        break;
      case 'unsubscribed': // without having asked
      case 'error': {
        const channel = sub?.channel || frame.channel;
        const error = new SluiceError(frame.code, frame.message, frame.reason, channel);
        this.subscribing.delete(frame.id);
        this.pending.delete(frame.id);
        if (waiting) waiting.reject(error);
        else if (closeCodeOf(frame.code)) this.end(frame.message, 4401);
        else if (channel && frame.code) host.refused(channel, error);
        break;
      }
      case 'published':
      case 'accepted':
        if (waiting?.confirm) break; // the device's word is to come
      case 'response':
      case 'confirmed':
      case 'timeout':
        this.pending.delete(frame.id);
        waiting?.resolve(settled(frame.type, frame));
    }
  }

  private finish(): void {
    this.over = true;
    clearTimeout(this.timer);
    this.socket.onclose = this.socket.onmessage = null;
    for (const { reject } of this.pending.values())
      reject(new SluiceError('connection_lost', 'the connection broke; whether it took effect is unknown'));
  }

  private end(reason: string, code?: number): void {
    if (this.over) return;
    this.close();
    this.host.dead(this, { reason, code });
  }
}
