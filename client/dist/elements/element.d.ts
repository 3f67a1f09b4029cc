import { type Message, Sluice } from '../types/index.js';
export type ElementState = 'waiting' | 'live' | 'stale' | 'pending' | 'unconfirmed' | 'confirmed' | 'reverted' | 'refused';
/** For these elements: those without `gateway`, or those with this one. Before the elements are on the page. */
export declare function use(client: Sluice, gateway?: string): void;
export declare function clientOf(gateway: string): Sluice;
/** What is at a path such as `state` or `ENERGY.Power`; undefined if it is not there. */
export declare function pick(value: unknown, path: string): unknown;
/** The reverse: {"ENERGY":{"Power":1}}. */
export declare const wrap: (value: unknown, path: string) => unknown;
/** An attribute as JSON where it is JSON, else as text. */
export declare function literal(text: string): unknown;
export declare const same: (a: unknown, b: unknown) => boolean;
export declare const clamp: (min: number, value: number, max: number) => number;
export declare const sleep: (ms: number) => Promise<void>;
/** A value as a person reads it. */
export declare function say(value: unknown, digits?: string | null): string;
/** So that the module can be loaded where there is no page. */
declare const Base: typeof HTMLElement;
export declare abstract class SluiceElement extends Base {
    static readonly css: string;
    static get observedAttributes(): string[];
    protected readonly root: ShadowRoot;
    protected message?: Message;
    protected refusal?: string;
    protected state: ElementState;
    protected client?: Sluice;
    private subscription?;
    protected leave: (() => void)[];
    private timer?;
    private lost;
    private own?;
    protected wish?: unknown;
    private fault;
    private note;
    private mark;
    constructor();
    /** Fills the shadow root, once. */
    protected abstract build(): void;
    /** Shows the current value. */
    protected abstract paint(): void;
    /** A new message. */
    protected take(message: Message): void;
    /** Of another channel, or of none. */
    protected reset(): void;
    protected text(name: string): string;
    protected get value(): unknown;
    protected get label(): string;
    /** With its digits and its unit. */
    protected say(value: unknown): string;
    /** A duration; 0 where it is none. */
    protected ms(name: string): number;
    connectedCallback(): void;
    disconnectedCallback(): void;
    attributeChangedCallback(name: string, before: string | null, now: string | null): void;
    private part_;
    private join;
    protected joined(_client: Sluice, _channel: string): void;
    protected refresh(): void;
    private explain;
    /** What is the value worth now? */
    private look;
    private show;
    /** Sends a command, and shows how far it got. `arrived`: has the device confirmed it? */
    protected command(wish: unknown, word: unknown, arrived: () => boolean): Promise<void>;
    private publish;
    protected get commanding(): boolean;
    /** May a person move it? */
    protected get locked(): boolean;
}
/** Attributes of an element. */
export declare function set<T extends Element>(element: T, attributes: Record<string, unknown>): T;
/** An element with attributes and children. */
export declare function el<K extends keyof HTMLElementTagNameMap>(tag: K, attributes?: Record<string, string>, ...children: (Node | string)[]): HTMLElementTagNameMap[K];
export {};
