/* yaml_hint.c: what is in a line that YAML can't read, or reads as something else, and what to write instead. */
#include "config/yaml_hint.h"

#include <stdio.h>
#include <string.h>

void gw_yaml_hint_value(const struct gw_line *line, struct gw_buf *out)
{
    bool secret = gw_is_secret(line->start, (size_t)(line->value - line->start));
    if (secret && line->key_len)
        gw_buf_printf(out, "%.*s: \"…\"", (int)line->key_len, line->key);
    else if (line->key_len)
        gw_yaml_quote(line->key, line->key_len, line->value, (size_t)(line->value_end - line->value), out);
    else
        gw_buf_adds(out, "\"…\"");
}

void gw_yaml_hint_quotes(const struct gw_line *line, const char *what, struct gw_buf *out)
{
    gw_buf_printf(out, "%s (quotes expected: ", what);
    gw_yaml_hint_value(line, out);
    gw_buf_addc(out, ')');
}

static bool says(const struct gw_yaml_error *error, const char *words)
{
    return (error->problem && strstr(error->problem, words)) || (error->context && strstr(error->context, words));
}

/* Bytes that are no text. */
static void hint_bytes(const struct gw_source *source, struct gw_yaml_error *error, struct gw_buf *out)
{
    size_t line_start = 0;
    error->at = (struct gw_place){1, 1};
    for (size_t i = 0; i < error->offset && i < source->len; i++) {
        if (source->text[i] == '\n') {
            error->at.line++;
            line_start = i + 1;
        }
    }
    for (size_t i = line_start; i < error->offset && i < source->len; i++)
        error->at.column += ((unsigned char)source->text[i] & 0xc0) != 0x80;
    if (says(error, "control characters"))
        gw_buf_printf(out, "the character U+%04X (printable text expected)", (unsigned)error->value);
    else
        gw_buf_printf(out, "the byte 0x%02X is not UTF-8 (a file saved as UTF-8 expected)",
                      (unsigned)error->value & 0xff);
}

static bool hint_tab(const struct gw_line *line, struct gw_yaml_error *error, struct gw_buf *out)
{
    const char *tab = memchr(line->start, '\t', (size_t)(line->content - line->start));
    const char *mark = gw_line_at(line, error->at.column);
    if (!tab && mark < line->end && *mark == '\t')
        tab = mark;
    if (!tab)
        return false;
    error->at.column = gw_line_column(line, tab);
    gw_buf_adds(out, tab < line->content ? "the line is indented by a tab (spaces expected)"
                                         : "a tab where YAML has none (a space expected)");
    return true;
}

/* Where a quoted text ends: behind its quote, NULL if it does not end in the line. */
static const char *quoted_end(const char *at, const char *end)
{
    char quote = *at++;
    for (; at < end; at++) {
        if (quote == '"' && *at == '\\')
            at++;
        else if (*at == quote && quote == '\'' && at + 1 < end && at[1] == quote)
            at++;
        else if (*at == quote)
            return at + 1;
    }
    return NULL;
}

/* Is it `>` or `|` with a text in the same line? */
static bool block_text(const struct gw_line *line)
{
    const char *at = line->value;
    if (*at != '>' && *at != '|')
        return false;
    for (at++; at < line->value_end && strchr("+-123456789 \t", *at);)
        at++;
    return at < line->value_end;
}

/* A value that begins with a sign of YAML's, or has one inside. */
static bool hint_value(const struct gw_line *line, const struct gw_yaml_error *error, struct gw_buf *out)
{
    size_t len = (size_t)(line->value_end - line->value);
    char first = len ? *line->value : '\0', second = len > 1 ? line->value[1] : '\0';
    char what[120];
    if (!len)
        return false;
    if (first == '{' && second == '{') {
        gw_yaml_hint_key(&(struct gw_source){line->start, (size_t)(line->end - line->start)}, (struct gw_place){1, 1},
                         out);
        return true;
    }
    if (first == '{' || first == '[') {
        snprintf(what, sizeof what, "a value that begins with '%c' is a %s to YAML", first,
                 first == '{' ? "mapping" : "list");
        gw_yaml_hint_quotes(line, what, out);
        return true;
    }
    if (first == '"' || first == '\'') {
        const char *end = quoted_end(line->value, line->end);
        if (says(error, "escape") || says(error, "hexdecimal"))
            gw_buf_adds(out,
                        "a \\ in double quotes begins an escape (\\\\ expected, or single quotes around the value)");
        else if (end && end < line->value_end)
            gw_buf_printf(out, "text behind the closing %c of a value (%s expected, or the other kind of quotes)",
                          first, first == '\'' ? "'' for a ' inside" : "\\\" for a \" inside");
        else
            return false;
        return true;
    }
    if (strchr("@`%", first) || block_text(line) || strchr("]},", first) || (first == '-' && gw_is_blank(second)) ||
        (first == '?' && gw_is_blank(second))) {
        snprintf(what, sizeof what, "a value can't begin with '%c' in YAML", first);
        gw_yaml_hint_quotes(line, what, out);
        return true;
    }
    if (first == '!' || first == '&' || first == '*') {
        gw_yaml_hint_sign_at(line, line->value, out);
        return true;
    }
    for (const char *at = line->value; at < line->value_end; at++) {
        if (*at == ':' && (at + 1 == line->value_end || gw_is_blank(at[1]))) {
            gw_yaml_hint_quotes(line, "a ':' with a blank behind it begins another value in YAML", out);
            return true;
        }
    }
    return false;
}

