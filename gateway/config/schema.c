/* schema.c: the tables of fields as a JSON Schema.
 *
 * The schema is for editors: it knows every key, type, word and bound of a number, but not what check.c and access.c
 * say about keys that go together, nor the bounds of durations and sizes, which are texts in JSON's eyes; those stand
 * in the description. A file that the gateway takes must be valid for it; the other way round `sluice check` has the
 * word. */
#include <string.h>

#include "config/describe.h"
#include "config/fields.h"
#include "gateway/transform.h"

/* A value from the environment may stand for any scalar. */
#define ENVIRONMENT "{\"type\":\"string\",\"pattern\":\"\\\\$\\\\{\"}"

static void schema_table(const struct gw_field *table, bool nullable, int depth, struct gw_buf *out);

static void schema_indent(struct gw_buf *out, int depth)
{
    gw_buf_printf(out, "\n%*s", depth * 2, "");
}

static void schema_text(struct gw_buf *out, const char *text)
{
    gw_buf_add_json_string(out, text, strlen(text));
}

/* A word of a choice as YAML reads it: 5 is a number for an editor, and a text between quotes. */
static void schema_word(struct gw_buf *out, const char *word, bool first)
{
    if (!first)
        gw_buf_addc(out, ',');
    schema_text(out, word);
    if (*word && strspn(word, "0123456789") == strlen(word))
        gw_buf_printf(out, ",%s", word);
}

static void schema_choices(const struct gw_field *field, struct gw_buf *out)
{
    gw_buf_adds(out, "\"anyOf\":[{\"enum\":[");
    const char *word;
    for (size_t i = 0; (word = gw_field_word(field, i)); i++)
        schema_word(out, word, !i);
    gw_buf_adds(out, "]}," ENVIRONMENT "]");
}

static void schema_default(const struct gw_field *field, struct gw_buf *out)
{
    if (!field->def)
        return;
    gw_buf_adds(out, ",\"default\":");
    bool bare = field->type == GW_FIELD_INT || field->type == GW_FIELD_NUMBER || field->type == GW_FIELD_BOOL;
    if (bare)
        gw_buf_adds(out, field->def);
    else
        schema_text(out, field->def);
}

/* A name, or a mapping of one name to its options. */
static void schema_transform(const struct gw_field *field, int depth, struct gw_buf *out)
{
    schema_choices(field, out);
    out->data[--out->len] = '\0'; /* anyOf goes on */
    gw_buf_adds(out, ",{\"type\":\"object\",\"minProperties\":1,\"maxProperties\":1,\"additionalProperties\":false,"
                     "\"properties\":{");
    static const struct gw_field none[] = {{.key = NULL}};
    for (size_t i = 0; gw_transforms[i]; i++) {
        const struct gw_options *options = gw_transforms[i]->options;
        gw_buf_adds(out, i ? "," : "");
        schema_indent(out, depth + 1);
        schema_text(out, gw_transforms[i]->name);
        gw_buf_adds(out, ":{\"description\":");
        schema_text(out, options ? options->doc : "It has no options.");
        gw_buf_addc(out, ',');
        schema_table(options ? options->fields : none, true, depth + 1, out);
        gw_buf_addc(out, '}');
    }
    gw_buf_adds(out, "}}]");
}

