/* pattern.c: topic patterns: compiling, matching, filling. */
#include "topic/pattern.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/topic.h"
#include "topic/pattern_private.h"

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
                            const char *open)
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
    if (rest && pattern->rest && compile->kind != GW_PATTERN_PUBLISH)
        return compile_fail(compile, offset,
                            "{%.*s...} behind another capture of several levels (one of them, as it would be open "
                            "where each ends)",
                            (int)name_len, name);
    for (size_t i = 0; i < pattern->name_count; i++) {
        if (strlen(pattern->names[i]) == name_len && !memcmp(pattern->names[i], name, name_len))
            return compile_fail(compile, offset, "capture {%.*s} twice (each name once)", (int)name_len, name);
    }
    if (pattern->name_count == GW_CAPTURES_MAX)
        return compile_fail(compile, offset, "too many captures (%d at most)", GW_CAPTURES_MAX);
    level->kind = rest ? LEVEL_REST : LEVEL_CAPTURE;
    pattern->rest |= rest;
    level->capture = pattern->name_count;
    pattern->names[pattern->name_count++] = gw_strndup(name, name_len);
    return true;
}

static bool compile_level(struct compile *compile, struct level *level, const char *start, size_t len, size_t at,
                          bool is_last)
{
    const char *open = memchr(start, '{', len);
    if (open)
        return compile_capture(compile, level, start, len, at, open);
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
        return compile_fail(compile, at,
                            "'#' before the end (it matches the rest, so it comes last; {name...} may come before "
                            "fixed levels)");
    if (*wild == '#' && compile->pattern->rest)
        return compile_fail(compile, at, "'#' behind a capture of several levels (it would be open where that ends)");
    level->kind = *wild == '+' ? LEVEL_PLUS : LEVEL_HASH;
    level->prefix_len = 0;
    compile->pattern->anonymous = true;
    return true;
}

static void compile_filter(struct gw_pattern *pattern)
{
    struct gw_buf filter = {0};
    bool open = true; /* nothing follows a `#`: what is behind a rest is looked at by gw_pattern_match() */
    for (size_t i = 0; i < pattern->level_count && open; i++) {
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
            open = false;
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
    for (size_t i = pattern->level_count; pattern->rest && pattern->levels[i - 1].kind != LEVEL_REST; i--)
        pattern->tail_count++;
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

const char *gw_pattern_tail(const struct gw_pattern *pattern)
{
    return pattern->tail_count ? pattern->levels[pattern->level_count - pattern->tail_count].prefix : NULL;
}

bool gw_pattern_has_rest(const struct gw_pattern *pattern, const char *name)
{
    for (size_t i = 0; i < pattern->level_count; i++) {
        const struct level *level = &pattern->levels[i];
        if (level->kind == LEVEL_REST && !strcmp(pattern->names[level->capture], name))
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

/* Where the rest ends that begins at `at`, if `tail` levels follow it: *end goes back before them. False: too few. */
__attribute__((noinline)) static bool rest_end(const char *name, size_t at, size_t tail, size_t *end)
{
    for (; tail; tail--) {
        const char *slash = memrchr(name + at, '/', *end - at);
        if (!slash)
            return false;
        *end = (size_t)(slash - name);
    }
    return true;
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
            size_t end = len;
            if (!pattern->tail_count) {
                capture(pattern, level, name + at, len - at, captures);
                return true;
            }
            if (!rest_end(name, at, pattern->tail_count, &end))
                return false;
            capture(pattern, level, name + at, end - at, captures);
            at = end + 1;
            continue;
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
        const struct gw_capture *found = gw_captures_find(captures, pattern->names[level->capture]);
        if (!found)
            return false;
        gw_buf_add(out, level->prefix, level->prefix_len);
        gw_buf_add(out, found->value, found->value_len);
        gw_buf_add(out, level->suffix, level->suffix_len);
    }
    return true;
}

void gw_pattern_narrow(const struct gw_pattern *pattern, const struct gw_captures *captures, struct gw_buf *out)
{
    for (size_t i = 0; i < pattern->level_count; i++) {
        const struct level *level = &pattern->levels[i];
        bool plain = level->kind == LEVEL_LITERAL || level->kind == LEVEL_PLUS || level->kind == LEVEL_HASH;
        const struct gw_capture *found = plain ? NULL : gw_captures_find(captures, pattern->names[level->capture]);
        gw_buf_adds(out, i ? "/" : "");
        if (level->kind == LEVEL_LITERAL) {
            gw_buf_add(out, level->prefix, level->prefix_len);
        } else if (found) {
            gw_buf_add(out, level->prefix, level->prefix_len);
            gw_buf_add(out, found->value, found->value_len);
            gw_buf_add(out, level->suffix, level->suffix_len);
        } else if (level->kind == LEVEL_REST || level->kind == LEVEL_HASH) {
            gw_buf_addc(out, '#');
            return;
        } else {
            gw_buf_addc(out, '+');
        }
    }
}
