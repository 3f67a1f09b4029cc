import { SluiceElement } from './element.js';
/** `<sluice-gauge channel="tank" path="level" min="0" max="100" unit="%" label="Tank">` */
export declare class SluiceGauge extends SluiceElement {
    static readonly css = "\n:host { display: inline-block; width: 9em; text-align: center; }\nsvg { display: block; width: 100%; }\npath { fill: none; stroke-width: 10; stroke-linecap: round; }\n.rail { stroke: var(--line); } .bar { stroke: var(--accent); }\n.value { display: block; margin-top: -1.9em; font-size: 1.35em; font-weight: 600; font-variant-numeric: tabular-nums; }\n.label { display: block; color: var(--quiet); font-size: .85em; overflow-wrap: anywhere; }";
    private meter;
    private bar;
    private shown;
    private name;
    protected build(): void;
    protected paint(): void;
}
