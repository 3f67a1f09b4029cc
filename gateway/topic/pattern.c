#include "topic/pattern.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "topic/topic.h"

enum level_kind { LEVEL_LITERAL, LEVEL_CAPTURE, LEVEL_REST, LEVEL_PLUS, LEVEL_HASH };

struct level {
    enum level_kind kind;
    const char *prefix; /* literal text before the capture, or all of it; inside text */
    size_t prefix_len;
    const char *suffix;
    size_t suffix_len;
    size_t capture; /* index */
};

struct gw_pattern {
    char *text, *filter;
    char *names[GW_PATTERN_CAPTURES_MAX];
    size_t name_count;
    struct level *levels;
    size_t level_count;
    bool anonymous;
};

void gw_pattern_free(struct gw_pattern *pattern)
{
    if (!pattern)
        return;
    for (size_t i = 0; i < pattern->name_count; i++)
        free(pattern->names[i]);
    free(pattern->levels);
    free(pattern->filter);
    free(pattern->text);
    free(pattern);
}

static bool name_char(char c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (!first && c >= '0' && c <= '9');
}

struct compile {
    struct gw_pattern *pattern;
    enum gw_pattern_kind kind;
    struct gw_buf *error;
    size_t *offset;
};

static bool compile_fail(struct compile *compile, size_t offset, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool compile_fail(struct compile *compile, size_t offset, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    gw_buf_vprintf(compile->error, format, args);
    va_end(args);
    *compile->offset = offset;
    return false;
}

/* `{name}` or `{name...}` inside the level; `open` is where its brace is. */
static bool compile_capture(struct compile *compile, struct level *level, const char *start, size_t len, size_t at,
                            const char *open, bool is_last)
{
    struct gw_pattern *pattern = compile->pattern;
    const char *end = start + len, *close = memchr(open, '}', (size_t)(end - open));
    size_t offset = at + (size_t)(open - start);
    if (!close)
        return compile_fail(compile, offset, "'{' without '}' (a capture is {name} or {name...})");
    const char *name = open + 1;
    size_t name_len = (size_t)(close - name);
    bool rest = name_len > 3 && !memcmp(close - 3, "...", 3);
    if (rest)
        name_len -= 3;
    bool valid = name_len > 0;
    for (size_t i = 0; i < name_len; i++)
        valid &= name_char(name[i], i == 0);
    if (!valid)
        return compile_fail(compile, offset,
                            "'%.*s' is no capture (letters, digits and _ in {name} or {name...} expected)",
                            (int)(close - open + 1), open);
    level->prefix = start;
    level->prefix_len = (size_t)(open - start);
    level->suffix = close + 1;
    level->suffix_len = (size_t)(end - close - 1);
    if (memchr(level->suffix, '{', level->suffix_len))
        return compile_fail(compile, offset, "two captures in one level (one at most)");
    if ((level->prefix_len || level->suffix_len) && (rest || compile->kind == GW_PATTERN_TOPIC))
        return compile_fail(compile, offset, "text beside a capture (%s stands alone in its level)",
                            rest ? "{name...}" : "a capture in a topic");
    if (rest && !is_last && compile->kind != GW_PATTERN_PUBLISH)
        return compile_fail(compile, offset, "{%.*s...} before the end (it captures the rest, so it comes last)",
                            (int)name_len, name);
    for (size_t i = 0; i < pattern->name_count; i++) {
        if (strlen(pattern->names[i]) == name_len && !memcmp(pattern->names[i], name, name_len))
            return compile_fail(compile, offset, "capture {%.*s} twice (each name once)", (int)name_len, name);
    }
    if (pattern->name_count == GW_PATTERN_CAPTURES_MAX)
        return compile_fail(compile, offset, "too many captures (%d at most)", GW_PATTERN_CAPTURES_MAX);
    level->kind = rest ? LEVEL_REST : LEVEL_CAPTURE;
    level->capture = pattern->name_count;
    pattern->names[pattern->name_count++] = gw_strndup(name, name_len);
    return true;
}

static bool compile_level(struct compile *compile, struct level *level, const char *start, size_t len, size_t at,
                          bool is_last)
{
    const char *open = memchr(start, '{', len);
    if (open)
        return compile_capture(compile, level, start, len, at, open, is_last);
    const char *brace = memchr(start, '}', len);
    if (brace)
        return compile_fail(compile, at + (size_t)(brace - start), "'}' without '{'");
    *level = (struct level){.kind = LEVEL_LITERAL, .prefix = start, .prefix_len = len};
    const char *wild = memchr(start, '+', len) ? memchr(start, '+', len) : memchr(start, '#', len);
    if (!wild)
        return true;
    if (compile->kind != GW_PATTERN_TOPIC)
        return compile_fail(compile, at, "wildcard '%c' (a capture such as {name} expected)", *wild);
    if (len != 1)
        return compile_fail(compile, at, "'%c' beside other text (a wildcard stands alone in its level)", *wild);
    if (*wild == '#' && !is_last)
        return compile_fail(compile, at, "'#' before the end (it matches the rest, so it comes last)");
    level->kind = *wild == '+' ? LEVEL_PLUS : LEVEL_HASH;
    compile->pattern->anonymous = true;
    return true;
}

static void compile_filter(struct gw_pattern *pattern)
{
    struct gw_buf filter;
    gw_buf_init(&filter);
    for (size_t i = 0; i < pattern->level_count; i++) {
        const struct level *level = &pattern->levels[i];
        if (i)
            gw_buf_addc(&filter, '/');
        switch (level->kind) {
        case LEVEL_LITERAL:
            gw_buf_add(&filter, level->prefix, level->prefix_len);
            break;
        case LEVEL_CAPTURE:
        case LEVEL_PLUS:
            gw_buf_addc(&filter, '+');
            break;
        case LEVEL_REST:
        case LEVEL_HASH:
            gw_buf_addc(&filter, '#');
            break;
        }
    }
    pattern->filter = gw_buf_take(&filter);
}

struct gw_pattern *gw_pattern_compile(const char *text, enum gw_pattern_kind kind, struct gw_buf *error,
                                      size_t *offset)
{
    struct gw_pattern *pattern = gw_calloc(1, sizeof *pattern);
    struct compile compile = {pattern, kind, error, offset};
    size_t len = strlen(text);
    pattern->text = gw_strdup(text);
    if (!len) {
        compile_fail(&compile, 0, "it is empty (a topic expected)");
        goto fail;
    }
    size_t count = 1;
    for (size_t i = 0; i < len; i++)
        count += text[i] == '/';
    pattern->levels = gw_calloc(count, sizeof *pattern->levels);
    for (size_t at = 0; at <= len;) {
        const char *start = pattern->text + at;
        size_t level_len = strcspn(start, "/");
        struct level *level = &pattern->levels[pattern->level_count++];
        if (!compile_level(&compile, level, start, level_len, at, pattern->level_count == count))
            goto fail;
        at += level_len + 1;
    }
    compile_filter(pattern);
    if (kind != GW_PATTERN_PUBLISH && !gw_topic_filter_valid(pattern->filter, strlen(pattern->filter))) {
        compile_fail(&compile, 0, "it is no valid topic (UTF-8, 65535 bytes at most, expected)");
        goto fail;
    }
    return pattern;
fail:
    gw_pattern_free(pattern);
    return NULL;
}

const char *gw_pattern_text(const struct gw_pattern *pattern)
{
    return pattern->text;
}

const char *gw_pattern_filter(const struct gw_pattern *pattern)
{
    return pattern->filter;
}

size_t gw_pattern_capture_count(const struct gw_pattern *pattern)
{
    return pattern->name_count;
}

const char *gw_pattern_capture_name(const struct gw_pattern *pattern, size_t index)
{
    return pattern->names[index];
}

bool gw_pattern_has_capture(const struct gw_pattern *pattern, const char *name)
{
    for (size_t i = 0; i < pattern->name_count; i++) {
        if (!strcmp(pattern->names[i], name))
            return true;
    }
    return false;
}

bool gw_pattern_has_anonymous(const struct gw_pattern *pattern)
{
    return pattern->anonymous;
}

struct span {
    const char *data;
    size_t len;
};

/* Does one level of a name match? The capture's value is what is between prefix and suffix. */
static bool level_matches(const struct level *level, const char *start, size_t len, struct span *value)
{
    *value = (struct span){start, len};
    switch (level->kind) {
    case LEVEL_LITERAL:
        return len == level->prefix_len && !memcmp(start, level->prefix, len);
    case LEVEL_PLUS:
        return true;
    case LEVEL_CAPTURE:
        if (len < level->prefix_len + level->suffix_len || memcmp(start, level->prefix, level->prefix_len) != 0 ||
            memcmp(start + len - level->suffix_len, level->suffix, level->suffix_len) != 0)
            return false;
        *value = (struct span){start + level->prefix_len, len - level->prefix_len - level->suffix_len};
        return true;
    case LEVEL_REST:
    case LEVEL_HASH:
        break;
    }
    return false;
}

static void capture(const struct gw_pattern *pattern, const struct level *level, const char *value, size_t len,
                    struct gw_captures *captures)
{
    if (captures)
        captures->items[captures->count++] = (struct gw_capture){pattern->names[level->capture], value, len};
}

bool gw_pattern_match(const struct gw_pattern *pattern, const char *name, size_t len, struct gw_captures *captures)
{
    if (captures)
        captures->count = 0;
    bool wild_first = pattern->levels[0].kind != LEVEL_LITERAL && !pattern->levels[0].prefix_len;
    if (wild_first && len && name[0] == '$')
        return false; /* MQTT 5.0 section 4.7.2 */
    size_t at = 0;
    for (size_t i = 0; i < pattern->level_count; i++) {
        const struct level *level = &pattern->levels[i];
        if (level->kind == LEVEL_HASH)
            return true; /* the parent level as well */
        if (at > len)
            return false;
        if (level->kind == LEVEL_REST) {
            capture(pattern, level, name + at, len - at, captures);
            return true;
        }
        const char *slash = memchr(name + at, '/', len - at);
        size_t level_len = slash ? (size_t)(slash - (name + at)) : len - at;
        struct span value;
        if (!level_matches(level, name + at, level_len, &value))
            return false;
        if (level->kind == LEVEL_CAPTURE)
            capture(pattern, level, value.data, value.len, captures);
        at += level_len + 1;
    }
    return at > len;
}

static const struct gw_capture *pattern_capture(const struct gw_captures *captures, const char *name)
{
    for (size_t i = 0; i < captures->count; i++) {
        if (!strcmp(captures->items[i].name, name))
            return &captures->items[i];
    }
    return NULL;
}

bool gw_pattern_expand(const struct gw_pattern *pattern, const struct gw_captures *captures, struct gw_buf *out)
{
    for (size_t i = 0; i < pattern->level_count; i++) {
        const struct level *level = &pattern->levels[i];
        if (i)
            gw_buf_addc(out, '/');
        if (level->kind == LEVEL_LITERAL) {
            gw_buf_add(out, level->prefix, level->prefix_len);
            continue;
        }
        if (level->kind == LEVEL_PLUS || level->kind == LEVEL_HASH)
            return false;
        const struct gw_capture *found = pattern_capture(captures, pattern->names[level->capture]);
        if (!found)
            return false;
        gw_buf_add(out, level->prefix, level->prefix_len);
        gw_buf_add(out, found->value, found->value_len);
        gw_buf_add(out, level->suffix, level->suffix_len);
    }
    return true;
}

static bool level_is_rest(const struct level *level)
{
    return level->kind == LEVEL_REST || level->kind == LEVEL_HASH;
}

void gw_pattern_narrow(const struct gw_pattern *pattern, const struct gw_captures *captures, struct gw_buf *out)
{
    for (size_t i = 0; i < pattern->level_count; i++) {
        const struct level *level = &pattern->levels[i];
        bool plain = level->kind == LEVEL_LITERAL || level->kind == LEVEL_PLUS || level->kind == LEVEL_HASH;
        const struct gw_capture *found = plain ? NULL : pattern_capture(captures, pattern->names[level->capture]);
        gw_buf_adds(out, i ? "/" : "");
        if (level->kind == LEVEL_LITERAL) {
            gw_buf_add(out, level->prefix, level->prefix_len);
        } else if (found) {
            gw_buf_add(out, level->prefix, level->prefix_len);
            gw_buf_add(out, found->value, found->value_len);
            gw_buf_add(out, level->suffix, level->suffix_len);
        } else if (level_is_rest(level)) {
            gw_buf_addc(out, '#');
            return;
        } else {
            gw_buf_addc(out, '+');
        }
    }
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

bool gw_pattern_sample(const struct gw_pattern *a, const struct gw_pattern *b, struct gw_buf *out)
{
    size_t i = 0, j = 0, number = 0;
    while (i < a->level_count || j < b->level_count) {
        const struct level *left = i < a->level_count ? &a->levels[i] : NULL;
        const struct level *right = j < b->level_count ? &b->levels[j] : NULL;
        bool left_rest = left && level_is_rest(left), right_rest = right && level_is_rest(right);
        if ((!left && !right_rest) || (!right && !left_rest))
            break; /* of different length: the check below says no */
        if (number)
            gw_buf_addc(out, '/');
        sample_level(left_rest ? NULL : left, right_rest ? NULL : right, ++number, out);
        /* A rest takes one level for each of the other's, and at least one. */
        if (left && !(left_rest && right && !right_rest && j + 1 < b->level_count))
            i++;
        if (right && !(right_rest && left && !left_rest && i < a->level_count))
            j++;
    }
    return gw_pattern_match(a, out->data ? out->data : "", out->len, NULL) &&
           gw_pattern_match(b, out->data ? out->data : "", out->len, NULL);
}
