/* fields.c: reads a mapping into a struct, row by row of a table. */
#include "config/fields.h"

#include <errno.h>
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/meant.h"
#include "config/protocols.h"
#include "config/values.h"
#include "gateway/alloc.h"
#include "gateway/codec.h"
#include "gateway/transform.h"

#define PATH_MAX_LEN 256

struct place {
    const struct gw_field *field;
    const struct gw_node *node; /* NULL: it is the default that is read */
    const char *path;
    struct gw_problems *problems;
};

static const char *const field_expected[] = {
    [GW_FIELD_STRING] = "a text",
    [GW_FIELD_FILE] = "a file's path",
    [GW_FIELD_INT] = "a whole number",
    [GW_FIELD_NUMBER] = "a number such as 0.5",
    [GW_FIELD_BOOL] = "true or false",
    [GW_FIELD_DURATION] = "a duration such as 250ms, 30s, 5m or 1h",
    [GW_FIELD_SIZE] = "a size such as 64KiB or 1MiB",
    [GW_FIELD_CHOICE] = "one of a few words",
    [GW_FIELD_CODEC] = "a codec's name",
    [GW_FIELD_HISTORY] = "a history engine's name",
    [GW_FIELD_TRANSFORM] = "a transform's name",
    [GW_FIELD_PROTOCOL] = "a protocol's name",
    [GW_FIELD_STRINGS] = "a text or a list of texts",
    [GW_FIELD_PAIRS] = "a mapping of names to texts",
    [GW_FIELD_TABLE] = "a mapping",
    [GW_FIELD_LIST] = "a list",
    [GW_FIELD_MAP] = "a mapping of names",
};

static void field_problem(const struct place *place, const char *what, const char *expected)
{
    gw_problem_add(place->problems, place->node->line, place->node->column, "%s: %s (%s expected)", place->path, what,
                   expected);
}

static void field_bad_value(const struct place *place, const char *expected)
{
    char what[160];
    snprintf(what, sizeof what, "'%.100s' is no %s", place->node->text,
             place->field->type == GW_FIELD_DURATION ? "duration"
             : place->field->type == GW_FIELD_SIZE   ? "size"
             : place->field->type == GW_FIELD_INT    ? "number"
             : place->field->type == GW_FIELD_NUMBER ? "number"
                                                     : "value for this");
    field_problem(place, what, expected);
}

static bool field_number(const struct place *place, const char *text, int64_t *value)
{
    const struct gw_field *field = place->field;
    bool good = field->type == GW_FIELD_DURATION ? gw_parse_duration(text, value)
                : field->type == GW_FIELD_SIZE   ? gw_parse_size(text, value)
                                                 : gw_parse_int(text, value);
    if (!good) {
        char expected[96];
        snprintf(expected, sizeof expected, "%s%s%.40s", field_expected[field->type], field->word ? ", or " : "",
                 field->word ? field->word : "");
        field_bad_value(place, expected);
        return false;
    }
    if (*value < field->min || *value > field->max) {
        char low[32], high[32], what[160], expected[80];
        gw_field_format(field->type, field->min, low);
        gw_field_format(field->type, field->max, high);
        snprintf(what, sizeof what, "%.100s is out of range", text);
        snprintf(expected, sizeof expected, "%s to %s", low, high);
        field_problem(place, what, expected);
        return false;
    }
    return true;
}

static void field_choice(const struct place *place, const char *text, void *to)
{
    const struct gw_field *field = place->field;
    if (field->type == GW_FIELD_CODEC) {
        const struct gw_codec *codec = gw_codec_find(text);
        memcpy(to, &codec, sizeof codec);
        if (codec)
            return;
    } else if (field->type == GW_FIELD_HISTORY) {
        const struct gw_history_engine *engine = gw_history_find(text);
        memcpy(to, &engine, sizeof engine);
        if (engine)
            return;
    } else if (field->type == GW_FIELD_PROTOCOL) {
        const char *name;
        for (size_t i = 0; (name = gw_protocol_name(i)); i++) {
            memcpy(to, &name, sizeof name);
            if (!strcmp(name, text))
                return;
        }
    } else {
        for (size_t i = 0; field->choices[i].name; i++) {
            if (!strcmp(field->choices[i].name, text)) {
                memcpy(to, &field->choices[i].value, sizeof(int));
                return;
            }
        }
    }
    struct gw_buf choices = {0};
    gw_field_list_choices(field, &choices);
    field_bad_value(place, choices.data);
    gw_buf_fini(&choices);
}

