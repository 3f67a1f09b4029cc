/* encode.c: SHA-256 and its digits. */
#include "auth/encode.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void gw_sha256(const void *data, size_t len, uint8_t out[GW_SHA256_SIZE])
{
    if (gnutls_hash_fast(GNUTLS_DIG_SHA256, data, len, out) != GNUTLS_E_SUCCESS)
        abort(); /* only a GnuTLS that is broken has no SHA-256 */
}

void gw_hex_32(const uint8_t bytes[32], char out[65])
{
    for (size_t i = 0; i < 32; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

void gw_unhex_32(const char *text, uint8_t out[32])
{
    for (size_t i = 0; i < 64; i += 2) {
        const char pair[3] = {text[i], text[i + 1], '\0'};
        out[i / 2] = (uint8_t)strtoul(pair, NULL, 16);
    }
}
