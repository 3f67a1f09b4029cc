/* yaml_line.c: a line of the configuration taken apart, without knowing YAML. */
#include "config/yaml_line.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define VALUE_SHOWN 60 /* bytes of a value in a phrase */

bool gw_line_find(const struct gw_source *source, int number, struct gw_line *line)
{
    const char *at = source->text, *end = source->text + source->len;
    if (source->len >= 3 && !memcmp(at, "\xef\xbb\xbf", 3))
        at += 3;
    for (int i = 1; i < number && at; i++) {
        at = memchr(at, '\n', (size_t)(end - at));
        at = at ? at + 1 : NULL;
    }
    if (!at || at > end)
        return false;
    const char *stop = memchr(at, '\n', (size_t)(end - at));
    *line = (struct gw_line){.start = at, .end = stop ? stop : end};
    if (line->end > at && line->end[-1] == '\r')
        line->end--;
    for (line->content = at; line->content < line->end && gw_is_blank(*line->content);)
        line->content++;
    return true;
}

/* The byte of a column, which counts characters. */
const char *gw_line_at(const struct gw_line *line, int column)
{
    const char *at = line->start;
    for (int i = 1; i < column && at < line->end; i++) {
        do
            at++;
        while (at < line->end && ((unsigned char)*at & 0xc0) == 0x80);
    }
    return at;
}

int gw_line_column(const struct gw_line *line, const char *byte)
{
    int column = 1;
    for (const char *at = line->start; at < byte; at++)
        column += ((unsigned char)*at & 0xc0) != 0x80;
    return column;
}

/* The end of a value: that of the line, before a comment, or in `{ … }` and `[ … ]` before what follows it. */
const char *gw_line_value_end(const char *at, const char *end, bool flow)
{
    int depth = 0;
    const char *start = at;
    for (; at < end; at++) {
        if (*at == '#' && at > start && gw_is_blank(at[-1]))
            break;
        if (flow && !depth && (*at == ',' || *at == '}' || *at == ']') && at > start)
            break;
        depth += (*at == '{' || *at == '[') - (*at == '}' || *at == ']');
    }
    while (at > start && gw_is_blank(at[-1]))
        at--;
    return at;
}

/* Finds the last `key: ` before the byte. */
void gw_line_locate(struct gw_line *line, const char *byte)
{
    bool flow = false, inside = false;
    for (const char *at = line->content; at < line->end && at < byte; at++) {
        flow |= *at == '{' || *at == '[';
        const char *key = at;
        while (key > line->content && gw_is_word(key[-1]))
            key--;
        if (*at != ':' || key == at || (at + 1 < line->end && !gw_is_blank(at[1])))
            continue;
        line->key = key;
        line->key_len = (size_t)(at - key);
        line->value = at + 1;
        while (line->value < line->end && gw_is_blank(*line->value))
            line->value++;
        inside = flow;
        /* A plain value goes on past a second `key: `; only within braces another key may follow it. */
        if (!flow && (line->value == line->end || !strchr("{[", *line->value)))
            break;
    }
    if (line->key)
        line->value_end = gw_line_value_end(line->value, line->end, inside);
}

bool gw_is_secret(const char *key, size_t len)
{
    static const char *const words[] = {"password", "pass", "secret", "token", "hash"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t word = strlen(words[i]);
        for (size_t at = 0; at + word <= len; at++) {
            if (!strncasecmp(key + at, words[i], word))
                return true;
        }
    }
    return false;
}

void gw_yaml_quote(const char *key, size_t key_len, const char *value, size_t value_len, struct gw_buf *out)
{
    bool secret = gw_is_secret(key, key_len) || gw_is_secret(value, value_len);
    bool single = memchr(value, '"', value_len) || memchr(value, '\\', value_len);
    if (key_len)
        gw_buf_printf(out, "%.*s: ", (int)key_len, key);
    gw_buf_addc(out, single ? '\'' : '"');
    for (size_t i = 0; i < value_len && !secret && value_len <= VALUE_SHOWN; i++) {
        if (single && value[i] == '\'')
            gw_buf_addc(out, '\'');
        gw_buf_addc(out, value[i]);
    }
    if (secret || value_len > VALUE_SHOWN)
        gw_buf_adds(out, "…");
    gw_buf_addc(out, single ? '\'' : '"');
}

bool gw_yaml_odd(const char *text, struct gw_buf *out)
{
    static const struct {
        const char *bytes, *code, *name;
        bool quote; /* counts at the beginning only */
    } odd[] = {
        {"\xc2\xa0", "U+00A0", "a no-break space", false},
        {"\xe2\x80\x8b", "U+200B", "an invisible space", false},
        {"\xe2\x80\x8c", "U+200C", "invisible", false},
        {"\xe2\x80\x8d", "U+200D", "invisible", false},
        {"\xe2\x80\xaf", "U+202F", "a narrow no-break space", false},
        {"\xe2\x81\xa0", "U+2060", "invisible", false},
        {"\xe3\x80\x80", "U+3000", "an ideographic space", false},
        {"\xef\xbb\xbf", "U+FEFF", "a byte order mark", false},
        {"\xe2\x80\x9c", "U+201C", "a typographic quote", true},
        {"\xe2\x80\x9d", "U+201D", "a typographic quote", true},
        {"\xe2\x80\x9e", "U+201E", "a typographic quote", true},
        {"\xe2\x80\x98", "U+2018", "a typographic quote", true},
        {"\xe2\x80\x99", "U+2019", "a typographic quote", true},
        {"\xc2\xab", "U+00AB", "a typographic quote", true},
    };
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        const char *at = strstr(text, odd[i].bytes);
        if (!at || (odd[i].quote && at != text))
            continue;
        gw_buf_printf(out, "the character %s, %s, in a value without quotes (%s expected, or quotes if it is meant)",
                      odd[i].code, odd[i].name,
                      odd[i].quote                   ? "\" or '"
                      : strstr(odd[i].name, "space") ? "a plain space"
                                                     : "none");
        return true;
    }
    return false;
}

bool gw_yaml_comment_follows(const struct gw_source *source, struct gw_place end, bool any)
{
    struct gw_line line;
    if (!gw_line_find(source, end.line, &line))
        return false;
    const char *at = gw_line_at(&line, end.column);
    if (at >= line.end || !gw_is_blank(*at))
        return false;
    while (at < line.end && gw_is_blank(*at))
        at++;
    return at < line.end && *at == '#' && (any || (at + 1 < line.end && !gw_is_blank(at[1]) && at[1] != '#'));
}
