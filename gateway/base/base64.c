#include "base/base64.h"

#include <stdint.h>
#include <string.h>

static const char base64_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void gw_base64_encode(struct gw_buf *out, const void *data, size_t len)
{
    const uint8_t *in = data;
    char *to = gw_buf_reserve(out, (len + 2) / 3 * 4);
    size_t at = 0;
    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        uint32_t bits =
            (uint32_t)in[i] << 16 | (left > 1 ? (uint32_t)in[i + 1] << 8 : 0) | (left > 2 ? in[i + 2] : 0);
        to[at++] = base64_alphabet[bits >> 18];
        to[at++] = base64_alphabet[bits >> 12 & 63];
        to[at++] = left > 1 ? base64_alphabet[bits >> 6 & 63] : '=';
        to[at++] = left > 2 ? base64_alphabet[bits & 63] : '=';
    }
    to[at] = '\0';
    out->len += at;
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool gw_base64_decode(struct gw_buf *out, const char *text, size_t len)
{
    if (len % 4)
        return false;
    size_t before = out->len;
    for (size_t i = 0; i < len; i += 4) {
        bool last = i + 4 == len;
        size_t pad = last && text[i + 3] == '=' ? (text[i + 2] == '=' ? 2 : 1) : 0;
        uint32_t bits = 0;
        for (size_t j = 0; j < 4; j++) {
            int value = j >= 4 - pad ? 0 : base64_value(text[i + j]);
            if (value < 0)
                goto bad;
            bits = bits << 6 | (uint32_t)value;
        }
        if ((pad == 1 && bits & 0xff) || (pad == 2 && bits & 0xffff))
            goto bad; /* bits that no encoder leaves behind */
        char bytes[3] = {(char)(bits >> 16), (char)(bits >> 8), (char)bits};
        gw_buf_add(out, bytes, 3 - pad);
    }
    return true;
bad:
    out->len = before;
    return false;
}
