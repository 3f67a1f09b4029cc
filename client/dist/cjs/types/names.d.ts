/** Topics, cursors and durations: the small pure things. */
/** Does the MQTT filter match the name? (MQTT 5.0 section 4.7) */
export declare function matches(filter: string, name: string): boolean;
export declare const isFilter: (name: string) => boolean;
export declare const isCursor: (text: unknown) => boolean;
/** -1, 0, 1; undefined for different epochs. */
export declare function compare(a: string, b: string): number | undefined;
/** The later of where we are and where we are told to be. Of equal ones the new text: it may say more. */
export declare const later: (own: string | undefined, told: string) => string;
/** '250ms', '2s', '5m', '1h', '7d' in ms; 0 for none. */
export declare function duration(text: string | undefined | false): number;
