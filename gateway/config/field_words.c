/* field_words.c: what a field may hold, in words. */
#include <stdio.h>

#include "config/fields.h"
#include "config/protocols.h"
#include "gateway/codec.h"
#include "gateway/transform.h"

void gw_field_format(enum gw_field_type type, int64_t value, char out[32])
{
    if (type == GW_FIELD_DURATION) {
        if (value % 1000)
            snprintf(out, 32, "%lldms", (long long)value);
        else if (value % 60000 || !value)
            snprintf(out, 32, "%llds", (long long)value / 1000);
        else if (value % 3600000)
            snprintf(out, 32, "%lldm", (long long)value / 60000);
        else if (value % 86400000)
            snprintf(out, 32, "%lldh", (long long)value / 3600000);
        else
            snprintf(out, 32, "%lldd", (long long)value / 86400000);
    } else if (type == GW_FIELD_SIZE && value && value % (1 << 20) == 0) {
        snprintf(out, 32, "%lldMiB", (long long)value >> 20);
    } else if (type == GW_FIELD_SIZE && value && value % 1024 == 0) {
        snprintf(out, 32, "%lldKiB", (long long)value >> 10);
    } else {
        snprintf(out, 32, "%lld", (long long)value);
    }
}

const char *gw_field_word(const struct gw_field *field, size_t i)
{
    switch (field->type) {
    case GW_FIELD_CODEC:
        return gw_codecs[i] ? gw_codecs[i]->name : NULL;
    case GW_FIELD_HISTORY:
        return gw_histories[i] ? gw_histories[i]->name : NULL;
    case GW_FIELD_PROTOCOL:
        return gw_protocol_name(i);
    case GW_FIELD_TRANSFORM:
        return gw_transforms[i] ? gw_transforms[i]->name : NULL;
    default:
        return field->choices[i].name;
    }
}

void gw_field_list_choices(const struct gw_field *field, struct gw_buf *out)
{
    const char *word;
    for (size_t i = 0; (word = gw_field_word(field, i)); i++)
        gw_buf_printf(out, "%s%s", i ? ", " : "", word);
}
