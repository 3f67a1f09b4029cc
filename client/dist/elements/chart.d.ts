import type { Message, Sluice } from '../types/index.js';
import { SluiceElement } from './element.js';
/** `<sluice-chart channel="rooms/kitchen" path="temperature,humidity" span="1h">`: the past, and then live. The past of a
 * span are the gateway's windows (`/series`), without `span` the channel's history. Without `path` the value itself, or
 * the first number in it. */
export declare class SluiceChart extends SluiceElement {
    static readonly css = "\n:host { display: block; min-width: 12em; --s0: var(--sluice-series-0, var(--accent)); --s1: var(--sluice-series-1, #d9730d); --s2: var(--sluice-series-2, #7048c8); --s3: var(--sluice-series-3, #2b8a3e); }\ncanvas { display: block; width: 100%; height: var(--sluice-chart-height, 10em); }\nfigcaption { display: flex; flex-wrap: wrap; gap: .1em 1em; font-size: .85em; color: var(--quiet); }\nfigure { margin: 0; }\ni { display: inline-block; width: .8em; height: .25em; margin-right: .4em; vertical-align: middle; }";
    private canvas;
    private legend;
    private points;
    private found?;
    private past;
    private asked;
    private ahead;
    private frame;
    private turn?;
    protected build(): void;
    protected joined(client: Sluice, channel: string): void;
    /** Asks for the past: the windows of each field, or the history. One that may not be read leaves a chart of what comes. */
    private load;
    protected reset(): void;
    protected take(message: Message): void;
    private fields;
    protected paint(): void;
    private draw;
}
