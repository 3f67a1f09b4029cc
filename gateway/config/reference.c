/* reference.c: the tables of fields as a reference for people, in Markdown and as a manual page. */
#include <stdio.h>
#include <string.h>

#include "config/describe.h"
#include "config/fields.h"
#include "gateway/transform.h"

typedef void reference_row(const struct gw_field *field, const char *path, struct gw_buf *out);

static void reference_type(const struct gw_field *field, struct gw_buf *out)
{
    switch (field->type) {
    case GW_FIELD_STRING:
        gw_buf_adds(out, "text");
        break;
    case GW_FIELD_FILE:
        gw_buf_adds(out, "file");
        break;
    case GW_FIELD_INT:
    case GW_FIELD_NUMBER:
        gw_buf_adds(out, "number");
        break;
    case GW_FIELD_BOOL:
        gw_buf_adds(out, "true, false");
        break;
    case GW_FIELD_DURATION:
        gw_buf_adds(out, "duration");
        if (field->word)
            gw_buf_printf(out, ", %s", field->word);
        break;
    case GW_FIELD_SIZE:
        gw_buf_adds(out, "size");
        break;
    case GW_FIELD_CHOICE:
    case GW_FIELD_CODEC:
    case GW_FIELD_HISTORY:
    case GW_FIELD_PROTOCOL:
        gw_field_list_choices(field, out);
        break;
    case GW_FIELD_TRANSFORM:
        gw_field_list_choices(field, out);
        gw_buf_adds(out, ", or a mapping of it to its options");
        break;
    case GW_FIELD_STRINGS:
        gw_buf_adds(out, "texts");
        break;
    case GW_FIELD_PAIRS:
        gw_buf_adds(out, "names and texts");
        break;
    case GW_FIELD_TABLE:
        gw_buf_adds(out, "mapping");
        break;
    case GW_FIELD_LIST:
        gw_buf_adds(out, "list");
        break;
    case GW_FIELD_MAP:
        gw_buf_adds(out, "mapping of names");
        break;
    }
}

static void reference_range(const struct gw_field *field, struct gw_buf *out)
{
    char low[32], high[32];
    if (field->type == GW_FIELD_NUMBER) {
        gw_buf_printf(out, "%lld or more", (long long)field->min);
    } else if (field->type == GW_FIELD_INT || field->type == GW_FIELD_DURATION || field->type == GW_FIELD_SIZE) {
        gw_field_format(field->type, field->min, low);
        gw_field_format(field->type, field->max, high);
        gw_buf_printf(out, "%s to %s", low, high);
    } else if (field->type == GW_FIELD_LIST) {
        gw_buf_adds(out, "at least one");
    }
}

static void reference_walk(const struct gw_field *table, const char *path, reference_row *row, struct gw_buf *out)
{
    for (const struct gw_field *field = table; field->key; field++) {
        char own[256];
        snprintf(own, sizeof own, "%s%s%s", path, *path ? "." : "", field->key);
        row(field, own, out);
        for (size_t i = 0; field->type == GW_FIELD_TRANSFORM && gw_transforms[i]; i++) {
            char options[sizeof own + 64];
            snprintf(options, sizeof options, "%s.%.60s", own, gw_transforms[i]->name);
            if (gw_transforms[i]->options)
                reference_walk(gw_transforms[i]->options->fields, options, row, out);
        }
        if (!field->table)
            continue;
        const char *item = field->type == GW_FIELD_LIST ? "[]" : field->type == GW_FIELD_MAP ? ".<name>" : "";
        char below[sizeof own + 8];
        snprintf(below, sizeof below, "%s%s", own, item);
        reference_walk(field->table, below, row, out);
    }
}

/* A bar would end the cell, an angle bracket begin HTML outside of code. */
static void reference_cell(const char *text, struct gw_buf *out)
{
    bool code = false;
    for (; *text; text++) {
        code = code != (*text == '`');
        if (*text == '|' || (*text == '<' && !code))
            gw_buf_addc(out, '\\');
        gw_buf_addc(out, *text);
    }
}

static void reference_markdown(const struct gw_field *field, const char *path, struct gw_buf *out)
{
    gw_buf_printf(out, "| `%s` | ", path);
    reference_type(field, out);
    gw_buf_printf(out, " | %s | ", field->required ? "required" : field->def ? field->def : "");
    reference_range(field, out);
    gw_buf_adds(out, " | ");
    reference_cell(field->doc, out);
    gw_buf_adds(out, " |\n");
}

void gw_config_reference(struct gw_buf *out)
{
    gw_buf_adds(out, "| key | type | default | range | meaning |\n| --- | --- | --- | --- | --- |\n");
    reference_walk(gw_fields_root, "", reference_markdown, out);
}

/* Text for troff: backticks become bold, hyphens stay hyphens that can be copied, a leading dot stays text. */
static void reference_troff(const char *text, struct gw_buf *out)
{
    bool bold = false;
    if (*text == '.' || *text == '\'')
        gw_buf_adds(out, "\\&");
    for (; *text; text++) {
        if (*text == '`') {
            bold = !bold;
            gw_buf_adds(out, bold ? "\\fB" : "\\fR");
        } else if (*text == '-') {
            gw_buf_adds(out, "\\-");
        } else if (*text == '\\') {
            gw_buf_adds(out, "\\e");
        } else {
            gw_buf_addc(out, *text);
        }
    }
}

static void reference_man(const struct gw_field *field, const char *path, struct gw_buf *out)
{
    struct gw_buf words;
    gw_buf_init(&words);
    gw_buf_adds(out, ".TP\n\\fB");
    reference_troff(path, out);
    gw_buf_adds(out, "\\fR (");
    reference_type(field, &words);
    if (field->required)
        gw_buf_adds(&words, "; required");
    else if (field->def)
        gw_buf_printf(&words, "; default %s", field->def);
    size_t before = words.len;
    gw_buf_adds(&words, "; ");
    reference_range(field, &words);
    if (words.len == before + 2)
        words.data[words.len = before] = '\0'; /* it has no range */
    reference_troff(words.data, out);
    gw_buf_adds(out, ")\n");
    reference_troff(field->doc, out);
    gw_buf_addc(out, '\n');
    gw_buf_fini(&words);
}

void gw_config_man(struct gw_buf *out)
{
    reference_walk(gw_fields_root, "", reference_man, out);
}