/* `url:mqtt://host`: no blank behind the colon. */
static bool hint_missing_blank(const struct gw_source *source, struct gw_yaml_error *error, struct gw_buf *out)
{
    for (int number = error->at.line; number >= 1 && number >= error->at.line - 1; number--) {
        struct gw_line line;
        if (!gw_line_find(source, number, &line))
            continue;
        const char *word = line.content;
        if (word + 1 < line.end && *word == '-' && gw_is_blank(word[1]))
            word += 2;
        const char *at = word;
        while (at < line.end && gw_is_word(*at))
            at++;
        bool colon = at > word && at + 1 < line.end && *at == ':' && !gw_is_blank(at[1]) && at[1] != '/';
        if (!colon && !(at > word && *word == '-' && at < line.end && *at == ':'))
            continue;
        error->at = (struct gw_place){number, gw_line_column(&line, colon ? at : word)};
        if (colon)
            gw_buf_printf(out, "no blank behind ':' (%.*s: … expected)", (int)(at - word), word);
        else
            gw_buf_printf(out, "no blank behind '-' (- %.*s: … expected)", (int)(at - word - 1), word + 1);
        return true;
    }
    return false;
}

/* A column in which keys above the line begin. */
struct open {
    int column, line;
    const char *key;
    size_t len;
};

/* The columns above in which a mapping or list is open, the nearest to `column` on either side. */
static void open_columns(const struct gw_source *source, int from, int column, struct open *left, struct open *right)
{
    int limit = 1 << 20;
    for (int number = from - 1; number >= 1 && limit > 1; number--) {
        struct gw_line line;
        if (!gw_line_find(source, number, &line) || line.content == line.end || *line.content == '#')
            continue;
        bool dash = line.content + 1 < line.end && *line.content == '-' && gw_is_blank(line.content[1]);
        const char *word = dash ? line.content + 2 : line.content;
        while (word < line.end && gw_is_blank(*word))
            word++;
        gw_line_locate(&line, line.end);
        const char *begins[] = {word, line.content};
        for (int i = 0; i < (dash ? 2 : 1); i++) {
            int own = gw_line_column(&line, begins[i]);
            if (own >= limit)
                continue;
            limit = own;
            struct open open = {own, number,
                                i          ? "-"
                                : line.key ? line.key
                                           : word,
                                i          ? 1
                                : line.key ? line.key_len
                                           : 0};
            if (!open.len)
                continue;
            if (own > column)
                *right = open;
            else if (!left->line)
                *left = open;
        }
    }
}

/* A line that begins in a column where nothing is open. */
static bool hint_indentation(const struct gw_source *source, const struct gw_line *line, struct gw_yaml_error *error,
                             struct gw_buf *out)
{
    struct open left = {0}, right = {0};
    int column = gw_line_column(line, line->content);
    if (line->content == line->end)
        return false;
    open_columns(source, error->at.line, column, &left, &right);
    bool list = *line->content == '-' && line->content + 1 < line->end && gw_is_blank(line->content[1]);
    if (list && left.column == column && *left.key != '-') { /* where a key could be, but no entry */
        left = right = (struct open){0};
        open_columns(source, error->at.line, column - 1, &left, &right);
        if (!left.line || *left.key != '-')
            return false;
        right = left;
    }
    if (!left.line)
        left = right;
    if (!left.line || left.column == column)
        return false;
    error->at.column = column;
    gw_buf_printf(out, "the %s begins in column %d, where no %s above does (column %d expected, as '%.*s' in line %d",
                  list ? "entry of a list" : "line", column, list ? "entry" : "line", left.column, (int)left.len,
                  left.key, left.line);
    if (right.line && right.column != left.column)
        gw_buf_printf(out, ", or column %d, as '%.*s' in line %d", right.column, (int)right.len, right.key,
                      right.line);
    gw_buf_addc(out, ')');
    return true;
}