static void field_scalar(const struct place *place, const char *text, bool quoted, void *into)
{
    const struct gw_field *field = place->field;
    char *to = (char *)into + field->offset;
    int64_t number;
    switch (field->type) {
    case GW_FIELD_STRING:
    case GW_FIELD_FILE: {
        if (place->node && !*text) {
            field_problem(place, "it is empty", field_expected[field->type]);
            return;
        }
        if (place->node && field->type == GW_FIELD_FILE && access(text, R_OK)) {
            char what[300];
            snprintf(what, sizeof what, "can't read '%.200s': %s", text, strerror(errno));
            field_problem(place, what, "a readable file");
        }
        char *copy = gw_strdup(text);
        memcpy(to, &copy, sizeof copy);
        break;
    }
    case GW_FIELD_BOOL: {
        bool value = !strcmp(text, "true");
        const char *meant = gw_meant_bool(text);
        if (quoted && meant)
            field_problem(place, "a quoted text",
                          !strcmp(meant, "true") ? "true without quotes" : "false without quotes");
        else if (quoted || (!value && strcmp(text, "false") != 0))
            field_bad_value(place, meant ? meant : "true or false");
        else
            memcpy(to, &value, sizeof value);
        break;
    }
    case GW_FIELD_INT:
        if (quoted)
            field_problem(place, "a quoted text", field_expected[field->type]);
        else if (field_number(place, text, &number)) {
            uint32_t value = (uint32_t)number;
            memcpy(to, &value, sizeof value);
        }
        break;
    case GW_FIELD_NUMBER: {
        char *end;
        double value = strtod(text, &end);
        /* Only digits: strtod would also take hexadecimal, inf and nan. */
        if (!*text || *end || strspn(text, "0123456789.eE+-") != strlen(text) ||
            !(value <= DBL_MAX && value >= -DBL_MAX))
            field_bad_value(place, field_expected[field->type]);
        else if (value < (double)field->min)
            field_problem(place, "it is out of range", "0 or more");
        else
            memcpy(to, &value, sizeof value);
        break;
    }
    case GW_FIELD_DURATION:
        if (field->word && !strcmp(text, field->word))
            memcpy(to, &field->word_value, sizeof field->word_value);
        else if (field_number(place, text, &number))
            memcpy(to, &number, sizeof number);
        break;
    case GW_FIELD_SIZE:
        if (field_number(place, text, &number)) {
            size_t value = (size_t)number;
            memcpy(to, &value, sizeof value);
        }
        break;
    case GW_FIELD_CHOICE:
    case GW_FIELD_CODEC:
    case GW_FIELD_HISTORY:
    case GW_FIELD_PROTOCOL:
        field_choice(place, text, to);
        break;
    case GW_FIELD_STRINGS:
    case GW_FIELD_PAIRS:
    case GW_FIELD_TRANSFORM:
    case GW_FIELD_TABLE:
    case GW_FIELD_LIST:
    case GW_FIELD_MAP:
        break;
    }
}

/* A copy of the item's text; NULL if it is none, which is told. */
static char *field_text(const struct place *place)
{
    const struct gw_node *item = place->node;
    if (item->kind != GW_NODE_SCALAR)
        field_problem(place, item->kind == GW_NODE_LIST ? "a list" : "a mapping", "a text");
    else if (!item->len && !place->field->blank)
        field_problem(place, "it is empty", "a text");
    else if (strlen(item->text) != item->len)
        field_problem(place, "it holds the NUL character", "a text without it");
    else
        return gw_strdup(item->text);
    return NULL;
}

static void field_strings(const struct place *place, void *into)
{
    const struct gw_node *node = place->node;
    struct gw_strings *strings = (struct gw_strings *)(void *)((char *)into + place->field->offset);
    size_t count = !node ? 0 : node->kind == GW_NODE_LIST ? node->count : 1;
    bool def = !node && place->field->def;
    strings->items = count || def ? gw_calloc(count + def, sizeof *strings->items) : NULL;
    if (def)
        strings->items[strings->count++] = gw_strdup(place->field->def);
    for (size_t i = 0; i < count; i++) {
        const struct gw_node *item = node->kind == GW_NODE_LIST ? node->items[i] : node;
        char path[PATH_MAX_LEN + 24];
        snprintf(path, sizeof path, node->kind == GW_NODE_LIST ? "%s[%zu]" : "%s", place->path, i);
        const struct place own = {place->field, item, path, place->problems};
        char *text = field_text(&own);
        if (text)
            strings->items[strings->count++] = text;
    }
}

