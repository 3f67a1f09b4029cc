import { SluiceElement } from './element.js';
/** `<sluice-slider channel="devices/lamp" path="brightness" min="0" max="254" label="Brightness">`: publishes when it is
 * let go, as the switch does. */
export declare class SluiceSlider extends SluiceElement {
    static readonly css = "\n:host { display: inline-block; min-width: 12em; }\n.body { display: grid; grid-template-columns: 1fr auto; gap: .1em .8em; align-items: center; }\ninput { grid-column: 1 / 3; width: 100%; min-height: 2em; margin: 0; accent-color: var(--accent); cursor: pointer; }\ninput:disabled { cursor: not-allowed; }\n.value { font-variant-numeric: tabular-nums; }";
    private input;
    private name;
    private output;
    private held;
    protected build(): void;
    private send;
    protected reset(): void;
    protected paint(): void;
}
