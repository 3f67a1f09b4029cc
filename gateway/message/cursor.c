#include "message/cursor.h"

#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "base/digits.h"
#include "gateway/random.h"

static const char cursor_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void gw_epoch_make(char epoch[GW_EPOCH_MAX + 1])
{
    uint64_t bits;
    gw_random(&bits, sizeof bits);
    /* 11 characters of 6 bits hold 64. */
    for (int i = 0; i < 11; i++, bits >>= 6)
        epoch[i] = cursor_alphabet[bits & 63];
    epoch[11] = '\0';
}

bool gw_cursor_parse(struct gw_cursor *out, const char *text, size_t len)
{
    const char *dot = len ? memchr(text, '.', len) : NULL;
    if (!dot || dot == text || dot - text > GW_EPOCH_MAX)
        return false;
    size_t epoch_len = (size_t)(dot - text);
    if (!gw_base64url_text(text, epoch_len))
        return false;
    const char *digits = dot + 1, *end = text + len;
    if (digits == end)
        return false;
    uint64_t seq = 0;
    for (; digits < end; digits++) {
        if (*digits < '0' || *digits > '9')
            return false;
        uint64_t digit = (uint64_t)(*digits - '0');
        if (seq > (UINT64_MAX - digit) / 10)
            return false;
        seq = seq * 10 + digit;
    }
    memcpy(out->epoch, text, epoch_len);
    out->epoch[epoch_len] = '\0';
    out->seq = seq;
    out->settled = dot[1] == '0' && end - dot > 2;
    return true;
}

size_t gw_cursor_format_settled(char out[GW_CURSOR_MAX], const char *epoch, uint64_t seq)
{
    size_t len = gw_cursor_format(out, epoch, seq), at = strlen(epoch) + 1;
    memmove(out + at + 1, out + at, len - at + 1);
    out[at] = '0';
    return len + 1;
}

size_t gw_cursor_format(char out[GW_CURSOR_MAX], const char *epoch, uint64_t seq)
{
    char digits[GW_DIGITS_MAX];
    size_t at = gw_digits(digits, seq), len = strlen(epoch);
    memcpy(out, epoch, len);
    out[len++] = '.';
    memcpy(out + len, digits + at, sizeof digits - at);
    len += sizeof digits - at;
    out[len] = '\0';
    return len;
}
