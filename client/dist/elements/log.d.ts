import type { Message } from '../types/index.js';
import { SluiceElement } from './element.js';
/** `<sluice-log channel="alarms/#" lines="100">`: the newest messages, the newest on top. */
export declare class SluiceLog extends SluiceElement {
    static readonly css = "\n:host { display: block; }\n[role='log'] { max-height: var(--sluice-log-height, 16em); overflow: auto; }\nol { margin: 0; padding: 0; list-style: none; font-variant-numeric: tabular-nums; }\nli { display: flex; gap: .8em; padding: .15em 0; border-top: 1px solid var(--line); }\ntime, b { color: var(--quiet); font-weight: normal; white-space: nowrap; }\nb { max-width: 40%; overflow: hidden; text-overflow: ellipsis; direction: rtl; }\nspan { overflow-wrap: anywhere; }\np { margin: 0; color: var(--quiet); }";
    private list;
    private box;
    private empty;
    private fresh;
    private frame;
    protected build(): void;
    protected reset(): void;
    protected take(message: Message): void;
    private most;
    /** Once a frame, however many have come. */
    protected paint(): void;
}
