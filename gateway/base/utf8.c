#include "gateway/utf8.h"

#include <stdint.h>
#include <string.h>

size_t gw_utf8_sequence(const char *data, size_t len)
{
    const unsigned char *s = (const unsigned char *)data;
    if (s[0] < 0x80)
        return 1;
    size_t need;
    unsigned char low = 0x80, high = 0xbf; /* bounds of the second byte (Unicode table 3-7) */
    if (s[0] >= 0xc2 && s[0] <= 0xdf) {
        need = 2;
    } else if (s[0] >= 0xe0 && s[0] <= 0xef) {
        need = 3;
        if (s[0] == 0xe0)
            low = 0xa0;
        if (s[0] == 0xed)
            high = 0x9f;
    } else if (s[0] >= 0xf0 && s[0] <= 0xf4) {
        need = 4;
        if (s[0] == 0xf0)
            low = 0x90;
        if (s[0] == 0xf4)
            high = 0x8f;
    } else {
        return 0;
    }
    if (len < need || s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < need; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    }
    return need;
}

bool gw_utf8_valid(const char *data, size_t len)
{
    size_t i = 0;
    while (i < len) {
        while (len - i >= 8) { /* runs of ASCII, eight bytes at a time */
            uint64_t word;
            memcpy(&word, data + i, 8);
            if (word & 0x8080808080808080u)
                break;
            i += 8;
        }
        if (i == len)
            break;
        size_t step = gw_utf8_sequence(data + i, len - i);
        if (!step)
            return false;
        i += step;
    }
    return true;
}
