/** The address in a `codec: blob` value: below the gateway's channels, and nowhere else, whatever a device writes
 * there. URL parsers take dots as steps up, take `\` for `/`, and leave out white space. */
export declare const isBlobAddress: (url: unknown) => url is string;
