import { el, SluiceElement } from './element.js';

const KINDS: [string, string][] = [['/9j/', 'jpeg'], ['iVBORw', 'png'], ['R0lGOD', 'gif'], ['UklGR', 'webp'], ['PHN2Zy', 'svg+xml'], ['PD94bWw', 'svg+xml'], ['Qk', 'bmp']];

/** `<sluice-image channel="cameras/door" alt="Front door">`: pictures as bytes, as base64, or as an address. */
export class SluiceImage extends SluiceElement {
  static readonly css = `
img { display: block; max-width: 100%; min-height: 1em; }
p { margin: 0; color: var(--quiet); }`;
  private image!: HTMLImageElement;
  private empty!: HTMLElement;
  private source = '';

  protected build(): void {
    this.image = el('img', { part: 'image', alt: '' });
    this.empty = el('p', { part: 'empty' });
    this.image.addEventListener('error', () => this.nothing('this is no picture'));
    this.root.append(el('div', { class: 'body' }, this.image, this.empty));
  }

  private nothing(why: string): void {
    this.image.hidden = true;
    this.empty.textContent = `${this.text('alt') || this.label}: ${why}`;
  }

  private address(): string {
    const value = this.value as any;
    const text = typeof value === 'string' ? value : typeof value?.base64 === 'string' ? value.base64 : typeof value?.image === 'string' ? value.image : '';
    if (/^(data:image\/|https?:\/\/|blob:)/.test(text)) return text;
    const kind = KINDS.find(([start]) => text.startsWith(start));
    return kind ? `data:image/${kind[1]};base64,${text}` : '';
  }

  protected paint(): void {
    const source = this.address();
    this.image.alt = this.text('alt') || this.label;
    if (!source) return this.nothing(this.message ? 'this is no picture' : 'no picture yet');
    this.empty.textContent = '';
    this.image.hidden = false;
    if (source !== this.source) this.image.src = this.source = source;
  }
}
