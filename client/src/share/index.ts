/** `share` of the client: one connection for all tabs of an origin, in a SharedWorker or in one of the tabs. */
import type { Host } from '../client/link.js';
import type { Options, Share, WebSocketLike } from '../client/types.js';
import { lineToLeader } from './leader.js';
import { type Down, type Line, nameOf, type Opening } from './line.js';
import { lineToWorker, serveWorker } from './worker.js';

/** Looks like a WebSocket to the client's link. */
abstract class SharedSocket implements WebSocketLike {
  /** The tabs' connection may have to wait for the gateway; its state is told meanwhile. */
  static readonly patience = 2 ** 31 - 1;
  readyState = 0;
  onopen: any;
  onmessage: any;
  onclose: any;
  onerror: any;
  private line?: Line;
  private release = (): void => {};

  constructor(private host: Host, options: Options, connect: (name: string, opening: Opening, take: (down: Down) => void, broken: () => void) => Line) {
    const { base, token } = host;
    const { transports, connectTimeout, upgradeAfter, credentials, timeout } = options;
    const said = { base, token, options: { transports, connectTimeout, upgradeAfter, credentials, timeout } };
    const opening: Opening = JSON.parse(JSON.stringify(said)); // without what is not said
    const name = nameOf(opening);
    globalThis.addEventListener('pagehide', this.leave);
    void this.hold(name).then((lock) => {
      if (this.readyState === 3) return;
      opening.lock = lock;
      this.line = connect(name, opening, (down) => this.take(down), this.leave);
      this.line.send({ open: opening });
    });
  }

  send(text: string): void {
    this.line?.send({ text });
  }

  close(): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    globalThis.removeEventListener('pagehide', this.leave);
    this.line?.send('close');
    this.line?.close();
    this.release();
  }

  /** A lock that is free again when this page is gone, however it goes. */
  private hold(name: string): Promise<string | undefined> {
    const { locks } = navigator;
    if (!locks) return Promise.resolve(undefined);
    const lock = `${name} ${Math.random()}`;
    return new Promise((resolve) => {
      void locks.request(lock, () => new Promise<void>((release) => {
        this.release = release;
        if (this.readyState === 3) release();
        resolve(lock);
      }));
    });
  }

  private leave = (): void => this.end('the page was left');

  private end(reason: string, code = 0): void {
    if (this.readyState === 3) return;
    this.close();
    this.onclose?.({ reason, code });
  }

  private take({ frame, status, complain, end }: Down): void {
    if (this.readyState === 3) return;
    if (frame?.type === 'welcome') {
      this.readyState = 1;
      this.onopen();
    }
    if (frame) this.onmessage?.({ data: frame });
    if (status) this.host.status(status);
    if (complain) this.host.complain(complain.code, complain.message);
    if (end) this.end(end.reason, end.code);
  }
}

/** `worker`: the address of this module, if a SharedWorker may run it: one of the page's own origin. */
export function shareBy(worker?: string | URL): Share {
  let usable = !!worker && !!globalThis.SharedWorker && new URL(worker, globalThis.location?.href).origin === globalThis.location?.origin;
  return async (host: Host, options: Options) => {
    const electing = globalThis.BroadcastChannel && globalThis.navigator?.locks;
    if (!usable && !electing) return undefined;
    return class extends SharedSocket {
      constructor() {
        super(host, options, (name, opening, take, broken) => {
          const failed = (): void => {
            usable = !electing; // where there is nothing else, it is tried again
            broken();
          };
          return usable ? lineToWorker(String(worker), name, take, failed) : lineToLeader(name, { open: opening }, take);
        });
      }
    };
  };
}

export const share = shareBy();

serveWorker();
