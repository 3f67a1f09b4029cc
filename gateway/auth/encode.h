/* encode.h: SHA-256 and its digits, as tokens, keys and tickets need them. Thread: any. */
#ifndef GW_AUTH_ENCODE_H
#define GW_AUTH_ENCODE_H

#include <stddef.h>
#include <stdint.h>

#include "base/base64.h"

#define GW_SHA256_SIZE 32
void gw_sha256(const void *data, size_t len, uint8_t out[GW_SHA256_SIZE]);
/* 64 digits and a NUL. */
void gw_hex_32(const uint8_t bytes[32], char out[65]);
/* 64 lower-case digits, checked before. */
void gw_unhex_32(const char *text, uint8_t out[32]);

#endif
