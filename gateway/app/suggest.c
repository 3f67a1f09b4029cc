/* suggest.c: one route for each branch of the topic tree whose payloads are of one kind, with a capture where its
 * topics differ in one level.
 *
 * `json` and `lenient` drop what they can't read, so they are suggested only where every payload is an object or a
 * list. `auto` drops nothing. */
#include "app/suggest.h"

#include <search.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/codec.h"

#define TOPICS_MAX   10000
#define BRANCHES_MAX 32 /* routes beside one another; more are one */
#define DEPTH_MAX    2
#define SHAPES_MAX   16

enum kind { KIND_JSON, KIND_LENIENT, KIND_AUTO }; /* a later one takes what an earlier one does */

static const char *const kind_codecs[] = {"json", "lenient", "auto"};

struct topic {
    char *name;
    enum kind kind;
    bool seen; /* a payload that is not empty */
};

struct gw_suggest {
    void *tree; /* of tsearch(): topics by name */
    struct topic *topics[TOPICS_MAX];
    size_t count;
};

/* As bytes, but a slash before all others: then a topic, and all that is below it, are in one row. */
static int topic_compare(const void *a, const void *b)
{
    const unsigned char *x = (const unsigned char *)((const struct topic *)a)->name;
    const unsigned char *y = (const unsigned char *)((const struct topic *)b)->name;
    while (*x && *x == *y) {
        x++;
        y++;
    }
    int left = *x == '/' ? 1 : *x ? *x + 1 : 0, right = *y == '/' ? 1 : *y ? *y + 1 : 0;
    return left - right;
}

static int topic_compare_places(const void *a, const void *b)
{
    return topic_compare(*(struct topic *const *)a, *(struct topic *const *)b);
}

struct gw_suggest *gw_suggest_create(void)
{
    return gw_calloc(1, sizeof(struct gw_suggest));
}

void gw_suggest_free(struct gw_suggest *suggest)
{
    if (!suggest)
        return;
    for (size_t i = 0; i < suggest->count; i++) {
        tdelete(suggest->topics[i], &suggest->tree, topic_compare);
        free(suggest->topics[i]->name);
        free(suggest->topics[i]);
    }
    free(suggest);
}

size_t gw_suggest_topics(const struct gw_suggest *suggest)
{
    return suggest->count;
}

static bool suggest_reads(const char *codec, const char *payload, size_t len)
{
    struct gw_buf scratch = {0};
    struct gw_decoded decoded;
    bool good = gw_codec_find(codec)->decode(payload, len, &scratch, &decoded) == GW_OK;
    gw_buf_fini(&scratch);
    return good;
}

static enum kind suggest_kind(const char *payload, size_t len)
{
    size_t blank = 0;
    while (blank < len && strchr(" \t\r\n", payload[blank]))
        blank++;
    if (blank == len || (payload[blank] != '{' && payload[blank] != '['))
        return KIND_AUTO;
    return suggest_reads("json", payload, len)      ? KIND_JSON
           : suggest_reads("lenient", payload, len) ? KIND_LENIENT
                                                    : KIND_AUTO;
}

void gw_suggest_note(void *context, const char *name, const char *payload, size_t len)
{
    struct gw_suggest *suggest = context;
    struct topic probe = {.name = (char *)(uintptr_t)name};
    struct topic **found = tfind(&probe, &suggest->tree, topic_compare);
    struct topic *topic = found ? *found : NULL;
    if (!topic) {
        if (suggest->count == TOPICS_MAX)
            return;
        topic = gw_calloc(1, sizeof *topic);
        topic->name = gw_strdup(name);
        suggest->topics[suggest->count++] = topic;
        if (!tsearch(topic, &suggest->tree, topic_compare))
            abort(); /* no memory */
    }
    if (!len)
        return;
    enum kind kind = suggest_kind(payload, len);
    topic->kind = topic->seen && topic->kind > kind ? topic->kind : kind;
    topic->seen = true;
}

/* Topics in a row that begin with the same levels. */
struct branch {
    struct topic **topics;
    size_t count;
    size_t len; /* of what they have in common, without a slash at the end; 0: nothing */
};

/* `name`: of a topic that begins with the filter's `len` bytes before `tail`. */
static void suggest_route(struct gw_buf *out, const char *name, size_t len, const char *tail, size_t count,
                          const char *example, enum kind kind)
{
    struct gw_buf filter = {0};
    gw_buf_add(&filter, name, len);
    gw_buf_adds(&filter, tail);
    gw_buf_printf(out, "  # %zu topic%s seen, such as ", count, count == 1 ? "" : "s");
    gw_buf_add_json_string(out, example, strlen(example));
    gw_buf_adds(out, "\n  - topic: ");
    gw_buf_add_json_string(out, filter.data, filter.len);
    gw_buf_printf(out, "\n    codec: %s\n", kind_codecs[kind]);
    gw_buf_fini(&filter);
}

