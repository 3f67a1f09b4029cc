import { SluiceElement } from './element.js';
/** `<sluice-value channel="rooms/kitchen/t" path="temperature" unit="°C" digits="1" max-age="5m">` */
export declare class SluiceValue extends SluiceElement {
    static readonly css = "\n.unit { margin-left: .2em; color: var(--quiet); }\n.value { font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }";
    private shown;
    private unit;
    protected build(): void;
    protected paint(): void;
}
