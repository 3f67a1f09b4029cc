/** Copying and saving. */
import type { Message } from '../client/index';
import { fields, isBinary, isObject } from './format';

/** Pages that do not come over TLS have no navigator.clipboard, and gateways in a house seldom have TLS. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement('textarea');
    area.value = text;
    area.style.cssText = 'position:fixed;opacity:0';
    const focused = document.activeElement as HTMLElement | null;
    (focused?.closest('dialog') ?? document.body).append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    focused?.focus();
    return done;
  }
}

export function save(name: string, type: string, text: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** RFC 4180. A text that a spreadsheet would run as a formula is made a text. */
function cell(value: unknown): string {
  if (value === undefined || value === null) return '';
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  let text = typeof value === 'string' ? value : JSON.stringify(value);
  if (/^[=+\-@\t\r]/.test(text)) text = "'" + text;
  return /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
}

/** The history as a table: a column for each field of objects, else one for the value. */
export function csv(messages: Message[]): string {
  const columns = new Set<string>();
  const rows = messages.map(({ data, ts }) => {
    const flat = isObject(data) && !isBinary(data);
    const row = new Map<string, unknown>(flat ? [...fields(data), ...strings(data)] : [['value', data]]);
    for (const name of row.keys()) columns.add(name);
    return { ts, row };
  });
  const head = ['time', ...columns].map(cell).join(',');
  return [head, ...rows.map(({ ts, row }) => [new Date(ts).toISOString(), ...[...columns].map((name) => cell(row.get(name)))].join(','))].join('\r\n') + '\r\n';
}

function strings(value: unknown, path = '', found: [string, string][] = []): [string, string][] {
  if (typeof value === 'string' || Array.isArray(value)) found.push([path, typeof value === 'string' ? value : JSON.stringify(value)]);
  else if (isObject(value))
    for (const key of Object.keys(value)) {
      if (found.length >= 64) break;
      strings(value[key], path ? `${path}.${key}` : key, found);
    }
  return found;
}
