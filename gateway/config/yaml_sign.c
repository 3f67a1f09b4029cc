/* yaml_sign.c: tags, anchors, aliases and keys that are no words: what they are, and what to write instead. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "config/yaml_hint.h"

static bool value_begins(const struct gw_line *line, const char *word)
{
    size_t len = strlen(word);
    return (size_t)(line->value_end - line->value) >= len && !memcmp(line->value, word, len) &&
           (line->value + len == line->value_end || gw_is_blank(line->value[len]));
}

/* `!secret x` and its relatives, which other programs have. */
static bool hint_tag(const struct gw_line *line, struct gw_buf *out)
{
    const char *name = line->value;
    while (name < line->value_end && !gw_is_blank(*name))
        name++;
    while (name < line->value_end && gw_is_blank(*name))
        name++;
    char variable[40] = "";
    for (size_t i = 0; i + 1 < sizeof variable && name + i < line->value_end && gw_is_word(name[i]); i++) {
        variable[i] = name[i] == '-' ? '_' : (char)toupper((unsigned char)name[i]);
        variable[i + 1] = '\0';
    }
    const char *upper = *variable ? variable : "NAME";
    if (value_begins(line, "!secret") || value_begins(line, "!env_var") || value_begins(line, "!env") ||
        value_begins(line, "!ENV")) {
        gw_buf_printf(out,
                      "tags such as !secret and !env are not supported (a variable of the environment expected: "
                      "%.*s: ${%s}",
                      (int)line->key_len, line->key, upper);
        if (memmem(line->key, line->key_len, "password", 8))
            gw_buf_adds(out, ", or password_file: with a file's path");
        gw_buf_addc(out, ')');
        return true;
    }
    if (line->key_len == 5 && !memcmp(line->key, "topic", 5)) {
        gw_yaml_hint_quotes(
            line, "a value that begins with '!' is a tag to YAML; to leave topics out, a route has except:", out);
        return true;
    }
    if (value_begins(line, "!include") || value_begins(line, "!vault")) {
        gw_buf_adds(out, value_begins(line, "!include")
                             ? "files can't be included (the content expected here)"
                             : "!vault is Ansible's (the value expected, or ${NAME} from the environment)");
        return true;
    }
    return false;
}

void gw_yaml_hint_sign_at(const struct gw_line *line, const char *sign, struct gw_buf *out)
{
    char what[120];
    if (memmem(line->content, (size_t)(line->end - line->content), "<<:", 3)) {
        gw_buf_adds(out, "merge keys are not supported (the keys written out expected)");
    } else if (*sign == '!') {
        if (!hint_tag(line, out))
            gw_yaml_hint_quotes(line, "a value that begins with '!' is a tag to YAML, and tags are not supported",
                                out);
    } else if (*sign == '*' && (sign + 1 >= line->end || strchr(" /*", sign[1]))) {
        gw_buf_adds(out,
                    "a value that begins with '*' is an alias to YAML (a wildcard of MQTT's expected, in quotes: + "
                    "for one level, # for the rest)");
    } else {
        snprintf(what, sizeof what, "a value that begins with '%c' is an %s to YAML, and these are not supported",
                 *sign, *sign == '*' ? "alias" : "anchor");
        gw_buf_printf(out, "%s (the value written out expected, or quotes if it is a text: ", what);
        gw_yaml_hint_value(line, out);
        gw_buf_addc(out, ')');
    }
}

void gw_yaml_hint_sign(const struct gw_source *source, struct gw_place at, struct gw_buf *out)
{
    struct gw_line line;
    if (!gw_line_find(source, at.line, &line)) {
        gw_buf_adds(out, "a tag, anchor or alias (a plain value expected)");
        return;
    }
    const char *sign = gw_line_at(&line, at.column);
    gw_line_locate(&line, sign);
    if (!line.key || sign > line.value) { /* an item of a list */
        bool flow = line.key != NULL;
        line.key = "";
        line.key_len = 0;
        line.value = sign;
        line.value_end = gw_line_value_end(sign, line.end, flow);
    }
    gw_yaml_hint_sign_at(&line, sign, out);
}

void gw_yaml_hint_key(const struct gw_source *source, struct gw_place at, struct gw_buf *out)
{
    struct gw_line line;
    if (gw_line_find(source, at.line, &line) && memmem(line.start, (size_t)(line.end - line.start), "{{", 2))
        gw_buf_adds(out, "'{{' belongs to a template of another program, which has not been filled in (the value "
                         "expected, or ${NAME} from the environment)");
    else
        gw_buf_adds(out, "a list or mapping as a key (a plain word expected)");
}
