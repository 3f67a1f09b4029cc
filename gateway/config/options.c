/* options.c: the tables that extensions bring, read into their own structs. */
#include "config/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/report.h"
#include "config/fields.h"
#include "gateway/alloc.h"
#include "gateway/engine.h"

static const struct gw_options **options_all; /* all extensions', NULL-terminated */
static size_t options_count;
static struct gw_field *options_root; /* the gateway's own rows and one for each of them */

const struct gw_field *gw_fields_root = gw_fields_own;

static void options_add_row(struct gw_field *root, size_t rows, const struct gw_options *options)
{
    for (size_t i = 0; i < rows; i++) {
        if (strcmp(root[i].key, options->key) != 0)
            continue;
        fprintf(stderr, "sluice: two tables have the key '%s'\n", options->key);
        abort(); /* a fault of the build, seen at its first start */
    }
    root[rows] = (struct gw_field){
        .key = options->key,
        .type = GW_FIELD_TABLE,
        .switchable = true,
        .table = options->fields,
        .options = options,
        .doc = options->doc,
    };
}

void gw_config_extend(const struct gw_options *const *list)
{
    size_t own = 0;
    free(options_all);
    free(options_root);
    for (options_count = 0; list[options_count];)
        options_count++;
    while (gw_fields_own[own].key)
        own++;
    options_all = gw_calloc(options_count + 1, sizeof *options_all);
    options_root = gw_calloc(own + options_count + 1, sizeof *options_root);
    memcpy(options_root, gw_fields_own, own * sizeof *options_root);
    for (size_t i = 0; i < options_count; i++) {
        options_all[i] = list[i];
        options_add_row(options_root, own + i, list[i]);
    }
    gw_fields_root = options_root;
}

/* --- where a problem is ----------------------------------------------------------------------------------------- */

struct options_report {
    struct gw_report report;
    const struct gw_node *node; /* of the table; NULL: it is not in the file */
    const char *path;
    struct gw_problems *problems;
};

/* The member of `map` whose name `key` begins with, the longest of them; *key moves behind it. */
static const struct gw_node *options_member(const struct gw_node *map, const char **key)
{
    const struct gw_node *found = NULL;
    size_t best = 0;
    for (size_t i = 0; i < map->count; i++) {
        size_t len = map->keys[i]->len;
        if (len > best && !strncmp(*key, map->keys[i]->text, len) && strchr(".[", (*key)[len])) {
            found = map->items[i];
            best = len;
        }
    }
    *key += best;
    return found;
}

/* The node of "names[2]" or "members.data" below `node`, or the nearest above it that the file has. */
static const struct gw_node *options_find(const struct gw_node *node, const char *key)
{
    const struct gw_node *next = node;
    while (next && *key) {
        node = next;
        key += *key == '.';
        if (*key == '[' && node->kind == GW_NODE_LIST) {
            size_t index = strtoul(key + 1, NULL, 10);
            key = strchr(key, ']') ? strchr(key, ']') + 1 : "";
            next = index < node->count ? node->items[index] : NULL;
        } else {
            next = node->kind == GW_NODE_MAP ? options_member(node, &key) : NULL;
        }
    }
    return next ? next : node;
}

static void options_report_add(struct gw_report *report, bool warning, const char *key, const char *text)
{
    const struct options_report *own = (const struct options_report *)(const void *)report;
    const struct gw_node *at = own->node ? options_find(own->node, key) : NULL;
    const char *dot = *key && *key != '[' ? "." : "";
    int line = at ? at->line : 1, column = at ? at->column : 1;
    if (warning)
        gw_warning_add(own->problems, line, column, "%s%s%s: %s", own->path, dot, key, text);
    else
        gw_problem_add(own->problems, line, column, "%s%s%s: %s", own->path, dot, key, text);
}

/* Is every text there that is required? */
static bool options_complete(const struct gw_field *table, const char *values)
{
    for (const struct gw_field *field = table; field->key; field++) {
        bool text = field->type == GW_FIELD_STRING || field->type == GW_FIELD_FILE;
        char *const *member = (char *const *)(const void *)(values + field->offset);
        if (text ? field->required && !*member
                 : field->type == GW_FIELD_TABLE && !options_complete(field->table, values))
            return false;
    }
    return true;
}

/* --- reading ---------------------------------------------------------------------------------------------------- */

void *gw_options_read(const struct gw_options *options, const struct gw_node *node, const char *path,
                      struct gw_problems *problems)
{
    bool plain = node && (gw_node_is_bool(node) || gw_node_is_null(node));
    if (!node ? !options->by_default : plain && !strcmp(node->text, "false"))
        return NULL;
    if (node && node->kind != GW_NODE_MAP && !plain)
        gw_problem_add(problems, node->line, node->column, "%s: %s (a mapping expected)", path,
                       node->kind == GW_NODE_LIST ? "a list" : "a single value");
    /* In an empty table what is required is missing. */
    const struct gw_node empty = {
        .kind = GW_NODE_MAP, .line = plain ? node->line : 1, .column = plain ? node->column : 1};
    void *values = gw_calloc(1, options->size);
    gw_fields_read(options->fields,
                   plain                               ? &empty
                   : node && node->kind == GW_NODE_MAP ? node
                                                       : NULL,
                   path, values, problems);
    return values;
}

void gw_options_check(const struct gw_options *options, void *values, const struct gw_node *node, const char *path,
                      const struct gw_config *config, struct gw_problems *problems)
{
    struct options_report own = {{options_report_add}, node, path, problems};
    if (values && options->check && options_complete(options->fields, values))
        options->check(values, config, &own.report);
}

void gw_options_free(const struct gw_options *options, void *values)
{
    if (!values)
        return;
    if (options->release)
        options->release(values);
    gw_fields_free(options->fields, values);
    free(values);
}

void gw_config_read_options(struct gw_config *config, const struct gw_node *root, struct gw_problems *problems)
{
    config->options = gw_calloc(options_count + 1, sizeof *config->options);
    for (size_t i = 0; i < options_count; i++)
        config->options[i] =
            gw_options_read(options_all[i], gw_node_get(root, options_all[i]->key), options_all[i]->key, problems);
    for (size_t i = 0; i < options_count; i++)
        gw_options_check(options_all[i], config->options[i], gw_node_get(root, options_all[i]->key),
                         options_all[i]->key, config, problems);
}

void gw_config_free_options(struct gw_config *config)
{
    for (size_t i = 0; config->options && i < options_count; i++)
        gw_options_free(options_all[i], config->options[i]);
    free(config->options);
}

const void *gw_options_of(const struct gw_config *config, const struct gw_options *options)
{
    for (size_t i = 0; options && i < options_count; i++) {
        if (options_all[i] == options)
            return config->options ? config->options[i] : NULL;
    }
    return NULL;
}

bool gw_options_equal(const struct gw_options *options, const struct gw_config *a, const struct gw_config *b)
{
    const void *one = gw_options_of(a, options), *two = gw_options_of(b, options);
    return one && two ? gw_fields_equal(options->fields, one, two) : one == two;
}

const struct gw_engine *gw_config_engine(const struct gw_config *config)
{
    for (size_t i = 1; gw_engines[0] && gw_engines[i]; i++) {
        if (gw_options_of(config, gw_engines[i]->options))
            return gw_engines[i];
    }
    return gw_engines[0];
}
