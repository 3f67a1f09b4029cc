#include "base/units.h"

#include <stddef.h>
#include <string.h>

struct unit {
    const char *name;
    int64_t factor;
};

/* A decimal number and one of the units. */
static bool value_with_unit(const char *text, const struct unit *units, bool fraction, int64_t *out)
{
    int64_t whole = 0, parts = 0, scale = 1;
    const char *at = text;
    if (*at < '0' || *at > '9')
        return false;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (whole > INT64_MAX / 100)
            return false;
        whole = whole * 10 + (*at - '0');
    }
    if (fraction && *at == '.') {
        at++;
        if (*at < '0' || *at > '9')
            return false;
        for (; *at >= '0' && *at <= '9' && scale < 1000000; at++) {
            parts = parts * 10 + (*at - '0');
            scale *= 10;
        }
    }
    for (; units->name; units++) {
        if (strcmp(at, units->name) != 0)
            continue;
        int64_t product;
        if (__builtin_mul_overflow(whole, units->factor, &product))
            return false;
        return !__builtin_add_overflow(product, parts * units->factor / scale, out);
    }
    return false;
}

bool gw_parse_duration(const char *text, int64_t *ms)
{
    static const struct unit units[] = {
        {"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}, {"d", 24 * 3600 * 1000}, {NULL, 0},
    };
    return value_with_unit(text, units, true, ms);
}

bool gw_parse_size(const char *text, int64_t *bytes)
{
    static const struct unit units[] = {
        {"", 1}, {"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {NULL, 0},
    };
    return value_with_unit(text, units, false, bytes);
}
