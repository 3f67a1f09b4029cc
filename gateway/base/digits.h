/* digits.h: whole numbers as digits, without the cost of printf: every message has two. Thread: any. */
#ifndef GW_BASE_DIGITS_H
#define GW_BASE_DIGITS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define GW_DIGITS_MAX 20

/* Writes them at the end of `out`, and returns where they begin: out + at has GW_DIGITS_MAX - at digits. */
static inline size_t gw_digits(char out[GW_DIGITS_MAX], uint64_t number)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
                                "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
                                "8081828384858687888990919293949596979899";
    size_t at = GW_DIGITS_MAX;
    while (number >= 100) {
        at -= 2;
        memcpy(out + at, pairs + number % 100 * 2, 2);
        number /= 100;
    }
    if (number >= 10) {
        at -= 2;
        memcpy(out + at, pairs + number * 2, 2);
    } else {
        out[--at] = (char)('0' + number);
    }
    return at;
}

/* Writes them at `out`, without a NUL; returns what is behind them. */
static inline char *gw_put_digits(char *out, uint64_t number)
{
    char digits[GW_DIGITS_MAX];
    size_t at = gw_digits(digits, number), len = GW_DIGITS_MAX - at;
    memcpy(out, digits + at, len);
    return out + len;
}

/* The same in hexadecimal, at most 16 of them. */
static inline char *gw_put_hex(char *out, uint64_t number)
{
    unsigned bits = 0;
    while (bits < 60 && number >> (bits + 4))
        bits += 4;
    for (;; bits -= 4) {
        *out++ = "0123456789abcdef"[number >> bits & 15];
        if (!bits)
            return out;
    }
}

#endif
