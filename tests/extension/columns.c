/* columns.c: a transform as somebody outside of this tree would write it: a line of numbers between commas becomes a
 * message for each column that has a name and is not empty. The first line of a device, its heading, becomes none.
 *
 *   transform: { columns: { names: [time, temp], heading: 1 } } */
#include <stdlib.h>
#include <string.h>

#include "gateway/options.h"
#include "gateway/transform.h"

struct columns_options {
    struct gw_strings names;
    uint32_t heading;
};

static const struct gw_field columns_fields[] = {
    {.key = "names",
     .type = GW_FIELD_STRINGS,
     .offset = offsetof(struct columns_options, names),
     .required = true,
     .doc = "Names of the columns."},
    {.key = "heading",
     .type = GW_FIELD_INT,
     .offset = offsetof(struct columns_options, heading),
     .min = 0,
     .max = 9,
     .def = "0",
     .doc = "So many lines of the route are its heading."},
    {.key = NULL},
};

static const struct gw_options columns_table = {
    .key = "columns", .doc = "The columns.", .size = sizeof(struct columns_options), .fields = columns_fields};

struct columns {
    const struct columns_options *options;
    uint32_t seen;
};

static enum gw_err columns_create(const struct gw_transform_setup *setup, void **state, struct gw_buf *why)
{
    const struct columns_options *options = setup->options;
    if (options->names.count > 3) {
        gw_buf_printf(why, "%zu columns are too many (at most 3 expected)", options->names.count);
        return GW_ERR_BAD_REQUEST;
    }
    struct columns *columns = calloc(1, sizeof *columns);
    columns->options = options;
    *state = columns;
    return GW_OK;
}

static enum gw_err columns_apply(void *state, const struct gw_transform_input *input, struct gw_buf *scratch,
                                 const struct gw_transform_output *output)
{
    struct columns *columns = state;
    (void)scratch;
    if (columns->seen++ < columns->options->heading)
        return GW_OK;
    const char *at = input->payload, *end = at + input->payload_len;
    for (size_t i = 0; i < columns->options->names.count && at <= end; i++) {
        const char *comma = memchr(at, ',', (size_t)(end - at)), *stop = comma ? comma : end;
        if (strspn(at, "0123456789") < (size_t)(stop - at))
            return GW_ERR_BAD_PAYLOAD;
        const struct gw_capture *site = gw_captures_find(input->captures, "site");
        const struct gw_slice values[] = {
            {columns->options->names.items[i], strlen(columns->options->names.items[i])},
            {site->value, site->value_len}};
        const struct gw_transform_message message = {.values = values, .json = at, .json_len = (size_t)(stop - at)};
        if (stop > at && !output->emit(output->context, &message))
            break;
        at = stop + 1;
    }
    return GW_OK;
}

static void columns_explain(void *state, const struct gw_transform_input *input, struct gw_buf *out)
{
    (void)state;
    gw_buf_printf(out, "a column of %zu bytes of text is no number", input->payload_len);
}

static const char *const columns_captures[] = {"column", "twin", NULL};

const struct gw_transform gw_transform_columns = {.name = "columns",
                                                  .captures = columns_captures,
                                                  .options = &columns_table,
                                                  .create = columns_create,
                                                  .destroy = free,
                                                  .apply = columns_apply,
                                                  .explain = columns_explain};
