/** Sessions and rates of the gateway, from /metrics, for those who may reach it. */
import { byId, el } from './dom';
import { bytes, number } from './format';
import { api } from './session';

const PACE = 2000; // ms

type Samples = Map<string, number>;

/** Prometheus text: the sum of each metric, and each sample by its labels. */
export function samples(text: string): Samples {
  const out: Samples = new Map();
  for (const line of text.split('\n')) {
    const found = /^(\w+)(\{.*\})? (\S+)/.exec(line);
    if (!found) continue;
    const [, name, labels, value] = found;
    out.set(name, (out.get(name) ?? 0) + Number(value));
    for (const [, key, label] of (labels ?? '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
      const at = `${name} ${key} ${label}`;
      out.set(at, (out.get(at) ?? 0) + Number(value));
    }
  }
  return out;
}

export class Operator {
  private dialog = byId<HTMLDialogElement>('operator');
  private box = byId('operator-box');
  private last?: { at: number; samples: Samples };
  private timer?: ReturnType<typeof setInterval>;

  constructor() {
    byId('open-gateway').addEventListener('click', () => {
      byId<HTMLDetailsElement>('menu').open = false;
      this.last = undefined;
      this.box.replaceChildren(el('p', { class: 'quiet' }, 'Asking the gateway…'));
      this.dialog.showModal();
      void this.look();
      this.timer = setInterval(() => void this.look(), PACE);
    });
    this.dialog.addEventListener('close', () => clearInterval(this.timer));
  }

  private async look(): Promise<void> {
    const answer = await api('/metrics').catch(() => undefined);
    if (!answer?.ok) {
      this.box.replaceChildren(el('p', {}, 'The gateway does not show you its metrics.'));
      return;
    }
    const now = { at: performance.now(), samples: samples(await answer.text()) };
    const { last } = this;
    this.last = now;
    const value = (name: string): number => now.samples.get(name) ?? 0;
    const per = (name: string): string => (last ? `${number(Math.round(((value(name) - (last.samples.get(name) ?? 0)) / (now.at - last.at)) * 10_000) / 10)}/s` : '…');
    const transports = [...now.samples].filter(([name, count]) => count && name.startsWith('sluice_transport_sessions transport ')).map(([name, count]) => `${count} ${name.split(' ')[2]}`);
    const rows: [string, string, string][] = [
      ['Broker', value('sluice_mqtt_up') ? 'Connected' : 'Down', ''],
      ['Connections', String(value('sluice_connections')), `of ${value('sluice_connections_limit')}`],
      ['Sessions', String(value('sluice_sessions')), transports.join(', ')],
      ['Channels', String(value('sluice_channels') / Math.max(1, value('sluice_workers'))), ''],
      ['Messages from the broker', per('sluice_messages_total'), ''],
      ['Deliveries to clients', per('sluice_deliveries_total'), ''],
      ['Publishes by clients', per('sluice_publishes_total'), `${value('sluice_publish_errors_total')} failed since the start`],
      ['Sent', `${bytes(value('sluice_sent_bytes_total'))}`, ''],
      ['Gaps', String(value('sluice_gaps_total')), 'since the start'],
      ['Refused', String(value('sluice_auth_failures_total') + value('sluice_forbidden_total')), 'credentials and rights, since the start'],
      ['Memory', bytes(value('process_resident_memory_bytes')), `${bytes(value('sluice_history_bytes'))} of it history`],
    ];
    this.box.replaceChildren(el('table', {}, el('tbody', {}, ...rows.map(([name, text, note]) =>
      el('tr', {}, el('th', { scope: 'row' }, name), el('td', {}, text), el('td', { class: 'quiet' }, note))))));
  }
}
