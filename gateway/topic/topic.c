#include "gateway/topic.h"

#include <string.h>

#include "gateway/utf8.h"

static bool topic_text_valid(const char *text, size_t len)
{
    return len >= 1 && len <= GW_TOPIC_MAX && !memchr(text, '\0', len) && gw_utf8_valid(text, len);
}

bool gw_topic_name_valid(const char *name, size_t len)
{
    return topic_text_valid(name, len) && !memchr(name, '+', len) && !memchr(name, '#', len);
}

bool gw_topic_filter_valid(const char *filter, size_t len)
{
    if (!topic_text_valid(filter, len))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (filter[i] != '+' && filter[i] != '#')
            continue;
        bool starts = i == 0 || filter[i - 1] == '/';
        bool ends = i + 1 == len || (filter[i] == '+' && filter[i + 1] == '/');
        if (!starts || !ends)
            return false;
    }
    return true;
}

bool gw_topic_has_wildcard(const char *filter, size_t len)
{
    return len && (memchr(filter, '+', len) || memchr(filter, '#', len));
}

/* Steps through levels: *at is where the next one begins, len + 1 when there is none left. */
static bool topic_level(const char *text, size_t len, size_t *at, const char **level, size_t *level_len)
{
    if (*at > len)
        return false;
    const char *start = text + *at;
    const char *slash = memchr(start, '/', len - *at);
    *level = start;
    *level_len = slash ? (size_t)(slash - start) : len - *at;
    *at += *level_len + 1;
    return true;
}

static bool level_is(const char *level, size_t len, char c)
{
    return len == 1 && level[0] == c;
}

bool gw_topic_matches(const char *filter, size_t filter_len, const char *name, size_t name_len)
{
    if (name[0] == '$' && (filter[0] == '+' || filter[0] == '#'))
        return false;
    size_t f = 0, n = 0;
    const char *want, *have;
    size_t want_len, have_len;
    while (topic_level(filter, filter_len, &f, &want, &want_len)) {
        if (level_is(want, want_len, '#'))
            return true;
        if (!topic_level(name, name_len, &n, &have, &have_len))
            return false;
        if (level_is(want, want_len, '+'))
            continue;
        if (want_len != have_len || memcmp(want, have, want_len) != 0)
            return false;
    }
    return n > name_len;
}

bool gw_topic_filter_covers(const char *a, size_t a_len, const char *b, size_t b_len)
{
    if (b[0] == '$' && (a[0] == '+' || a[0] == '#'))
        return false;
    size_t i = 0, j = 0;
    const char *wide, *narrow;
    size_t wide_len, narrow_len;
    while (topic_level(a, a_len, &i, &wide, &wide_len)) {
        if (level_is(wide, wide_len, '#'))
            return true; /* also the parent level, if b has just ended */
        if (!topic_level(b, b_len, &j, &narrow, &narrow_len) || level_is(narrow, narrow_len, '#'))
            return false;
        if (!level_is(wide, wide_len, '+') && (wide_len != narrow_len || memcmp(wide, narrow, wide_len) != 0))
            return false;
    }
    return j > b_len;
}

bool gw_topic_filters_overlap(const char *a, size_t a_len, const char *b, size_t b_len)
{
    if ((a[0] == '$' && (b[0] == '+' || b[0] == '#')) || (b[0] == '$' && (a[0] == '+' || a[0] == '#')))
        return false;
    size_t i = 0, j = 0;
    const char *left, *right;
    size_t left_len, right_len;
    for (;;) {
        bool more_a = topic_level(a, a_len, &i, &left, &left_len);
        bool more_b = topic_level(b, b_len, &j, &right, &right_len);
        if (more_a && level_is(left, left_len, '#'))
            return true;
        if (more_b && level_is(right, right_len, '#'))
            return true;
        if (!more_a || !more_b)
            return more_a == more_b;
        if (level_is(left, left_len, '+') || level_is(right, right_len, '+'))
            continue;
        if (left_len != right_len || memcmp(left, right, left_len) != 0)
            return false;
    }
}

size_t gw_topic_levels(const char *name, size_t len)
{
    size_t levels = 1;
    for (size_t i = 0; i < len; i++)
        levels += name[i] == '/';
    return levels;
}
