/** What stands where no channel does: why, and what to do. */
import { byId, el } from './dom';
import { explain } from './explain';

const SHOWN = 5; // routes

/** A topic that a route takes: its captures and wildcards filled with something. */
const example = (topic: string): string => topic.replace(/\{[^}]*\}/g, (part) => part.slice(1, -1).replace(/\W/g, '')).replace(/\+/g, 'x').replace(/#/g, 'x');

const quoted = (text: string): string => (/^[\w./:-]+$/.test(text) ? text : `'${text.replace(/'/g, `'\\''`)}'`);

export class Empty {
  private state = '';

  constructor(private clear: () => void) {}

  show(shown: number, all: number, off: boolean): void {
    const state = off || shown ? '' : all ? 'filtered' : 'none';
    const box = byId('empty');
    box.hidden = !state;
    if (state === this.state) return;
    this.state = state;
    if (state === 'filtered')
      box.replaceChildren(el('p', {}, 'No channel matches this filter.'), el('button', { type: 'button', 'data-testid': 'clear-filter', click: this.clear }, 'Clear the filter'));
    else if (state) {
      box.replaceChildren(el('p', {}, 'No channel has a value yet.'));
      void this.routes(box);
    }
  }

  /** Made of the gateway's own routes, if one may see them. */
  private async routes(box: HTMLElement): Promise<void> {
    const found = await explain();
    if (this.state !== 'none') return;
    box.append(el('p', { class: 'quiet' }, 'Channels appear as soon as a device publishes on a topic that a route maps.'));
    if (!found?.routes.length) return;
    const broker = /^mqtts?:\/\/(\[[^\]]+\]|[^:/]+)(?::(\d+))?/.exec(found.broker ?? '');
    const where = broker ? ` -h ${broker[1]}${broker[2] && broker[2] !== '1883' ? ` -p ${broker[2]}` : ''}` : '';
    box.append(
      el('ul', { class: 'routes' }, ...found.routes.slice(0, SHOWN).map(({ topic, channel }) =>
        el('li', {}, el('span', { class: 'mono' }, topic), ...(channel && channel !== topic ? [el('span', { class: 'quiet' }, ' → '), el('span', { class: 'mono' }, channel)] : [])))),
      ...(found.routes.length > SHOWN ? [el('p', { class: 'quiet' }, `and ${found.routes.length - SHOWN} more`)] : []),
      el('p', { class: 'quiet' }, 'For example, from a machine that reaches the broker:'),
      el('code', { 'data-testid': 'example' }, `mosquitto_pub${where} -t ${quoted(example(found.routes[0].topic))} -m ${found.routes[0].codec === 'json' ? `'{"value":21.5}'` : '21.5'}`),
    );
  }
}
