/** Publishing to a channel: what to send, and how far it got. */
import { type Sluice, SluiceError } from '../client/index';
import { el } from './dom';
import { rounded } from './exact';
import { isObject } from './format';
import { api } from './session';

/** May this client publish anything at all? */
export async function mayPublish(): Promise<boolean> {
  const answer = await api('/channels?filter=$none').catch(() => undefined);
  return !answer?.ok || (await answer.json()).publish !== false;
}

const looksLikeJson = (text: string): boolean => /^\s*[{["]/.test(text);

/** JSON, or else the text; undefined with what is wrong if it was meant to be JSON and is not. */
function read(text: string): { data: unknown; problem?: string } {
  try {
    const data = JSON.parse(text);
    // What the browser would round is sent as it was written.
    return { data: rounded(data) ? new TextEncoder().encode(text.trim()) : data };
  } catch (error) {
    return { data: text, problem: looksLikeJson(text) ? String((error as Error).message) : undefined };
  }
}

const REASONS: Record<string, string> = {
  forbidden: 'Your role may not publish here, or the channel’s route has no publish: block.',
  unknown_channel: 'No route leads to this channel.',
  upstream_down: 'The broker can’t be reached.',
  no_responder: 'No device is subscribed to the topic of this request.',
  unsupported: 'The route of this channel confirms nothing (publish.confirm), or the broker speaks MQTT 3.1.1, which knows no requests. Nothing was sent.',
  not_json: 'This channel takes JSON only.',
  timeout: 'No answer in time. Whether it took effect is unknown.',
  offline: 'There is no connection to the gateway; nothing was sent.',
};

/** What a device that said this might like to hear. */
function suggestions(value: unknown): string[] {
  const onOff = (word: unknown): boolean => typeof word === 'string' && /^(on|off)$/i.test(word);
  if (onOff(value)) return ['ON', 'OFF', 'TOGGLE'];
  if (isObject(value) && onOff(value.state)) return ['{"state":"ON"}', '{"state":"OFF"}', '{"state":"TOGGLE"}'];
  if (isObject(value) && typeof value.output === 'boolean') return ['on', 'off', 'toggle'];
  return [];
}

export class PublishBox {
  readonly element: HTMLElement;
  private text: HTMLTextAreaElement;
  private result = el('output', { class: 'result', 'data-testid': 'publish-result', 'aria-live': 'polite' });
  private quick = el('div', { class: 'quick' });
  private round = 0;

  constructor(private client: Sluice, private channel: () => string) {
    this.text = el('textarea', { rows: '2', 'data-testid': 'publish-text', spellcheck: 'false', autocapitalize: 'off', 'aria-label': 'What to publish: JSON or text' });
    const form = el('form', {
      submit: (event: Event) => {
        event.preventDefault();
        void this.send('publish');
      },
    }, this.quick, this.text, el('div', { class: 'actions' },
      el('button', { class: 'primary', 'data-testid': 'publish-send' }, 'Publish'),
      el('button', { type: 'button', 'data-testid': 'publish-request', title: 'Publishes and waits for the device’s answer (MQTT 5 request/response)', click: () => void this.send('request') }, 'Request'),
      el('button', { type: 'button', 'data-testid': 'publish-confirm', title: 'Publishes and waits until the device’s state shows it (publish.confirm of the route)', click: () => void this.send('confirm') }, 'Confirm'),
      el('span', { class: 'quiet small keys' }, 'Ctrl+Enter publishes')), this.result);
    this.text.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) void this.send('publish');
    });
    this.element = el('section', { class: 'publish' }, el('h3', {}, 'Publish'), form);
  }

  suggest(value: unknown): void {
    const words = suggestions(value);
    this.quick.replaceChildren(...words.map((text) => {
      const word = text.replace(/.*:"?|["}]/g, '');
      return el('button', { type: 'button', class: 'chip', click: () => ((this.text.value = text), void this.send('publish')) }, word.toUpperCase());
    }));
    if (!this.text.value) this.text.value = words[0] ?? (typeof value === 'number' ? String(value) : '');
  }

  private stage(name: string, ...content: (Node | string)[]): void {
    this.result.dataset.stage = name;
    this.result.replaceChildren(...content);
  }

  private async send(how: 'publish' | 'request' | 'confirm', asText = false): Promise<void> {
    const round = ++this.round;
    const channel = this.channel();
    const started = performance.now();
    const took = (): string => `${Math.max(1, Math.round(performance.now() - started))} ms`;
    if (!channel) return this.stage('error', 'Name a channel first.');
    if (!this.text.value && !asText)
      return this.stage('invalid', el('b', {}, 'Not sent: there is nothing to send.'), ' An empty payload clears a value that the broker keeps. ',
        el('button', { type: 'button', class: 'small', 'data-testid': 'publish-as-text', click: () => void this.send(how, true) }, 'Send it empty'));
    const { data, problem } = asText ? { data: this.text.value, problem: undefined } : read(this.text.value);
    if (problem)
      return this.stage('invalid', el('b', {}, 'Not sent: this is not valid JSON.'), ` ${problem} `,
        el('button', { type: 'button', class: 'small', 'data-testid': 'publish-as-text', click: () => void this.send(how, true) }, 'Send as text'));
    this.stage('sending', how === 'publish' ? 'Sending…' : 'Waiting for the device…');
    try {
      if (how === 'confirm') {
        const { status, data: there } = await this.client.publish(channel, data, { confirm: true });
        if (round !== this.round) return;
        if (status === 'confirmed') this.stage('confirmed', el('b', {}, 'Confirmed'), ` by the device’s state, ${took()}`);
        else this.stage('error', el('b', {}, 'Not confirmed.'), ' The broker has it; the device’s state does not show it in time:', el('pre', { tabindex: '0', 'aria-label': 'What it shows' }, JSON.stringify(there ?? null, null, 2)));
        return;
      }
      const answer = how === 'request' ? await this.client.request(channel, data) : await this.client.publish(channel, data);
      if (round !== this.round) return;
      if (how === 'request') this.stage('response', el('b', {}, 'Answered'), ` by the device, ${took()}`, el('pre', { tabindex: '0', 'aria-label': 'The answer' }, JSON.stringify(answer, null, 2)));
      else if (answer === 'published') this.stage('published', el('b', {}, 'Published'), ` and acknowledged by the broker, ${took()}`);
      else this.stage('accepted', el('b', {}, 'Accepted'), ` and handed to the broker; QoS 0 has no acknowledgement`);
    } catch (error) {
      if (round !== this.round) return;
      const { code, message } = error instanceof SluiceError ? error : { code: 'error', message: String(error) };
      this.stage('error', el('b', {}, REASONS[code] ?? message), ` (${code})`);
    }
  }
}
