#include "config/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#include "config/yaml_hint.h"
#include "gateway/alloc.h"

/* A configuration is small. What is not was made to hurt. */
#define FILE_MAX   (1024 * 1024)
#define SCALAR_MAX (64 * 1024)
#define DEPTH_MAX  16
#define NODES_MAX  200000
#define COLUMN_MAX 1000 /* comments are looked for up to here: a line can hold all nodes */

/* --- problems --------------------------------------------------------------------------------------------------- */

static void problem_add(struct gw_problems *problems, int line, int column, bool warning, const char *format,
                        va_list args)
{
    GW_GROW(problems->items, problems->count, problems->allocated, 16);
    struct gw_buf text = {0};
    gw_buf_vprintf(&text, format, args);
    problems->items[problems->count++] = (struct gw_problem){line, column, gw_buf_take(&text), warning};
    problems->errors += !warning;
}

void gw_problem_add(struct gw_problems *problems, int line, int column, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    problem_add(problems, line, column, false, format, args);
    va_end(args);
}

void gw_warning_add(struct gw_problems *problems, int line, int column, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    problem_add(problems, line, column, true, format, args);
    va_end(args);
}

void gw_problems_print(const struct gw_problems *problems, struct gw_buf *out)
{
    /* Insertion sort: stable, and there are few. */
    for (size_t i = 1; i < problems->count; i++) {
        struct gw_problem moved = problems->items[i];
        size_t at = i;
        while (at && (problems->items[at - 1].line > moved.line || (problems->items[at - 1].line == moved.line &&
                                                                    problems->items[at - 1].column > moved.column))) {
            problems->items[at] = problems->items[at - 1];
            at--;
        }
        problems->items[at] = moved;
    }
    for (size_t i = 0; i < problems->count; i++)
        gw_buf_printf(out, "%s:%d:%d: %s%s\n", problems->file, problems->items[i].line, problems->items[i].column,
                      problems->items[i].warning ? "warning: " : "", problems->items[i].text);
}

void gw_problems_fini(struct gw_problems *problems)
{
    for (size_t i = 0; i < problems->count; i++)
        free(problems->items[i].text);
    free(problems->items);
    problems->items = NULL;
    problems->count = problems->allocated = problems->errors = 0;
}

/* --- nodes ------------------------------------------------------------------------------------------------------ */

static struct gw_node *tree_node(struct gw_tree *tree, enum gw_node_kind kind, const yaml_event_t *event)
{
    struct gw_node *node = gw_calloc(1, sizeof *node);
    node->kind = kind;
    node->line = (int)event->start_mark.line + 1; /* libyaml counts from 0 */
    node->column = (int)event->start_mark.column + 1;
    node->all_next = tree->all;
    tree->all = node;
    tree->count++;
    return node;
}

void gw_tree_free(struct gw_tree *tree)
{
    for (struct gw_node *node = tree->all, *next; node; node = next) {
        next = node->all_next;
        free(node->text);
        free(node->keys);
        free(node->items);
        free(node);
    }
    *tree = (struct gw_tree){0};
}

struct gw_node *gw_node_get(const struct gw_node *map, const char *key)
{
    for (size_t i = 0; map && map->kind == GW_NODE_MAP && i < map->count; i++) {
        if (!strcmp(map->keys[i]->text, key))
            return map->items[i];
    }
    return NULL;
}

static void node_append(struct gw_node *parent, struct gw_node *key, struct gw_node *item)
{
    if (parent->count == parent->allocated) {
        parent->allocated = parent->allocated ? parent->allocated * 2 : 8;
        parent->items = gw_reallocarray(parent->items, parent->allocated, sizeof *parent->items);
        if (parent->kind == GW_NODE_MAP)
            parent->keys = gw_reallocarray(parent->keys, parent->allocated, sizeof *parent->keys);
    }
    if (parent->kind == GW_NODE_MAP)
        parent->keys[parent->count] = key;
    parent->items[parent->count++] = item;
}

/* --- events ----------------------------------------------------------------------------------------------------- */

