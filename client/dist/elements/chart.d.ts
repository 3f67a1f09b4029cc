import type { Message, Sluice } from '../types/index.js';
import { SluiceElement } from './element.js';
/** `<sluice-chart channel="rooms/kitchen" path="temperature,humidity" span="1h">`: the channel's history, and then live.
 * Without `path` the value itself, or the first number in it. */
export declare class SluiceChart extends SluiceElement {
    static readonly css = "\n:host { display: block; min-width: 12em; }\ncanvas { display: block; width: 100%; height: var(--sluice-chart-height, 10em); }\nfigcaption { display: flex; flex-wrap: wrap; gap: .1em 1em; font-size: .85em; color: var(--quiet); }\nfigure { margin: 0; }\ni { display: inline-block; width: .8em; height: .25em; margin-right: .4em; vertical-align: middle; }";
    private canvas;
    private legend;
    private points;
    private frame;
    private round;
    private sizes?;
    protected build(): void;
    connectedCallback(): void;
    disconnectedCallback(): void;
    protected joined(client: Sluice, channel: string): void;
    protected reset(): void;
    protected take(message: Message): void;
    private fields;
    protected paint(): void;
    private draw;
}
