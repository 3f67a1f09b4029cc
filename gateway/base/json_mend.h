/* json_mend.h: text that is nearly JSON: what is wrong with it, at which byte, and the JSON that was meant.
 *
 * Slower than json_scan.h, which comes first: this is for text that it has refused. It takes what devices send: NaN,
 * single quotes, commas too many, a NUL at the end, and so on (enum gw_json_flaw_kind). What it makes is valid JSON.
 * One pass, no recursion; depth is bounded as in json_scan.h. Thread: any. */
#ifndef GW_BASE_JSON_MEND_H
#define GW_BASE_JSON_MEND_H

#include <stdbool.h>
#include <stddef.h>

#include "gateway/buf.h"

enum gw_json_flaw_kind {
    GW_JSON_SOUND,
    /* These can be mended; behind each what becomes of it. */
    GW_JSON_NAN,            /* NaN, -nan(ind), 1.#QNAN, ovf: null */
    GW_JSON_INFINITY,       /* null */
    GW_JSON_NONE,           /* None, undefined, nil, (null): null */
    GW_JSON_CASE,           /* True, FALSE, Null: in small letters */
    GW_JSON_SINGLE_QUOTE,   /* double quotes */
    GW_JSON_BARE_NAME,      /* of a member: double quotes */
    GW_JSON_TRAILING_COMMA, /* left out */
    GW_JSON_EXTRA_COMMA,    /* left out */
    GW_JSON_MISSING,        /* a value between two commas: null */
    GW_JSON_COMMENT,        /* left out */
    GW_JSON_CONTROL,        /* escaped */
    GW_JSON_ESCAPE,     /* an escape that JSON does not know: what it means in C and JavaScript, or the backslash */
    GW_JSON_ZEROS,      /* 007: 7 */
    GW_JSON_PLUS,       /* +1: 1 */
    GW_JSON_POINT,      /* .5 and 5.: 0.5 and 5 */
    GW_JSON_HEX,        /* 0x1F: 31 */
    GW_JSON_BOM,        /* left out */
    GW_JSON_BLANK,      /* a blank of another kind: left out */
    GW_JSON_NOT_UTF8,   /* in a text: taken for Latin-1 */
    GW_JSON_NUL_BEHIND, /* left out, with everything behind it */
    /* These can't. */
    GW_JSON_EMPTY,
    GW_JSON_CUT_OFF,
    GW_JSON_SECOND,
    GW_JSON_DEPTH,
    GW_JSON_DECIMAL_COMMA,
    GW_JSON_BARE_WORD,
    GW_JSON_BAD_NUMBER,
    GW_JSON_ESCAPED_QUOTE,
    GW_JSON_CURLY_QUOTE,
    GW_JSON_UTF16,
    GW_JSON_GZIP,
    GW_JSON_NUL,
    GW_JSON_UNEXPECTED
};

struct gw_json_flaw {
    enum gw_json_flaw_kind kind;
    size_t at;            /* offset of its first byte, from 0 */
    unsigned char byte;   /* the byte there; 0 at the end */
    const char *expected; /* of GW_JSON_UNEXPECTED and GW_JSON_CUT_OFF: what should stand there; static */
};

/* Appends the JSON that `text` means, without blanks between its parts; at most six bytes for each of `text`. False:
 * it can't be known, and what was appended is of no use. *first is the first flaw, *last the one that ends it
 * (GW_JSON_SOUND if it could be mended). */
bool gw_json_mend(const char *text, size_t len, struct gw_buf *out, struct gw_json_flaw *first,
                  struct gw_json_flaw *last);

/* Appends what is wrong, in a phrase for the log: the kind, the byte (from 1) and what the device should send.
 * Nothing of the payload is quoted but a single character that has no place in JSON. */
void gw_json_flaw_describe(const struct gw_json_flaw *flaw, struct gw_buf *out);

#endif