static void branch_route(const struct branch *branch, const char *tail, enum kind kind, struct gw_buf *out)
{
    suggest_route(out, branch->topics[0]->name, branch->len, tail, branch->count,
                  branch->topics[branch->count - 1]->name, kind);
}

/* The branch of those that share one more level with topic number `at`. */
static struct branch branch_next(const struct branch *branch, size_t at, bool root)
{
    const char *name = branch->topics[at]->name;
    size_t from = root ? 0 : branch->len + 1, end = from + strcspn(name + from, "/");
    struct branch next = {.topics = branch->topics + at, .count = 1, .len = end};
    while (at + next.count < branch->count) {
        const char *other = branch->topics[at + next.count]->name;
        if (strncmp(other, name, end) != 0 || (other[end] && other[end] != '/'))
            break;
        next.count++;
    }
    return next;
}

/* Braces are captures, and a dollar may begin a variable, in a route's topic; there a wildcard has to do. */
static bool branch_plain(const struct branch *branch)
{
    return !memchr(branch->topics[0]->name, '{', branch->len) && !memchr(branch->topics[0]->name, '}', branch->len) &&
           !memchr(branch->topics[0]->name, '$', branch->len);
}

/* Topics that differ in the level behind the branch, and end alike: zigbee2mqtt/lamp and zigbee2mqtt/plug, or those
 * with /availability behind them. */
struct shape {
    const char *tail; /* "" or "/availability" */
    const char *example;
    size_t count;
    enum kind kind;
};

static struct shape *shape_of(struct shape *shapes, size_t *count, const char *tail)
{
    for (size_t i = 0; i < *count; i++) {
        if (!strcmp(shapes[i].tail, tail))
            return &shapes[i];
    }
    if (*count == SHAPES_MAX)
        return NULL;
    shapes[*count] = (struct shape){.tail = tail};
    return &shapes[(*count)++];
}

/* One route for each shape, with a capture; false where some topic has a shape of its own, and nothing is written. */
static bool branch_shapes(const struct branch *branch, struct gw_buf *out)
{
    struct shape shapes[SHAPES_MAX];
    size_t count = 0;
    if (!branch->topics[0]->name[branch->len] || !branch_plain(branch))
        return false;
    for (size_t i = 0; i < branch->count; i++) {
        const struct topic *topic = branch->topics[i];
        const char *device = topic->name + branch->len + 1, *tail = device + strcspn(device, "/");
        if (tail == device || (*tail && (!tail[1] || strpbrk(tail + 1, "/{}$"))))
            return false;
        struct shape *shape = shape_of(shapes, &count, tail);
        enum kind kind = topic->seen ? topic->kind : KIND_AUTO;
        if (!shape)
            return false;
        shape->kind = shape->count++ && shape->kind > kind ? shape->kind : kind;
        shape->example = topic->name;
    }
    for (size_t i = 0; i < count; i++) {
        if (shapes[i].count < 2)
            return false;
    }
    for (size_t i = 0; i < count; i++) {
        struct gw_buf tail = {0};
        gw_buf_printf(&tail, "/{device}%s", shapes[i].tail);
        suggest_route(out, branch->topics[0]->name, branch->len, tail.data, shapes[i].count, shapes[i].example,
                      shapes[i].kind);
        gw_buf_fini(&tail);
    }
    return true;
}

static void branch_suggest(const struct branch *branch, int depth, struct gw_buf *out)
{
    bool root = depth == 0, own = !root && !branch->topics[0]->name[branch->len], plain = true;
    size_t branches = 0;
    enum kind lowest = KIND_AUTO, highest = KIND_JSON;
    for (size_t i = 0; i < branch->count; i++) {
        enum kind kind = branch->topics[i]->seen ? branch->topics[i]->kind : KIND_AUTO;
        lowest = kind < lowest ? kind : lowest;
        highest = kind > highest ? kind : highest;
    }
    if (own && branch->count == 1) {
        branch_route(branch, "", highest, out);
        return;
    }
    if (!root && branch_shapes(branch, out))
        return;
    for (size_t i = own; i < branch->count; branches++) {
        struct branch next = branch_next(branch, i, root);
        plain = plain && branch_plain(&next);
        i += next.count;
    }
    if (!plain || branches > BRANCHES_MAX || (!root && (lowest == highest || depth == DEPTH_MAX))) {
        branch_route(branch, root ? "#" : "/#", highest, out);
        return;
    }
    if (own) {
        const struct branch alone = {branch->topics, 1, branch->len};
        branch_suggest(&alone, depth, out);
    }
    for (size_t i = own; i < branch->count;) {
        struct branch next = branch_next(branch, i, root);
        branch_suggest(&next, depth + 1, out);
        i += next.count;
    }
}

void gw_suggest_routes(struct gw_suggest *suggest, struct gw_buf *out)
{
    qsort(suggest->topics, suggest->count, sizeof *suggest->topics, topic_compare_places);
    const struct branch all = {suggest->topics, suggest->count, 0};
    branch_suggest(&all, 0, out);
}