/* Brackets and quotes that are never closed: said where they open. */
static bool hint_unclosed(const struct gw_source *source, struct gw_yaml_error *error, struct gw_buf *out)
{
    struct gw_line line;
    if (!error->began.line || !gw_line_find(source, error->began.line, &line))
        return false;
    const char *opens = gw_line_at(&line, error->began.column);
    if (opens >= line.end)
        return false;
    bool quote = says(error, "quoted scalar") && says(error, "unexpected end of stream");
    bool flow =
        (*opens == '{' || *opens == '[') && says(error, "while parsing a flow") && error->at.line > error->began.line;
    if (!quote && !flow)
        return false;
    error->at = error->began;
    if (quote)
        gw_buf_printf(out, "a text that opens with %c here is never closed (another %c at its end expected)", *opens,
                      *opens);
    else
        gw_buf_printf(out,
                      "what opens with '%c' here is not closed as it should be ('%c' at its end expected, and a "
                      "comma between entries; quotes if it is a text)",
                      *opens, *opens == '{' ? '}' : ']');
    return true;
}

/* `{ password: ${VAR} }`: inside brackets the brace of a variable opens a mapping. */
static bool hint_variable(const struct gw_line *line, struct gw_yaml_error *error, struct gw_buf *out)
{
    if (!says(error, "flow mapping") && !says(error, "flow sequence"))
        return false;
    const char *at = gw_line_at(line, error->at.column);
    if (at > line->content && *at == '{')
        at--;
    const char *end = at + 1 < line->end && at[0] == '$' && at[1] == '{' ? at : NULL;
    while (end && end < line->end && *end != '}')
        end++;
    if (!end || end == line->end)
        return false;
    error->at.column = gw_line_column(line, at);
    gw_buf_printf(out, "a variable inside { } or [ ] without quotes (\"%.*s\" expected)", (int)(end + 1 - at), at);
    return true;
}

/* `key = value` of other formats. */
static bool hint_equals(const struct gw_line *line, struct gw_yaml_error *error, struct gw_buf *out)
{
    const char *at = line->content;
    while (at < line->end && gw_is_word(*at))
        at++;
    size_t len = (size_t)(at - line->content);
    while (at < line->end && gw_is_blank(*at))
        at++;
    if (!len || at == line->end || *at != '=')
        return false;
    error->at.column = gw_line_column(line, at);
    gw_buf_printf(out, "'=' between key and value (%.*s: … expected)", (int)len, line->content);
    return true;
}

static bool hint_line(const struct gw_source *source, struct gw_yaml_error *error, struct gw_buf *out)
{
    struct gw_line line;
    if (source->len > 6 && !memcmp(source->text, "\xef\xbb\xbf\xef\xbb\xbf", 6)) {
        error->at = (struct gw_place){1, 1};
        gw_buf_adds(out, "two byte order marks at the beginning (one or none expected)");
        return true;
    }
    bool found = gw_line_find(source, error->at.line, &line);
    if ((found && hint_variable(&line, error, out)) || hint_unclosed(source, error, out))
        return true;
    if (!found)
        return false;
    if (hint_tab(&line, error, out) || hint_equals(&line, error, out))
        return true;
    const char *mark = gw_line_at(&line, error->at.column);
    if (mark == line.content && mark < line.end && strchr("@`", *mark)) {
        line.key = "";
        line.value = mark;
        line.value_end = gw_line_value_end(mark, line.end, true);
        return hint_value(&line, error, out);
    }
    /* At the beginning of a line it is the indentation, or what the line before it left open. */
    if (mark > line.content) {
        gw_line_locate(&line, mark + (mark == line.end));
        if (!line.key && *line.content == '-' && gw_is_blank(line.content[1])) { /* an item of a list */
            line.key = "";
            for (line.value = line.content + 2; line.value < mark && gw_is_blank(*line.value);)
                line.value++;
            line.value_end = gw_line_value_end(line.value, line.end, false);
        }
        if (line.key && mark >= line.value && hint_value(&line, error, out)) {
            error->at.column = gw_line_column(&line, line.value);
            return true;
        }
    }
    return hint_missing_blank(source, error, out) || hint_indentation(source, &line, error, out);
}

void gw_yaml_hint_error(const struct gw_source *source, struct gw_yaml_error *error, struct gw_buf *out)
{
    if (error->reader && error->value >= 0) {
        hint_bytes(source, error, out);
        return;
    }
    if (error->reader || !hint_line(source, error, out))
        gw_buf_printf(out, "not valid YAML: %s%s%s", error->problem ? error->problem : "syntax error",
                      error->context ? ", " : "", error->context ? error->context : "");
}
