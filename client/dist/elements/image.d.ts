import { SluiceElement } from './element.js';
/** `<sluice-image channel="cameras/door" alt="Front door">`: pictures as bytes, as base64, or as an address. */
export declare class SluiceImage extends SluiceElement {
    static readonly css = "\nimg { display: block; max-width: 100%; min-height: 1em; }\np { margin: 0; color: var(--quiet); }";
    private image;
    private empty;
    private source;
    private wanted;
    private made;
    protected build(): void;
    private nothing;
    private address;
    /** `codec: blob`: {"url", "type", "bytes"}. */
    private blob;
    private fetch;
    protected paint(): void;
}
