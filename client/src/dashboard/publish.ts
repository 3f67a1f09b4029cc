/** Publishing to a channel: what to send, and how far it got. */
import { type Sluice, SluiceError } from '../client/index';
import { el } from './dom';
import { isObject } from './format';

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
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
        void this.send(false);
      },
    }, this.quick, this.text, el('div', { class: 'actions' },
      el('button', { class: 'primary', 'data-testid': 'publish-send' }, 'Publish'),
      el('button', { type: 'button', 'data-testid': 'publish-request', title: 'Publishes and waits for the device’s answer (MQTT 5 request/response)', click: () => void this.send(true) }, 'Request'),
      el('span', { class: 'quiet small' }, 'Ctrl+Enter publishes')), this.result);
    this.text.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) void this.send(false);
    });
    this.element = el('section', { class: 'publish' }, el('h3', {}, 'Publish'), form);
  }

  suggest(value: unknown): void {
    const words = suggestions(value);
    this.quick.replaceChildren(...words.map((text) => {
      const word = text.replace(/.*:"?|["}]/g, '');
      return el('button', { type: 'button', class: 'chip', click: () => ((this.text.value = text), void this.send(false)) }, word.toUpperCase());
    }));
    if (!this.text.value) this.text.value = words[0] ?? (typeof value === 'number' ? String(value) : '');
  }

  private stage(name: string, ...content: (Node | string)[]): void {
    this.result.dataset.stage = name;
    this.result.replaceChildren(...content);
  }

  private async send(request: boolean): Promise<void> {
    const round = ++this.round;
    const channel = this.channel();
    const data = parse(this.text.value);
    const started = performance.now();
    const took = (): string => `${Math.max(1, Math.round(performance.now() - started))} ms`;
    if (!channel) return this.stage('error', 'Name a channel first.');
    this.stage('sending', request ? 'Waiting for the device…' : 'Sending…');
    try {
      const answer = request ? await this.client.request(channel, data) : await this.client.publish(channel, data);
      if (round !== this.round) return;
      if (request) this.stage('response', el('b', {}, 'Answered'), ` by the device, ${took()}`, el('pre', {}, JSON.stringify(answer, null, 2)));
      else if (answer === 'published') this.stage('published', el('b', {}, 'Published'), ` and acknowledged by the broker, ${took()}`);
      else this.stage('accepted', el('b', {}, 'Accepted'), ` and handed to the broker; QoS 0 has no acknowledgement`);
    } catch (error) {
      if (round !== this.round) return;
      const { code, message } = error instanceof SluiceError ? error : { code: 'error', message: String(error) };
      this.stage('error', el('b', {}, code), ` ${message}`);
    }
  }
}
