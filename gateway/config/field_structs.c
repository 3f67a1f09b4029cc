/* field_structs.c: structs that were read from the rows of a table: compared, and freed. */
#include <stdlib.h>
#include <string.h>

#include "config/fields.h"

void gw_fields_free(const struct gw_field *table, void *from)
{
    for (const struct gw_field *field = table; field->key; field++) {
        if (field->type == GW_FIELD_TABLE) {
            if (!field->options) /* else it is another struct */
                gw_fields_free(field->table, from);
        } else if (field->type == GW_FIELD_STRING || field->type == GW_FIELD_FILE) {
            char *text;
            memcpy(&text, (char *)from + field->offset, sizeof text);
            free(text);
        } else if (field->type == GW_FIELD_STRINGS) {
            struct gw_strings *strings = (struct gw_strings *)(void *)((char *)from + field->offset);
            for (size_t i = 0; i < strings->count; i++)
                free(strings->items[i]);
            free(strings->items);
        } else if (field->type == GW_FIELD_PAIRS) {
            struct gw_pairs *pairs = (struct gw_pairs *)(void *)((char *)from + field->offset);
            for (size_t i = 0; i < pairs->count; i++) {
                free(pairs->items[i].name);
                free(pairs->items[i].value);
            }
            free(pairs->items);
        }
    }
}

static bool field_same_text(const char *a, const char *b)
{
    return a && b ? !strcmp(a, b) : a == b;
}

static bool field_equal(const struct gw_field *field, const void *a, const void *b)
{
    char *const *text_a = a, *const *text_b = b;
    const struct gw_strings *strings_a = a, *strings_b = b;
    const struct gw_pairs *pairs_a = a, *pairs_b = b;
    bool same = true;
    switch (field->type) {
    case GW_FIELD_STRING:
    case GW_FIELD_FILE:
        return field_same_text(*text_a, *text_b);
    case GW_FIELD_INT:
    case GW_FIELD_CHOICE:
        return !memcmp(a, b, sizeof(int));
    case GW_FIELD_NUMBER:
        return !memcmp(a, b, sizeof(double));
    case GW_FIELD_BOOL:
        return !memcmp(a, b, sizeof(bool));
    case GW_FIELD_DURATION:
        return !memcmp(a, b, sizeof(int64_t));
    case GW_FIELD_SIZE:
        return !memcmp(a, b, sizeof(size_t));
    case GW_FIELD_CODEC:
    case GW_FIELD_HISTORY:
    case GW_FIELD_PROTOCOL:
        return !memcmp(a, b, sizeof(void *));
    case GW_FIELD_STRINGS:
        same = strings_a->count == strings_b->count;
        for (size_t i = 0; same && i < strings_a->count; i++)
            same = !strcmp(strings_a->items[i], strings_b->items[i]);
        return same;
    case GW_FIELD_PAIRS:
        same = pairs_a->count == pairs_b->count;
        for (size_t i = 0; same && i < pairs_a->count; i++)
            same = !strcmp(pairs_a->items[i].name, pairs_b->items[i].name) &&
                   !strcmp(pairs_a->items[i].value, pairs_b->items[i].value);
        return same;
    case GW_FIELD_TRANSFORM:
    case GW_FIELD_TABLE:
    case GW_FIELD_LIST:
    case GW_FIELD_MAP:
        break;
    }
    return true; /* lists and maps of mappings have no place in the struct */
}

bool gw_fields_equal(const struct gw_field *table, const void *a, const void *b)
{
    for (const struct gw_field *field = table; field->key; field++) {
        if (field->type == GW_FIELD_TABLE
                ? !field->options && !gw_fields_equal(field->table, a, b)
                : !field_equal(field, (const char *)a + field->offset, (const char *)b + field->offset))
            return false;
    }
    return true;
}
