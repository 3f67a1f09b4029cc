/* json_scan.h: JSON text (RFC 8259) checked and looked into without building anything.
 *
 * On the path of every message: one pass, no allocation, no recursion. Stricter and wider than jansson where a
 * gateway must be: any number size passes (it isn't ours to represent), all text must be UTF-8, depth is bounded.
 * Thread: any. */
#ifndef GW_BASE_JSON_SCAN_H
#define GW_BASE_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "gateway/buf.h"

/* Deeper text is refused: parsers in browsers and elsewhere recurse. */
#define GW_JSON_DEPTH_MAX 512

/* Exactly one value, with blanks around. */
bool gw_json_valid(const char *text, size_t len);

/* The value of the member `key` of the top-level object, the last one if it is there twice. `text` must be valid.
 * Keys are compared as they would read unescaped. */
bool gw_json_find(const char *text, size_t len, const char *key, struct gw_slice *value);

/* The text without the blanks around it. */
struct gw_slice gw_json_trim(const char *text, size_t len);

/* Steps through the members of the top-level object: start with *at = 0; false at the end, or if it is no object.
 * `key` has its quotes. `text` must be valid. */
bool gw_json_next_member(const char *text, size_t len, size_t *at, struct gw_slice *key, struct gw_slice *value);

/* The same for the elements of the top-level array. */
bool gw_json_next_element(const char *text, size_t len, size_t *at, struct gw_slice *value);

/* Does a key (with its quotes) read as `name`? `scratch` is the caller's, for keys with escapes. */
bool gw_json_key_is(struct gw_slice key, const char *name, size_t name_len, struct gw_buf *scratch);

/* Element `index` of the top-level array. `text` must be valid. */
bool gw_json_element(const char *text, size_t len, size_t index, struct gw_slice *value);

/* How many members the top-level object has; 0 if the value is no object. `text` must be valid. */
size_t gw_json_member_count(const char *text, size_t len);

/* The content of a JSON string (with its quotes; valid) as UTF-8. Lone surrogates become U+FFFD. */
void gw_json_unescape(const char *string, size_t len, struct gw_buf *out);

#endif