struct build {
    struct gw_tree *tree;
    struct gw_problems *problems;
    struct gw_node *stack[DEPTH_MAX];
    struct gw_node *key[DEPTH_MAX]; /* of a map: the key whose value comes next */
    size_t depth;
    struct gw_source source;
    struct gw_source rest; /* the source from line `rest_line` on: events come in the order of the file */
    int rest_line;
    unsigned documents;
    bool failed; /* going on would make no sense */
};

static void build_fail(struct build *build, const yaml_event_t *event, const char *what)
{
    gw_problem_add(build->problems, (int)event->start_mark.line + 1, (int)event->start_mark.column + 1, "%s", what);
    build->failed = true;
}

/* What `hint` says of the place. */
static void build_hint(struct build *build, const yaml_event_t *event,
                       void (*hint)(const struct gw_source *source, struct gw_place at, struct gw_buf *out))
{
    struct gw_buf text = {0};
    hint(&build->source, (struct gw_place){(int)event->start_mark.line + 1, (int)event->start_mark.column + 1},
         &text);
    build_fail(build, event, text.data);
    gw_buf_fini(&text);
}

/* Puts a value (or a key) where it belongs. */
static void build_add(struct build *build, struct gw_node *node, const yaml_event_t *event)
{
    if (!build->depth) {
        build->tree->root = node;
        return;
    }
    struct gw_node *parent = build->stack[build->depth - 1];
    struct gw_node **key = &build->key[build->depth - 1];
    if (parent->kind == GW_NODE_LIST) {
        node_append(parent, NULL, node);
    } else if (!*key) {
        if (node->kind != GW_NODE_SCALAR) {
            build_hint(build, event, gw_yaml_hint_key);
            return;
        }
        *key = node;
    } else {
        const struct gw_node *first = NULL;
        for (size_t i = 0; i < parent->count && !first; i++) {
            if (!strcmp(parent->keys[i]->text, (*key)->text))
                first = parent->keys[i];
        }
        bool entry = build->depth > 1 && build->stack[build->depth - 2]->kind == GW_NODE_LIST;
        if (first)
            gw_problem_add(build->problems, (*key)->line, (*key)->column,
                           "%s: duplicate key, it is in line %d already (each key once expected%s)", (*key)->text,
                           first->line, entry ? "; '- ' begins the next entry of a list" : "");
        else
            node_append(parent, *key, node);
        *key = NULL;
    }
}

/* Looks at the end of the value without going through the file from its beginning for each. */
static bool build_comment_follows(struct build *build, yaml_mark_t end, bool any)
{
    if (end.column > COLUMN_MAX)
        return false;
    while (build->rest_line < (int)end.line + 1) {
        const char *next = memchr(build->rest.text, '\n', build->rest.len);
        if (!next)
            return false;
        build->rest.len -= (size_t)(next + 1 - build->rest.text);
        build->rest.text = next + 1;
        build->rest_line++;
    }
    struct gw_place place = {(int)end.line + 2 - build->rest_line, (int)end.column + 1};
    return gw_yaml_comment_follows(&build->rest, place, any);
}

static void build_scalar(struct build *build, const yaml_event_t *event)
{
    size_t len = event->data.scalar.length;
    if (len > SCALAR_MAX) {
        build_fail(build, event, "a value of more than 64 KiB (a configuration has none)");
        return;
    }
    struct gw_node *node = tree_node(build->tree, GW_NODE_SCALAR, event);
    node->text = gw_strndup((const char *)event->data.scalar.value, len);
    node->len = len;
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    if (strlen(node->text) != len) {
        build_fail(build, event, "a value with a NUL character");
        return;
    }
    if (!node->quoted) {
        node->comment = !len && build_comment_follows(build, event->end_mark, true);
        node->cut = len && build_comment_follows(build, event->end_mark, node->text[len - 1] == '/');
        struct gw_buf odd = {0};
        if (gw_yaml_odd(node->text, &odd))
            gw_problem_add(build->problems, node->line, node->column, "%s", odd.data);
        gw_buf_fini(&odd);
    }
    build_add(build, node, event);
}

static void build_open(struct build *build, enum gw_node_kind kind, const yaml_event_t *event)
{
    if (build->depth == DEPTH_MAX) {
        build_fail(build, event, "nested too deeply (16 levels at most)");
        return;
    }
    struct gw_node *node = tree_node(build->tree, kind, event);
    build_add(build, node, event);
    if (build->failed)
        return;
    build->stack[build->depth] = node;
    build->key[build->depth++] = NULL;
}