/* What the value may be, without braces. */
static void schema_value(const struct gw_field *field, int depth, struct gw_buf *out)
{
    switch (field->type) {
    case GW_FIELD_STRING:
    case GW_FIELD_FILE:
        gw_buf_adds(out, "\"type\":[\"string\",\"number\",\"boolean\"],\"minLength\":1");
        break;
    case GW_FIELD_INT:
        gw_buf_printf(out, "\"anyOf\":[{\"type\":\"integer\",\"minimum\":%lld,\"maximum\":%lld}," ENVIRONMENT "]",
                      (long long)field->min, (long long)field->max);
        break;
    case GW_FIELD_NUMBER:
        gw_buf_printf(out, "\"anyOf\":[{\"type\":\"number\",\"minimum\":%lld}," ENVIRONMENT "]",
                      (long long)field->min);
        break;
    case GW_FIELD_BOOL:
        gw_buf_adds(out, "\"anyOf\":[{\"type\":\"boolean\"}," ENVIRONMENT "]");
        break;
    case GW_FIELD_DURATION:
        gw_buf_printf(out, "\"type\":\"string\",\"pattern\":\"^[0-9]+(\\\\.[0-9]+)?(ms|s|m|h|d)$%s%s%s|\\\\$\\\\{\"",
                      field->word ? "|^" : "", field->word ? field->word : "", field->word ? "$" : "");
        break;
    case GW_FIELD_SIZE:
        gw_buf_printf(out,
                      "\"anyOf\":[{\"type\":\"integer\",\"minimum\":%lld,\"maximum\":%lld},"
                      "{\"type\":\"string\",\"pattern\":\"^[0-9]+(B|KiB|MiB|GiB)?$|\\\\$\\\\{\"}]",
                      (long long)field->min, (long long)field->max);
        break;
    case GW_FIELD_CHOICE:
    case GW_FIELD_CODEC:
    case GW_FIELD_HISTORY:
    case GW_FIELD_PROTOCOL:
        schema_choices(field, out);
        break;
    case GW_FIELD_TRANSFORM:
        schema_transform(field, depth, out);
        break;
    case GW_FIELD_STRINGS:
        gw_buf_printf(out,
                      "\"anyOf\":[{\"type\":\"string\",\"minLength\":%d},"
                      "{\"type\":\"array\",\"items\":{\"type\":\"string\",\"minLength\":%d}}]",
                      !field->blank, !field->blank);
        break;
    case GW_FIELD_PAIRS:
        gw_buf_adds(out, "\"type\":[\"object\",\"null\"],\"additionalProperties\":{\"type\":[\"string\",\"number\","
                         "\"boolean\"],\"minLength\":1}");
        break;
    case GW_FIELD_TABLE:
        if (field->switchable)
            gw_buf_adds(out, "\"anyOf\":[{\"type\":\"boolean\"},{");
        schema_table(field->table, true, depth, out);
        if (field->switchable)
            gw_buf_adds(out, "}]");
        break;
    case GW_FIELD_LIST:
        gw_buf_adds(out, "\"type\":\"array\",\"minItems\":1,\"items\":{");
        schema_table(field->table, false, depth, out);
        gw_buf_addc(out, '}');
        break;
    case GW_FIELD_MAP:
        gw_buf_adds(out, "\"type\":\"object\",\"additionalProperties\":{");
        schema_table(field->table, true, depth, out);
        gw_buf_addc(out, '}');
        break;
    }
}

/* An object of the table's keys, without braces. Null is an empty mapping; what is required in it is then missing. */
static void schema_table(const struct gw_field *table, bool nullable, int depth, struct gw_buf *out)
{
    bool required = false;
    for (const struct gw_field *field = table; field->key; field++)
        required = required || field->required;
    gw_buf_printf(out, "\"type\":%s,\"additionalProperties\":false,",
                  nullable && !required ? "[\"object\",\"null\"]" : "\"object\"");
    if (required) {
        gw_buf_adds(out, "\"required\":[");
        bool first = true;
        for (const struct gw_field *field = table; field->key; field++) {
            if (field->required)
                schema_word(out, field->key, first);
            first = first && !field->required;
        }
        gw_buf_adds(out, "],");
    }
    gw_buf_adds(out, "\"properties\":{");
    for (const struct gw_field *field = table; field->key; field++) {
        if (field != table)
            gw_buf_addc(out, ',');
        schema_indent(out, depth + 1);
        schema_text(out, field->key);
        gw_buf_adds(out, ":{\"description\":");
        schema_text(out, field->doc);
        schema_default(field, out);
        gw_buf_addc(out, ',');
        schema_value(field, depth + 1, out);
        gw_buf_addc(out, '}');
    }
    schema_indent(out, depth);
    gw_buf_addc(out, '}');
}

void gw_config_schema(struct gw_buf *out)
{
    gw_buf_adds(out, "{\"$schema\":\"http://json-schema.org/draft-07/schema#\",\"title\":\"sluice.yaml\",");
    schema_table(gw_fields_root, false, 0, out);
    gw_buf_adds(out, "}\n");
}
