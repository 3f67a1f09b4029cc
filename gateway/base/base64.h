/* base64.h: RFC 4648: base64 with padding (section 4), and base64url without (section 5, RFC 7515 section 2). Thread:
 * any. */
#ifndef GW_BASE_BASE64_H
#define GW_BASE_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/buf.h"

void gw_base64_encode(struct gw_buf *out, const void *data, size_t len);
/* Adds the bytes to `out`. False, and nothing added, unless the text is exactly what an encoder makes: no blanks, no
 * spare bits, so that one value has one spelling. */
bool gw_base64_decode(struct gw_buf *out, const char *text, size_t len);

/* 32 bytes as base64url, with the NUL. */
#define GW_BASE64URL_32 44

void gw_base64url_encode(struct gw_buf *out, const void *data, size_t len);
/* Has it characters of base64url alone? Such texts are ids as well. */
bool gw_base64url_text(const char *text, size_t len);
void gw_base64url_32(const uint8_t bytes[32], char out[GW_BASE64URL_32]);
/* As gw_base64_decode(). */
bool gw_base64url_decode(struct gw_buf *out, const char *text, size_t len);

#endif
