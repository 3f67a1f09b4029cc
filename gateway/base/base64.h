/* base64.h: RFC 4648 section 4, with padding. Thread: any. */
#ifndef GW_BASE_BASE64_H
#define GW_BASE_BASE64_H

#include <stdbool.h>
#include <stddef.h>

#include "gateway/buf.h"

void gw_base64_encode(struct gw_buf *out, const void *data, size_t len);
/* False (and out as it was) unless the text is exactly what an encoder makes. */
bool gw_base64_decode(struct gw_buf *out, const char *text, size_t len);

#endif
