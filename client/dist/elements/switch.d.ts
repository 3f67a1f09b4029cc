import { SluiceElement } from './element.js';
/** `<sluice-switch channel="devices/lamp" path="state" label="Lamp">`: publishes on `channel`, or on `to`.
 *
 * What on and off are is taken from the attributes `on` and `off` (JSON or text), or else from what the device says:
 * true and false, 1 and 0, "ON" and "OFF". With `path` an object is published, {"state":"ON"}; `bare` publishes the
 * value alone. */
export declare class SluiceSwitch extends SluiceElement {
    static readonly css = "\nbutton { font: inherit; color: inherit; display: inline-flex; align-items: center; gap: .6em; min-height: 2.75em; padding: 0 .3em; border: 0; background: none; cursor: pointer; }\nbutton:disabled { cursor: not-allowed; opacity: .6; }\n.track { box-sizing: border-box; width: 2.9em; height: 1.6em; padding: .2em; border-radius: 1em; background: var(--line); border: 1px solid var(--quiet); }\n.knob { display: block; width: 1.1em; height: 1.1em; border-radius: 50%; background: var(--sluice-knob, #fff); box-shadow: 0 0 0 1px var(--quiet); }\n[aria-checked='true'] .track { background: var(--accent); }\n[aria-checked='true'] .knob { transform: translateX(1.3em); }\n[aria-checked='mixed'] .knob { transform: translateX(.65em); }\n@media (prefers-reduced-motion: no-preference) { .knob { transition: transform .15s; } }";
    private button;
    private name;
    protected build(): void;
    private words;
    /** undefined: the device says neither, or nothing. */
    private get reported();
    private turn;
    protected paint(): void;
}
