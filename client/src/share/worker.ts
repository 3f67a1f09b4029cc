/** The hub in a SharedWorker, which the browser keeps as long as a tab uses it. */
import { Hub, type Tab } from './hub.js';
import type { Down, Line, Up } from './line.js';

export function lineToWorker(url: string, name: string, take: (down: Down) => void, broken: () => void): Line {
  const worker = new SharedWorker(url, { name, type: 'module' });
  worker.onerror = broken;
  worker.port.onmessage = ({ data }) => take(data);
  return { send: (up) => worker.port.postMessage(up), close: () => worker.port.close() };
}

/** Where this runs as the worker. */
export function serveWorker(): void {
  const scope = globalThis as any;
  if (!scope.SharedWorkerGlobalScope || !(scope instanceof scope.SharedWorkerGlobalScope)) return;
  const ports = new Map<Tab, MessagePort>();
  const hub = new Hub((tabs, down) => tabs.forEach((tab) => ports.get(tab)?.postMessage(down)));
  scope.onconnect = ({ ports: [port] }: MessageEvent) => {
    const tab: Tab = { wants: new Map() };
    ports.set(tab, port);
    const gone = (): void => {
      hub.leave(tab);
      ports.delete(tab);
    };
    port.onmessage = ({ data }: { data: Up }) => {
      hub.take(tab, data);
      if (data === 'close') gone();
      else if ('open' in data && data.open.lock) void navigator.locks?.request(data.open.lock, gone); // the tab has died
    };
  };
}
