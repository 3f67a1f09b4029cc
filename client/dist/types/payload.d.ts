export type Payload = string | Uint8Array<ArrayBuffer>;
/** A text is JSON, anything else the payload itself. It is a copy: a publish may wait, and its value may change. */
export declare function encode(data: unknown): Payload;
