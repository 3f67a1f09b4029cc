#include "http/range.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

/* The digits at *at; SIZE_MAX where the number is larger. False: there is none. */
static bool range_number(struct gw_slice text, size_t *at, size_t *out)
{
    size_t start = *at, number = 0;
    for (; *at < text.len && text.data[*at] >= '0' && text.data[*at] <= '9'; (*at)++) {
        size_t digit = (size_t)(text.data[*at] - '0');
        number = number > (SIZE_MAX - digit) / 10 ? SIZE_MAX : number * 10 + digit;
    }
    *out = number;
    return *at > start;
}

enum gw_range gw_range_read(struct gw_slice value, size_t size, size_t *from, size_t *len)
{
    static const char unit[] = "bytes=";
    size_t at = sizeof unit - 1, first, last;
    if (value.len < at || strncasecmp(value.data, unit, at) != 0)
        return GW_RANGE_NONE;
    bool has_first = range_number(value, &at, &first);
    if (at == value.len || value.data[at++] != '-')
        return GW_RANGE_NONE;
    bool has_last = range_number(value, &at, &last);
    if (at != value.len || (!has_first && !has_last) || (has_first && has_last && last < first))
        return GW_RANGE_NONE;
    if (!has_first) { /* the last bytes, that many */
        if (!last || !size)
            return GW_RANGE_UNSATISFIABLE;
        *len = last < size ? last : size;
        *from = size - *len;
        return GW_RANGE_PART;
    }
    if (first >= size)
        return GW_RANGE_UNSATISFIABLE;
    *from = first;
    *len = (has_last && last < size ? last + 1 : size) - first;
    return GW_RANGE_PART;
}
