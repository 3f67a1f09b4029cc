/* option.c: `aggregate` as clients write it. */
#include <string.h>

#include "base/units.h"
#include "gateway/hash.h"
#include "gateway/session.h"

#define EVERY_TEXT_MAX 32

const char *gw_aggregate_of(struct gw_aggregate *out, const char *field, size_t field_len, const char *every,
                            size_t every_len)
{
    char text[EVERY_TEXT_MAX];
    *out = (struct gw_aggregate){.every_ms = 0};
    if (field_len == 5 && !memcmp(field, "value", 5))
        field_len = 0;
    if (field_len > GW_AGGREGATE_FIELD_MAX)
        return "aggregate: the field is longer than 255 bytes";
    if ((field_len && field[0] != '/') || (field_len && memchr(field, '\0', field_len)))
        return "aggregate: the field is a JSON pointer such as /temperature, or value where the payload is the "
               "number "
               "itself";
    if (field_len)
        memcpy(out->field, field, field_len);
    out->field[field_len] = '\0';
    int64_t ms = 0;
    if (every_len && every_len < sizeof text && !memchr(every, '\0', every_len)) {
        memcpy(text, every, every_len);
        text[every_len] = '\0';
        if (!gw_parse_duration(text, &ms))
            ms = 0;
    }
    if (ms < GW_AGGREGATE_MIN_MS || ms > GW_AGGREGATE_MAX_MS)
        return "aggregate: every is a duration such as 10s, from 100ms to 1d";
    out->every_ms = ms;
    return NULL;
}

const char *gw_aggregate_parse(struct gw_aggregate *out, const char *text, size_t len)
{
    const char *colon = len ? memrchr(text, ':', len) : NULL;
    *out = (struct gw_aggregate){.every_ms = 0};
    if (!colon)
        return "aggregate is FIELD:EVERY, such as /temperature:10s, or value:10s where the payload is the number "
               "itself";
    size_t field_len = (size_t)(colon - text);
    return gw_aggregate_of(out, text, field_len, colon + 1, len - field_len - 1);
}

uint32_t gw_aggregate_id(const char *field, int64_t every_ms)
{
    uint32_t id = (uint32_t)(gw_hash(field, strlen(field)) * 31 + (uint64_t)every_ms);
    return id ? id : 1;
}
