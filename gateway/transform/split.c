/* split.c: transform `split`: each member of a JSON object is a message on a channel of its own. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json_scan.h"
#include "gateway/transform.h"

struct split {
    const struct gw_codec *codec;
};

static enum gw_err split_create(const struct gw_transform_setup *setup, void **state, struct gw_buf *why)
{
    (void)why;
    struct split *split = gw_calloc(1, sizeof *split);
    split->codec = setup->codec;
    *state = split;
    return GW_OK;
}

static void split_destroy(void *state)
{
    free(state);
}

/* One payload on its way. */
struct splitting {
    const struct split *split;
    const struct gw_transform_output *output;
    struct gw_buf name, payload;
};

static bool split_emit(struct splitting *at, struct gw_slice value)
{
    const char *why = NULL;
    const struct gw_slice name = {at->name.data ? at->name.data : "", at->name.len};
    gw_buf_clear(&at->payload);
    /* What a device would have sent for this value alone; codecs that take no such value leave it as JSON. */
    bool bare = at->split->codec->encode(value.data, value.len, &at->payload, &why) == GW_OK;
    const struct gw_transform_message message = {.values = &name,
                                                 .json = value.data,
                                                 .json_len = value.len,
                                                 .payload = bare ? at->payload.data : value.data,
                                                 .payload_len = bare ? at->payload.len : value.len};
    return at->output->emit(at->output->context, &message);
}

static bool split_is_object(const char *json, size_t len)
{
    size_t at = 0;
    while (at < len && strchr(" \t\r\n", json[at]))
        at++;
    return at < len && json[at] == '{';
}

static enum gw_err split_apply(void *state, const struct gw_transform_input *input, struct gw_buf *scratch,
                               const struct gw_transform_output *output)
{
    const struct split *split = state;
    struct gw_decoded decoded;
    if (!input->payload_len)
        return GW_ERR_BAD_REQUEST;
    enum gw_err err = split->codec->decode(input->payload, input->payload_len, scratch, &decoded);
    if (err != GW_OK)
        return err;
    struct splitting at = {.split = split, .output = output};
    gw_buf_init(&at.name);
    gw_buf_init(&at.payload);
    size_t place = 0;
    struct gw_slice key, value;
    if (!split_is_object(decoded.json, decoded.len))
        err = GW_ERR_BAD_REQUEST;
    while (err == GW_OK && gw_json_next_member(decoded.json, decoded.len, &place, &key, &value)) {
        gw_buf_clear(&at.name);
        gw_json_unescape(key.data, key.len, &at.name);
        if (!split_emit(&at, value))
            break;
    }
    gw_buf_fini(&at.name);
    gw_buf_fini(&at.payload);
    return err;
}

static void split_explain(void *state, const struct gw_transform_input *input, struct gw_buf *out)
{
    const struct split *split = state;
    struct gw_buf scratch;
    struct gw_decoded decoded;
    gw_buf_init(&scratch);
    if (!input->payload_len)
        gw_buf_adds(out, "an empty payload has no members");
    else if (split->codec->decode(input->payload, input->payload_len, &scratch, &decoded) == GW_OK)
        gw_buf_adds(out, "it is no JSON object");
    else if (split->codec->explain)
        split->codec->explain(input->payload, input->payload_len, out);
    gw_buf_fini(&scratch);
}

/* The object with this one member. */
static enum gw_err split_encode(const void *state, const struct gw_captures *captures, const char *json, size_t len,
                                struct gw_buf *out, const char **why)
{
    (void)state;
    (void)why;
    const struct gw_capture *member = gw_captures_find(captures, "member"); /* the channel has it, as was checked */
    gw_buf_addc(out, '{');
    gw_buf_add_json_string(out, member->value, member->value_len);
    gw_buf_addc(out, ':');
    gw_buf_add(out, json, len);
    gw_buf_addc(out, '}');
    return GW_OK;
}

static const char *const split_captures[] = {"member", NULL};

const struct gw_transform gw_transform_split = {.name = "split",
                                                .captures = split_captures,
                                                .create = split_create,
                                                .destroy = split_destroy,
                                                .apply = split_apply,
                                                .explain = split_explain,
                                                .encode = split_encode};
