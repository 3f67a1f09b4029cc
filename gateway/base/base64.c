/* base64.c: both alphabets of RFC 4648, with padding and without. */
#include "base/base64.h"

#include <string.h>

static const char base64_common[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/* The last two of the alphabet, and whether groups are filled up. */
struct variant {
    char last[2];
    bool padded;
};

static const struct variant base64_standard = {{'+', '/'}, true}, base64_url = {{'-', '_'}, false};

static char base64_digit(const struct variant *variant, uint32_t value)
{
    return value < 62 ? base64_common[value] : variant->last[value - 62];
}

/* Returns how many characters it has written; there is a NUL behind them. */
static size_t base64_write(const struct variant *variant, char *to, const uint8_t *in, size_t len)
{
    size_t at = 0;
    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        uint32_t bits =
            (uint32_t)in[i] << 16 | (left > 1 ? (uint32_t)in[i + 1] << 8 : 0) | (left > 2 ? in[i + 2] : 0);
        to[at++] = base64_digit(variant, bits >> 18);
        to[at++] = base64_digit(variant, bits >> 12 & 63);
        if (left > 1 || variant->padded)
            to[at++] = left > 1 ? base64_digit(variant, bits >> 6 & 63) : '=';
        if (left > 2 || variant->padded)
            to[at++] = left > 2 ? base64_digit(variant, bits & 63) : '=';
    }
    to[at] = '\0';
    return at;
}

static int base64_value(const struct variant *variant, char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == variant->last[0] ? 62 : c == variant->last[1] ? 63 : -1;
}

/* `len` without padding. */
static bool base64_read(const struct variant *variant, struct gw_buf *out, const char *text, size_t len)
{
    if (len % 4 == 1)
        return false;
    size_t before = out->len;
    for (size_t i = 0; i < len; i += 4) {
        size_t have = len - i < 4 ? len - i : 4;
        uint32_t bits = 0;
        bool good = true;
        for (size_t j = 0; j < 4; j++) {
            int value = j < have ? base64_value(variant, text[i + j]) : 0;
            good = good && value >= 0;
            bits = bits << 6 | ((uint32_t)value & 63);
        }
        if (!good || (have == 2 && bits & 0xffff) || (have == 3 && bits & 0xff)) {
            out->len = before; /* no encoder leaves such bits behind */
            return false;
        }
        const char bytes[3] = {(char)(bits >> 16), (char)(bits >> 8), (char)bits};
        gw_buf_add(out, bytes, have - 1);
    }
    return true;
}

static void base64_add(const struct variant *variant, struct gw_buf *out, const void *data, size_t len)
{
    out->len += base64_write(variant, gw_buf_reserve(out, (len + 2) / 3 * 4), data, len);
}

void gw_base64_encode(struct gw_buf *out, const void *data, size_t len)
{
    base64_add(&base64_standard, out, data, len);
}

bool gw_base64_decode(struct gw_buf *out, const char *text, size_t len)
{
    if (len % 4)
        return false;
    for (size_t pad = 0; pad < 2 && len && text[len - 1] == '='; pad++)
        len--;
    return base64_read(&base64_standard, out, text, len);
}

void gw_base64url_encode(struct gw_buf *out, const void *data, size_t len)
{
    base64_add(&base64_url, out, data, len);
}

bool gw_base64url_text(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (base64_value(&base64_url, text[i]) < 0)
            return false;
    }
    return true;
}

void gw_base64url_32(const uint8_t bytes[32], char out[GW_BASE64URL_32])
{
    base64_write(&base64_url, out, bytes, 32);
}

bool gw_base64url_decode(struct gw_buf *out, const char *text, size_t len)
{
    return base64_read(&base64_url, out, text, len);
}
