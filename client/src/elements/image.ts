import { isBlobAddress } from '../client/blob.js';
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
  private wanted = ''; // the address whose bytes are on their way
  private made = ''; // an address that was made of bytes

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

  /** `codec: blob`: {"url", "type", "bytes"}. */
  private blob(): string | undefined {
    const value = this.value as any;
    return isBlobAddress(value?.url) && /^image\//.test(value?.type) ? value.url : undefined;
  }

  private async fetch(url: string): Promise<void> {
    if (this.wanted === url) return;
    this.wanted = url;
    try {
      const bytes = await this.client!.payload(url);
      if (this.wanted !== url) return; // there is a newer one
      const before = this.made;
      this.image.src = this.source = this.made = URL.createObjectURL(bytes);
      if (before) URL.revokeObjectURL(before);
      this.empty.textContent = '';
      this.image.hidden = false;
    } catch (error) {
      if (this.wanted === url) this.nothing((error as Error).message);
    }
  }

  protected paint(): void {
    const blob = this.blob();
    this.image.alt = this.text('alt') || this.label;
    if (blob && this.client!.signedIn) return void this.fetch(blob);
    this.wanted = '';
    const source = blob ? this.client!.address(blob) : this.address();
    if (!source) return this.nothing(this.message ? 'this is no picture' : 'no picture yet');
    this.empty.textContent = '';
    this.image.hidden = false;
    if (source !== this.source) this.image.src = this.source = source;
  }
}