static void field_pairs(const struct place *place, void *into)
{
    const struct gw_node *map = place->node;
    struct gw_pairs *pairs = (struct gw_pairs *)(void *)((char *)into + place->field->offset);
    if (!map || gw_node_is_null(map))
        return;
    if (map->kind != GW_NODE_MAP) {
        field_problem(place, map->kind == GW_NODE_LIST ? "a list" : "a single value", field_expected[GW_FIELD_PAIRS]);
        return;
    }
    pairs->items = gw_calloc(map->count + 1, sizeof *pairs->items);
    for (size_t i = 0; i < map->count; i++) {
        char path[PATH_MAX_LEN + 104];
        snprintf(path, sizeof path, "%s.%.100s", place->path, map->keys[i]->text);
        const struct place own = {place->field, map->items[i], path, place->problems};
        char *text = field_text(&own);
        if (text)
            pairs->items[pairs->count++] = (struct gw_pair){gw_strdup(map->keys[i]->text), text};
    }
}

bool gw_node_is_null(const struct gw_node *node)
{
    return node->kind == GW_NODE_SCALAR && !node->quoted &&
           (!node->len || !strcmp(node->text, "~") || !strcmp(node->text, "null"));
}

bool gw_node_is_bool(const struct gw_node *node)
{
    return node->kind == GW_NODE_SCALAR && !node->quoted &&
           (!strcmp(node->text, "true") || !strcmp(node->text, "false"));
}

static void field_read(const struct place *place, void *into)
{
    const struct gw_field *field = place->field;
    const struct gw_node *node = place->node;
    if (field->type == GW_FIELD_LIST || field->type == GW_FIELD_MAP || field->type == GW_FIELD_TRANSFORM)
        return; /* config.c, access.c and transform.c read it */
    if (field->type == GW_FIELD_TABLE && field->options)
        return; /* options.c reads it */
    if (field->type == GW_FIELD_STRINGS) {
        field_strings(place, into);
        return;
    }
    if (field->type == GW_FIELD_PAIRS) {
        field_pairs(place, into);
        return;
    }
    if (field->type == GW_FIELD_TABLE) {
        if (node && node->kind != GW_NODE_MAP && !gw_node_is_null(node) &&
            !(field->switchable && gw_node_is_bool(node))) {
            gw_meant_shape(field, node, place->path, field_expected[field->type], place->problems);
            node = NULL;
        }
        gw_fields_read(field->table, node && node->kind == GW_NODE_MAP ? node : NULL, place->path, into,
                       place->problems);
        return;
    }
    if (!node) {
        if (field->def)
            field_scalar(place, field->def, false, into);
        return;
    }
    if (node->kind != GW_NODE_SCALAR) {
        gw_meant_shape(field, node, place->path, field_expected[field->type], place->problems);
        return;
    }
    if (gw_node_is_null(node)) {
        if (node->comment)
            gw_problem_add(
                place->problems, node->line, node->column,
                "%s: it has no value, as '#' begins a comment (%s expected, in quotes if it has a '#': %s: "
                "\"#\")",
                place->path, field_expected[field->type], field->key);
        else
            field_problem(place, "it has no value", field_expected[field->type]);
        return;
    }
    /* What is cut off in silence is found out by the broker, if at all. */
    if (node->cut && (!strcmp(field->key, "password") ||
                      (!strcmp(field->key, "topic") && node->len && node->text[node->len - 1] == '/')))
        gw_warning_add(
            place->problems, node->line, node->column,
            "%s: it ends before ' #', which begins a comment (quotes around all of it, if that belongs to it)",
            place->path);
    size_t before = place->problems->errors;
    field_scalar(place, node->text, node->quoted, into);
    bool text = field->type == GW_FIELD_STRING || field->type == GW_FIELD_FILE;
    if (place->problems->errors > before && field->def && !text) {
        const struct place other = {field, NULL, place->path, place->problems};
        field_scalar(&other, field->def, false, into);
    }
}

const struct gw_field *gw_fields_find(const struct gw_field *table, const char *key)
{
    while (table->key && strcmp(table->key, key) != 0)
        table++;
    return table;
}

void gw_fields_read(const struct gw_field *table, const struct gw_node *map, const char *path, void *into,
                    struct gw_problems *problems)
{
    for (const struct gw_field *field = table; field->key; field++) {
        char own[PATH_MAX_LEN];
        snprintf(own, sizeof own, "%s%s%s", path, *path ? "." : "", field->key);
        struct place place = {field, gw_node_get(map, field->key), own, problems};
        if (!place.node && field->required && map)
            gw_problem_add(problems, map->line, map->column, "%s: it is missing (%s expected)", own,
                           field_expected[field->type]);
        field_read(&place, into);
    }
    for (size_t i = 0; map && i < map->count; i++) {
        if (!gw_fields_find(table, map->keys[i]->text)->key)
            gw_meant_key(table, map->keys[i], path, problems);
    }
}
