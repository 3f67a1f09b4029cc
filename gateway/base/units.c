#include "base/units.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

/* RFC 3339. */
static bool time_of_date(const char *text, int64_t *ms)
{
    struct tm parts = {0};
    int used = 0, hours = 0, minutes = 0;
    double seconds;
    if (strspn(text, "0123456789-T:") < 17 || strspn(text, "0123456789-T:.Z+") != strlen(text) ||
        sscanf(text, "%4d-%2d-%2dT%2d:%2d:%lf%n", &parts.tm_year, &parts.tm_mon, &parts.tm_mday, &parts.tm_hour,
               &parts.tm_min, &seconds, &used) != 6)
        return false;
    bool valid = parts.tm_year >= 1970 && parts.tm_mon >= 1 && parts.tm_mon <= 12 && parts.tm_mday >= 1 &&
                 parts.tm_mday <= 31 && parts.tm_hour <= 23 && parts.tm_min <= 59 && seconds >= 0 && seconds < 61;
    const char *zone = text + used;
    int zone_used = 0;
    bool west = *zone == '-';
    if (strcmp(zone, "Z") != 0 &&
        ((*zone != '+' && !west) || sscanf(zone + 1, "%2d:%2d%n", &hours, &minutes, &zone_used) != 2 ||
         zone[1 + zone_used]))
        return false;
    parts.tm_year -= 1900;
    parts.tm_mon -= 1;
    int64_t offset = ((int64_t)hours * 60 + minutes) * 60000;
    *ms = (int64_t)timegm(&parts) * 1000 + (int64_t)(seconds * 1000 + 0.5) + (west ? offset : -offset);
    return valid;
}

bool gw_parse_time(const char *text, int64_t now_ms, int64_t *ms)
{
    int64_t before;
    size_t digits = strspn(text, "0123456789");
    if (!strcmp(text, "now")) {
        *ms = now_ms;
        return true;
    }
    if (digits && !text[digits]) {
        *ms = digits <= 15 ? strtoll(text, NULL, 10) : 0;
        return *ms > 0;
    }
    if (gw_parse_duration(text + (*text == '-'), &before)) {
        *ms = now_ms > before ? now_ms - before : 1;
        return true;
    }
    return time_of_date(text, ms);
}

bool gw_parse_size(const char *text, int64_t *bytes)
{
    static const struct unit units[] = {
        {"", 1}, {"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {NULL, 0},
    };
    return value_with_unit(text, units, false, bytes);
}
