/* encode.h: base64url (RFC 7515 section 2) and SHA-256, as tokens, keys and tickets need them. Thread: any. */
#ifndef GW_AUTH_ENCODE_H
#define GW_AUTH_ENCODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/buf.h"

#define GW_SHA256_SIZE 32
/* 32 bytes as base64url, with the NUL. */
#define GW_BASE64URL_32 44

/* Without padding; `out` has room for 44. */
void gw_base64url_32(const uint8_t bytes[32], char out[GW_BASE64URL_32]);
/* Adds the bytes to `out`. False, and nothing added, unless the text is exactly what an encoder makes: no padding, no
 * blanks, no spare bits, so that one signature has one spelling. */
bool gw_base64url_decode(struct gw_buf *out, const char *text, size_t len);

void gw_sha256(const void *data, size_t len, uint8_t out[GW_SHA256_SIZE]);
/* 64 digits and a NUL. */
void gw_hex_32(const uint8_t bytes[32], char out[65]);
/* 64 lower-case digits, checked before. */
void gw_unhex_32(const char *text, uint8_t out[32]);

/* Ends the process if the system has no randomness. */
void gw_random_32(uint8_t out[32]);

#endif
