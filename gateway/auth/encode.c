#include "auth/encode.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static const char encode_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void gw_base64url_32(const uint8_t bytes[32], char out[GW_BASE64URL_32])
{
    size_t at = 0;
    for (size_t i = 0; i < 32; i += 3) {
        uint32_t bits = (uint32_t)bytes[i] << 16 | (uint32_t)bytes[i + 1] << 8 | (i + 2 < 32 ? bytes[i + 2] : 0);
        out[at++] = encode_alphabet[bits >> 18];
        out[at++] = encode_alphabet[bits >> 12 & 63];
        out[at++] = encode_alphabet[bits >> 6 & 63];
        if (i + 2 < 32)
            out[at++] = encode_alphabet[bits & 63];
    }
    out[at] = '\0';
}

static int encode_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

bool gw_base64url_decode(struct gw_buf *out, const char *text, size_t len)
{
    if (len % 4 == 1)
        return false;
    size_t before = out->len;
    for (size_t i = 0; i < len; i += 4) {
        size_t have = len - i < 4 ? len - i : 4;
        uint32_t bits = 0;
        for (size_t j = 0; j < 4; j++) {
            int value = j < have ? encode_value(text[i + j]) : 0;
            if (value < 0)
                goto bad;
            bits = bits << 6 | (uint32_t)value;
        }
        if ((have == 2 && bits & 0xffff) || (have == 3 && bits & 0xff))
            goto bad;
        char bytes[3] = {(char)(bits >> 16), (char)(bits >> 8), (char)bits};
        gw_buf_add(out, bytes, have - 1);
    }
    return true;
bad:
    out->len = before;
    return false;
}

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

void gw_random_32(uint8_t out[32])
{
    ssize_t got;
    do /* up to 256 bytes come whole or not at all (getrandom(2)) */
        got = getrandom(out, 32, 0);
    while (got < 0 && errno == EINTR);
    if (got != 32) {
        fprintf(stderr, "sluice: no random numbers from the system: %s\n", strerror(errno));
        abort();
    }
}
