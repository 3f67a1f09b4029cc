/** JSON as a tree of native <details>, updated in place so that what is open stays open. Numbers can be charted. */
import { el, icon, setText } from './dom';
import { type Json, begin, isBinary, isObject, number, short } from './format';

export interface TreeHost {
  charted(path: string): boolean;
  toggle(path: string): void;
}

const MOST = 200; // items of one branch
const FEW = 20; // ... that are open at first on the second level
const LONG = 2000; // letters of a text
const LONGEST_KEY = 200;

interface Node {
  element: HTMLElement;
  value: HTMLElement;
  children?: Map<string, Node>;
  list?: HTMLElement;
  kind: string;
  /** Built while it is open only: a value may be deep and large. */
  details?: HTMLDetailsElement;
  /** What it shows, and showed last. */
  latest?: Json;
  text?: string;
}

const kindOf = (value: Json): string =>
  Array.isArray(value) ? 'list' : isObject(value) && !isBinary(value) ? 'object' : typeof value === 'number' ? 'number' : 'leaf';

const describe = (value: Json): string =>
  Array.isArray(value)
    ? `${value.length} item${value.length === 1 ? '' : 's'}`
    : isObject(value) && !isBinary(value)
      ? `${Object.keys(value).length} field${Object.keys(value).length === 1 ? '' : 's'}`
      : typeof value === 'number' ? number(value) : typeof value === 'string' ? begin(JSON.stringify(value), LONG) : value === null ? 'null' : short(value);

export class Tree {
  readonly element = el('div', { class: 'tree' });
  private root?: Node;

  constructor(private host: TreeHost) {}

  show(value: Json): void {
    if (!this.root || this.root.kind !== kindOf(value)) {
      this.root = this.make('', '', value, 0);
      this.element.replaceChildren(this.root.list ?? this.root.element);
    }
    this.fill(this.root, '', value, 0);
  }

  /** The chart changed otherwise. */
  refresh(): void {
    for (const button of this.element.querySelectorAll<HTMLButtonElement>('button[data-path]'))
      button.setAttribute('aria-pressed', String(this.host.charted(button.dataset.path!)));
  }

  private make(key: string, path: string, value: Json, depth: number): Node {
    const kind = kindOf(value);
    const text = el('span', { class: `leaf ${typeof value}` });
    if (kind === 'list' || kind === 'object') {
      const list = el('ul');
      const size = Object.keys(value as object).length;
      const details = el('details', { open: depth === 0 || (depth === 1 && size <= FEW) }, el('summary', {}, el('span', { class: 'key' }, begin(key, LONGEST_KEY)), ' ', text), list);
      text.className = 'quiet';
      const node: Node = { element: el('li', {}, details), value: text, children: new Map(), list, kind, details: depth ? details : undefined };
      details.addEventListener('toggle', () => node.latest !== undefined && this.fill(node, path, node.latest, depth));
      return node;
    }
    const element = el('li', { class: 'field-row' }, el('span', { class: 'key' }, begin(key, LONGEST_KEY)), text);
    if (kind === 'number' && path)
      element.append(
        el('button', {
          type: 'button', class: 'plain icon chart-button', 'data-path': path, title: 'Chart', 'aria-pressed': String(this.host.charted(path)),
          'aria-label': `Chart ${path}`, click: () => this.host.toggle(path),
        }, icon('M4 19h16M5 15l4-5 4 3 6-8')),
      );
    return { element, value: text, kind };
  }

  private fill(node: Node, path: string, value: Json, depth: number): void {
    const text = describe(value);
    const changed = !!node.text && node.text !== text;
    if (node.kind !== 'object' && node.kind !== 'list') {
      node.value.classList.toggle('changed', changed);
      node.value.title = changed ? `was ${node.text}` : '';
    }
    node.text = text;
    setText(node.value, text);
    node.latest = value;
    if (!node.children || node.details?.open === false) return;
    const entries: [string, Json][] = Array.isArray(value)
      ? value.slice(0, MOST).map((item, i) => [String(i), item])
      : Object.entries(value as { [key: string]: Json }).slice(0, MOST);
    const seen = new Set<string>();
    let at = 0;
    for (const [key, item] of entries) {
      seen.add(key);
      const own = path ? `${path}.${key}` : key;
      let child = node.children.get(key);
      if (!child || child.kind !== kindOf(item)) {
        child?.element.remove();
        child = this.make(key, own, item, depth + 1);
        node.children.set(key, child);
      }
      if (node.list!.children[at] !== child.element) node.list!.insertBefore(child.element, node.list!.children[at] ?? null);
      at++;
      this.fill(child, own, item, depth + 1);
    }
    for (const [key, child] of node.children) {
      if (seen.has(key)) continue;
      child.element.remove();
      node.children.delete(key);
    }
  }
}
