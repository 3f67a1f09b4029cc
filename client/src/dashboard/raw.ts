/** The value as JSON, with what changed since the last one marked, and what one may want to copy of the channel. */
import { copyText } from './copy';
import { el, setText } from './dom';
import { isRaw, parseExactly, rounded } from './exact';
import { explain, yaml } from './explain';
import { type Json, begin, isObject } from './format';
import { api } from './session';
import type { Channel } from './store';

const MOST = 1000; // lines
const LONG = 5000; // letters of one

interface Line {
  text: string;
  changed: boolean;
}

/** What is copied of a value: a text as it is, else its JSON. */
export const plain = (data: unknown): string => (typeof data === 'string' ? data : JSON.stringify(data, null, 2));

/** Up to one line more than are shown. */
function print(value: Json, before: unknown, out: Line[], indent: string, key: string, comma: string, known: boolean): void {
  const scalar = typeof value !== 'object' || value === null || isRaw(value) || !Object.keys(value).length;
  if (scalar) {
    const text = JSON.stringify(value);
    out.push({ text: indent + key + text + comma, changed: known && text !== JSON.stringify(before) });
    return;
  }
  const list = Array.isArray(value);
  const entries: [string, Json][] = Object.entries(value);
  const same = list ? Array.isArray(before) : isObject(before);
  out.push({ text: indent + key + (list ? '[' : '{'), changed: known && !same });
  for (let i = 0; i < entries.length && out.length <= MOST; i++) {
    const [name, item] = entries[i];
    print(item, same && Object.hasOwn(before as object, name) ? (before as Record<string, unknown>)[name] : undefined, out, indent + '  ',
      list ? '' : JSON.stringify(name) + ': ', i < entries.length - 1 ? ',' : '', known);
  }
  out.push({ text: indent + (list ? ']' : '}') + comma, changed: false });
}

export class Raw {
  readonly element = el('div', { class: 'raw' });
  private code = el('pre', { 'data-testid': 'raw', tabindex: '0', 'aria-label': 'The value as JSON' });
  private note = el('p', { class: 'quiet small' });
  private exact?: { cursor: string; data: unknown };
  private asked = '';
  private done = el('span', { class: 'quiet small', role: 'status', 'data-testid': 'copied' });

  constructor(private channel: Channel) {
    const offer = (label: string, text: () => string | undefined | Promise<string | undefined>): HTMLElement =>
      el('button', { type: 'button', class: 'small', click: () => void this.copy(label, text()) }, label);
    const address = (): string => new URL('channels/' + encodeURIComponent(channel.name).replace(/'/g, '%27'), location.href.replace(/[?#].*/, '')).href;
    const base = (): string => new URL('.', location.href.replace(/[?#].*/, '')).href.replace(/\/$/, '');
    this.element.append(
      this.code, this.note,
      el('div', { class: 'actions', role: 'group', 'aria-label': 'Copy' }, el('span', { class: 'quiet small' }, 'Copy'),
        offer('Value', () => plain(this.value())),
        offer('Channel', () => channel.name),
        offer('curl', () => `curl '${address()}'\n`),
        offer('JavaScript', () => `const sluice = new Sluice(${JSON.stringify(base())});\nsluice.subscribe(${JSON.stringify(channel.name)}, (message) => console.log(message.data));\n`),
        offer('YAML route', async () => {
          const [route] = (await explain(channel.name))?.routes ?? [];
          return route && yaml(route);
        })),
      this.done,
    );
    this.show();
  }

  private value(): unknown {
    const { message } = this.channel;
    return this.exact?.cursor === message!.cursor ? this.exact.data : message!.data;
  }

  /** A value with numbers that the browser has rounded is asked for again, as text. */
  private async askExactly(cursor: string): Promise<void> {
    const answer = await api(`/channels/${encodeURIComponent(this.channel.name)}`).catch(() => undefined);
    if (!answer?.ok) return;
    const found = parseExactly(await answer.text()) as { cursor: string; data: unknown };
    if (found.cursor !== cursor) return; // a newer one is on its way here
    this.exact = found;
    this.show();
  }

  show(): void {
    const { message, before } = this.channel;
    const lines: Line[] = [];
    const value = this.value();
    if (this.asked !== message!.cursor && rounded(value)) void this.askExactly((this.asked = message!.cursor));
    setText(this.note, rounded(value) ? 'Whole numbers beyond 2^53 are as this browser rounds them.' : '');
    print(value as Json, before?.data, lines, '', '', '', !!before);
    this.code.replaceChildren(...lines.slice(0, MOST).map(({ text, changed }) => {
        const line = begin(text, LONG, '; copy the value to see them') + '\n';
        return changed ? el('mark', {}, line) : line;
      }),
      ...(lines.length > MOST ? ['… and more lines; copy the value to see them'] : []));
  }

  private async copy(label: string, text: string | undefined | Promise<string | undefined>): Promise<void> {
    const found = await text;
    if (found === undefined) return setText(this.done, 'You may not see the routes.');
    setText(this.done, (await copyText(found)) ? `Copied: ${label}` : 'The browser does not let this page copy.');
  }
}
