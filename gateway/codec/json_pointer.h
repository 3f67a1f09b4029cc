/* json_pointer.h: one value out of JSON text, without building anything. Thread: any. */
#ifndef GW_CODEC_JSON_POINTER_H
#define GW_CODEC_JSON_POINTER_H

#include <stdbool.h>
#include <stddef.h>

#include "gateway/message.h"

/* What the JSON pointer (RFC 6901) leads to: *value is inside `text`, without blanks around. "" is the whole value.
 * `text` must be valid JSON. False if there is nothing. */
bool gw_json_pointer(const char *text, size_t len, const char *pointer, struct gw_slice *value);

#endif
