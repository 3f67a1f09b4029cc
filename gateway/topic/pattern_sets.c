/* pattern_sets.c: patterns as sets of names: what two of them have in common, and whether one holds the other. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/topic.h"
#include "topic/pattern.h"
#include "topic/pattern_private.h"

struct gw_pattern *gw_pattern_of_filter(const char *filter, size_t len)
{
    struct gw_pattern *pattern = gw_calloc(1, sizeof *pattern);
    pattern->text = gw_strndup(filter, len);
    pattern->filter = gw_strndup(filter, len);
    pattern->levels = gw_calloc(gw_topic_levels(filter, len), sizeof *pattern->levels);
    for (const char *start = pattern->text; start;) {
        size_t level_len = strcspn(start, "/");
        struct level *level = &pattern->levels[pattern->level_count++];
        *level = (struct level){.kind = LEVEL_LITERAL, .prefix = start, .prefix_len = level_len};
        if (level_len == 1 && (*start == '+' || *start == '#')) {
            *level = (struct level){.kind = *start == '+' ? LEVEL_PLUS : LEVEL_HASH};
            pattern->anonymous = true;
        }
        start = start[level_len] ? start + level_len + 1 : NULL;
    }
    return pattern;
}

/* A pattern as fixed levels at the front, perhaps room for any number of them, and fixed levels at the end. */
struct shape {
    const struct level *levels;
    size_t head, tail; /* levels */
    bool open;         /* with room between the two */
    size_t least;      /* levels of the shortest name */
};

static struct shape shape_of(const struct gw_pattern *pattern)
{
    struct shape shape = {pattern->levels, pattern->level_count, 0, false, pattern->level_count};
    for (size_t i = 0; i < pattern->level_count && !shape.open; i++) {
        enum level_kind kind = pattern->levels[i].kind;
        if (kind != LEVEL_REST && kind != LEVEL_HASH)
            continue;
        shape.open = true;
        shape.head = i;
        shape.tail = pattern->level_count - i - 1;
        /* `#` matches the parent level too, but a name has a level. */
        shape.least = pattern->level_count - (kind == LEVEL_HASH && i);
    }
    return shape;
}

/* The level for place `at` of `count`; NULL where there is room for anything. */
static const struct level *shape_level(const struct shape *shape, size_t at, size_t count)
{
    if (at < shape->head)
        return &shape->levels[at];
    if (shape->open && at >= count - shape->tail)
        return &shape->levels[shape->head + 1 + at - (count - shape->tail)];
    return NULL;
}

/* One level that both match: the literal of either, or the longer prefix and suffix of both around a text of its own.
 */
static void sample_level(const struct level *a, const struct level *b, size_t number, struct gw_buf *out)
{
    static const struct level any = {.kind = LEVEL_PLUS};
    if (!a)
        a = &any;
    if (!b)
        b = &any;
    if (a->kind == LEVEL_LITERAL || b->kind == LEVEL_LITERAL) {
        const struct level *literal = a->kind == LEVEL_LITERAL ? a : b;
        gw_buf_add(out, literal->prefix, literal->prefix_len);
        return;
    }
    const struct level *front = a->prefix_len >= b->prefix_len ? a : b;
    const struct level *back = a->suffix_len >= b->suffix_len ? a : b;
    gw_buf_add(out, front->prefix, front->prefix_len);
    gw_buf_printf(out, "x%zu", number);
    gw_buf_add(out, back->suffix, back->suffix_len);
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

bool gw_pattern_sample(const struct gw_pattern *a, const struct gw_pattern *b, size_t extra, struct gw_buf *out)
{
    struct shape left = shape_of(a), right = shape_of(b);
    /* With room in both, a long name is bound by the fewest levels: heads and tails need not share any. */
    size_t count = !left.open ? left.head
                   : !right.open
                       ? right.head
                       : larger(left.head, right.head) + larger(left.tail, right.tail) +
                             (left.least > left.head + left.tail || right.least > right.head + right.tail) + extra;
    if (count < left.least || count < right.least || (!right.open && count != right.head))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (i)
            gw_buf_addc(out, '/');
        sample_level(shape_level(&left, i, count), shape_level(&right, i, count), i + 1, out);
    }
    return gw_pattern_match(a, out->data ? out->data : "", out->len, NULL) &&
           gw_pattern_match(b, out->data ? out->data : "", out->len, NULL);
}

bool gw_pattern_covers(const struct gw_pattern *a, const struct gw_pattern *b)
{
    struct shape wide = shape_of(a), narrow = shape_of(b);
    if (wide.levels[0].kind != LEVEL_LITERAL && narrow.levels[0].prefix_len && narrow.levels[0].prefix[0] == '$')
        return false; /* MQTT 5.0 section 4.7.2 */
    if ((narrow.open && !wide.open) || narrow.least < wide.least || (!wide.open && narrow.head != wide.head))
        return false;
    /* A name with more levels than either has fixed ones; with fewer, each level has to satisfy no more. */
    size_t count = narrow.open ? larger(wide.head, narrow.head) + larger(wide.tail, narrow.tail) : narrow.head;
    for (size_t i = 0; i < count; i++) {
        const struct level *want = shape_level(&wide, i, count), *have = shape_level(&narrow, i, count);
        if (want && want->kind == LEVEL_LITERAL &&
            (!have || have->kind != LEVEL_LITERAL || have->prefix_len != want->prefix_len ||
             memcmp(have->prefix, want->prefix, want->prefix_len) != 0))
            return false;
    }
    return true;
}

size_t gw_patterns_match(struct gw_pattern *const *patterns, size_t count, const char *name, size_t len)
{
    for (size_t i = 0; i < count; i++) {
        if (gw_pattern_match(patterns[i], name, len, NULL))
            return i;
    }
    return SIZE_MAX;
}

/* The topic with those of its captures that are given; the others match anything. Points into both. */
static struct gw_pattern *pattern_bind(const struct gw_pattern *pattern, const struct gw_captures *captures)
{
    struct gw_pattern *bound = gw_calloc(1, sizeof *bound);
    size_t count = pattern->level_count;
    for (size_t i = 0; i < captures->count; i++)
        count += gw_topic_levels(captures->items[i].value, captures->items[i].value_len);
    bound->levels = gw_calloc(count, sizeof *bound->levels);
    for (size_t i = 0; i < pattern->level_count; i++) {
        struct level level = pattern->levels[i];
        const struct gw_capture *found = NULL;
        if (level.kind == LEVEL_CAPTURE || level.kind == LEVEL_REST)
            found = gw_captures_find(captures, pattern->names[level.capture]);
        if (!found) {
            bound->levels[bound->level_count++] = level;
            continue;
        }
        for (const char *at = found->value, *end = at + found->value_len; at;) {
            const char *slash = memchr(at, '/', (size_t)(end - at));
            bound->levels[bound->level_count++] = (struct level){
                .kind = LEVEL_LITERAL, .prefix = at, .prefix_len = (size_t)((slash ? slash : end) - at)};
            at = slash ? slash + 1 : NULL;
        }
    }
    return bound;
}

size_t gw_patterns_cover(struct gw_pattern *const *patterns, size_t count, const struct gw_pattern *topic,
                         const struct gw_captures *captures)
{
    struct gw_pattern *bound = pattern_bind(topic, captures);
    size_t found = SIZE_MAX;
    for (size_t i = 0; i < count && found == SIZE_MAX; i++) {
        if (gw_pattern_covers(patterns[i], bound))
            found = i;
    }
    gw_pattern_free(bound);
    return found;
}