static void build_event(struct build *build, const yaml_event_t *event)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;
    bool implicit = true;
    if (build->tree->count >= NODES_MAX) {
        build_fail(build, event, "too many values (200,000 at most)");
        return;
    }
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        build_hint(build, event, gw_yaml_hint_sign);
        return;
    case YAML_DOCUMENT_START_EVENT:
        if (build->documents++)
            build_fail(build, event, "a second document (one expected; nothing behind '---')");
        return;
    case YAML_SCALAR_EVENT:
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
        implicit = event->data.scalar.plain_implicit || event->data.scalar.quoted_implicit;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
        implicit = event->data.mapping_start.implicit;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
        implicit = event->data.sequence_start.implicit;
        break;
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        build->depth--;
        return;
    default:
        return;
    }
    if (anchor || (tag && !implicit)) {
        build_hint(build, event, gw_yaml_hint_sign);
        return;
    }
    if (event->type == YAML_SCALAR_EVENT)
        build_scalar(build, event);
    else
        build_open(build, event->type == YAML_MAPPING_START_EVENT ? GW_NODE_MAP : GW_NODE_LIST, event);
}

static struct gw_place place_of(yaml_mark_t mark)
{
    return (struct gw_place){(int)mark.line + 1, (int)mark.column + 1};
}

static void build_syntax_error(const struct build *build, const yaml_parser_t *parser)
{
    struct gw_yaml_error error = {.problem = parser->problem,
                                  .context = parser->context,
                                  .at = place_of(parser->problem_mark),
                                  .reader = parser->error == YAML_READER_ERROR,
                                  .offset = parser->problem_offset,
                                  .value = parser->problem_value};
    if (parser->context)
        error.began = place_of(parser->context_mark);
    if (error.reader)
        error.at = place_of(parser->mark);
    struct gw_buf text = {0};
    gw_yaml_hint_error(&build->source, &error, &text);
    gw_problem_add(build->problems, error.at.line, error.at.column, "%s", text.data);
    gw_buf_fini(&text);
}

void gw_tree_parse(struct gw_tree *tree, const char *text, size_t len, struct gw_problems *problems)
{
    *tree = (struct gw_tree){0};
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        gw_problem_add(problems, 1, 1, "libyaml could not be set up");
        return;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    struct build build = {
        .tree = tree, .problems = problems, .source = {text, len}, .rest = {text, len}, .rest_line = 1};
    bool done = false;
    while (!done && !build.failed) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            build_syntax_error(&build, &parser);
            build.failed = true;
            break;
        }
        done = event.type == YAML_STREAM_END_EVENT;
        build_event(&build, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    if (build.failed)
        tree->root = NULL;
    else if (!tree->root || tree->root->kind != GW_NODE_MAP) {
        gw_problem_add(problems, tree->root ? tree->root->line : 1, tree->root ? tree->root->column : 1,
                       "the file is %s (a mapping with broker: and routes: expected)",
                       !tree->root || (tree->root->kind == GW_NODE_SCALAR && !tree->root->len) ? "empty"
                       : tree->root->kind == GW_NODE_LIST                                      ? "a list"
                                                                                               : "a single value");
        tree->root = NULL;
    }
}

void gw_tree_load(struct gw_tree *tree, const char *file, struct gw_problems *problems)
{
    *tree = (struct gw_tree){0};
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        gw_problem_add(problems, 1, 1, "can't read the file: %s", strerror(errno));
        return;
    }
    struct gw_buf text = {0};
    ssize_t got;
    do {
        char *to = gw_buf_reserve(&text, 65536);
        got = read(fd, to, 65536);
        if (got > 0)
            text.len += (size_t)got;
    } while ((got > 0 || (got < 0 && errno == EINTR)) && text.len <= FILE_MAX);
    if (got < 0)
        gw_problem_add(problems, 1, 1, "can't read the file: %s", strerror(errno));
    else if (text.len > FILE_MAX)
        gw_problem_add(problems, 1, 1, "the file is larger than 1 MiB (a configuration is not)");
    else
        gw_tree_parse(tree, text.data, text.len, problems);
    close(fd);
    gw_buf_fini(&text);
}
