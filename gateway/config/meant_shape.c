/* meant_shape.c: values of the wrong shape, and how they are written. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "config/meant.h"
#include "config/yaml_line.h"

const char *gw_meant_bool(const char *text)
{
    static const char *const words[] = {"yes", "no", "on", "off", "true", "false", "y", "n", "1", "0"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (!strcasecmp(text, words[i]))
            return i % 2 ? "false" : "true";
    }
    return NULL;
}

size_t gw_meant_glued(const char *text)
{
    size_t len = 0;
    while (isalpha((unsigned char)text[len]) || text[len] == '_')
        len++;
    return len && text[len] == ':' && text[len + 1] && text[len + 1] != '/' ? len : 0;
}

/* Mistakes that have one shape wherever they are. */
static bool shape_problem(const struct gw_node *node, const char *path, const char *key, struct gw_problems *problems)
{
    if (node->kind == GW_NODE_SCALAR) {
        size_t glued = node->quoted ? 0 : gw_meant_glued(node->text);
        if (glued)
            gw_problem_add(problems, node->line, node->column, "%s: no blank behind '%.*s:' (%.*s: … expected)", path,
                           (int)glued, node->text, (int)glued, node->text);
        return glued > 0;
    }
    if (node->kind == GW_NODE_MAP && node->count && node->keys[0]->text[0] == '-' && node->keys[0]->text[1]) {
        gw_problem_add(problems, node->line, node->column, "%s: no blank behind '-' in '%.100s' (- %s: … expected)",
                       path, node->keys[0]->text, node->keys[0]->text + 1);
        return true;
    }
    /* `{device}` without quotes: a key without a value */
    if (node->kind == GW_NODE_MAP && node->count == 1 && gw_node_is_null(node->items[0]) &&
        node->items[0]->line == node->line && key) {
        struct gw_buf text = {0}, quoted = {0};
        gw_buf_printf(&text, "{%s}", node->keys[0]->text);
        gw_yaml_quote(key, strlen(key), text.data, text.len, &quoted);
        gw_problem_add(problems, node->line, node->column,
                       "%s: '%s' without quotes is a mapping to YAML (quotes expected: %s)", path,
                       gw_is_secret(key, strlen(key)) ? "{…}" : text.data, quoted.data);
        gw_buf_fini(&text);
        gw_buf_fini(&quoted);
        return true;
    }
    return false;
}

/* What is proposed must be YAML itself: `- topic: #` would be an empty topic and a comment. */
static const char *shape_quote(const char *text)
{
    return strchr("#{[*&!|>%@`", text[0]) || strstr(text, " #") || strstr(text, ": ") ? "\"" : "";
}

/* The key that a mapping of the table cannot do without, or its first one. */
static const char *first_key(const struct gw_field *table)
{
    for (const struct gw_field *field = table; field->key; field++) {
        if (field->required)
            return field->key;
    }
    return table->key;
}

void gw_meant_shape(const struct gw_field *field, const struct gw_node *node, const char *path, const char *expected,
                    struct gw_problems *problems)
{
    bool list = field->type == GW_FIELD_LIST, table = field->type == GW_FIELD_TABLE;
    bool empty = node->kind == GW_NODE_SCALAR ? gw_node_is_null(node) : !node->count;
    if (shape_problem(node, path, table || list ? NULL : field->key, problems))
        return;
    const char *found = empty                          ? "it is empty"
                        : node->kind == GW_NODE_SCALAR ? "a single value"
                        : node->kind == GW_NODE_LIST   ? "a list"
                                                       : "a mapping";
    char how[200] = "";
    const char *quote = node->kind == GW_NODE_SCALAR ? shape_quote(node->text) : "";
    if (list && node->kind == GW_NODE_MAP && node->count)
        snprintf(how, sizeof how, ": '- ' before %.60s:", node->keys[0]->text);
    else if (list)
        snprintf(how, sizeof how, ": - %s: %s%.100s%s", first_key(field->table), empty ? "" : quote,
                 node->text && !empty ? node->text : "…", empty ? "" : quote);
    else if (table && node->kind == GW_NODE_LIST)
        snprintf(how, sizeof how, ": the keys without '- '");
    else if (table && field->switchable && gw_meant_bool(node->text))
        snprintf(how, sizeof how, ", or %s", gw_meant_bool(node->text));
    else if (table)
        snprintf(how, sizeof how, ", such as %s: { %s: … }", field->key, first_key(field->table));
    gw_problem_add(problems, node->line, node->column, "%s: %s (%s expected%s)", path, found, expected, how);
}

void gw_meant_entry(const struct gw_node *node, const char *path, const char *key, struct gw_problems *problems)
{
    if (shape_problem(node, path, NULL, problems))
        return;
    bool scalar = node->kind == GW_NODE_SCALAR && !gw_node_is_null(node);
    const char *quote = scalar ? shape_quote(node->text) : "";
    gw_problem_add(problems, node->line, node->column, "%s: not a mapping (- %s: %s%.100s%s expected)", path, key,
                   quote, scalar ? node->text : "…", quote);
}
