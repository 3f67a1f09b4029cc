/* split.c: transform `split`: each member of a JSON object is a message on a channel of its own. */
#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "gateway/alloc.h"
#include "gateway/options.h"
#include "gateway/transform.h"

#define SPLIT_DEPTH_MAX 8

struct split_options {
    struct gw_strings members; /* empty: all */
    uint32_t depth;
};

static const struct gw_field split_fields[] = {
    {.key = "members",
     .type = GW_FIELD_STRINGS,
     .offset = offsetof(struct split_options, members),
     .doc = "Names of the members that become messages, `a/b` for `b` inside of `a`; others are left out. Default: "
            "all. Only with it does an empty payload clear their channels."},
    {.key = "depth",
     .type = GW_FIELD_INT,
     .offset = offsetof(struct split_options, depth),
     .min = 1,
     .max = SPLIT_DEPTH_MAX,
     .def = "1",
     .doc = "Objects inside of objects are split as well, that many levels in all. Above 1 `channel` needs "
            "`{member...}`."},
    {.key = NULL},
};

static const struct gw_options split_table = {.key = "split",
                                              .doc = "Which members become messages.",
                                              .size = sizeof(struct split_options),
                                              .fields = split_fields};

struct split {
    const struct gw_codec *codec;
    const struct split_options *options;
};

static bool split_is_object(struct gw_slice json)
{
    size_t at = 0;
    while (at < json.len && strchr(" \t\r\n", json.data[at]))
        at++;
    return at < json.len && json.data[at] == '{';
}

/* Does the codec leave objects as they are? */
static bool split_suits(const struct gw_codec *codec)
{
    struct gw_buf scratch = {0};
    struct gw_decoded decoded;
    bool suits = codec->decode("{}", 2, &scratch, &decoded) == GW_OK &&
                 split_is_object((struct gw_slice){decoded.json, decoded.len});
    gw_buf_fini(&scratch);
    return suits;
}

static enum gw_err split_create(const struct gw_transform_setup *setup, void **state, struct gw_buf *why)
{
    const struct split_options *options = setup->options;
    bool nested = options->depth > 1;
    for (size_t i = 0; i < options->members.count; i++)
        nested |= strchr(options->members.items[i], '/') != NULL;
    if (nested && (!setup->channel || !strstr(setup->channel, "{member...}"))) {
        gw_buf_adds(why, "split.depth above 1 and members with a slash make several levels ({member...} in channel "
                         "expected)");
        return GW_ERR_BAD_REQUEST;
    }
    if (!split_suits(setup->codec)) {
        gw_buf_printf(why,
                      "codec %s makes no objects, so that there is nothing to split (codec json, lenient or auto "
                      "expected)",
                      setup->codec->name);
        return GW_ERR_BAD_REQUEST;
    }
    struct split *split = gw_calloc(1, sizeof *split);
    split->codec = setup->codec;
    split->options = options;
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

static bool split_wants(const struct split *split, struct gw_slice name)
{
    const struct gw_strings *members = &split->options->members;
    size_t i = 0;
    while (i < members->count &&
           (strlen(members->items[i]) != name.len || memcmp(members->items[i], name.data, name.len) != 0))
        i++;
    return !members->count || i < members->count;
}

static bool split_emit(struct splitting *at, struct gw_slice value)
{
    const char *why = NULL;
    const struct gw_slice name = {at->name.data ? at->name.data : "", at->name.len};
    if (!split_wants(at->split, name))
        return true;
    gw_buf_clear(&at->payload);
    /* What a device would have sent for this value alone; codecs that take no such value leave it as JSON. */
    bool bare = at->split->codec->encode(value.data, value.len, &at->payload, &why) == GW_OK;
    const struct gw_transform_message message = {.values = &name,
                                                 .json = value.data,
                                                 .json_len = value.len,
                                                 .payload = bare && at->payload.data ? at->payload.data : value.data,
                                                 .payload_len = bare ? at->payload.len : value.len};
    return at->output->emit(at->output->context, &message);
}

/* Recursion goes as deep as split.depth. */
static bool split_object(struct splitting *at, struct gw_slice object, uint32_t depth)
{
    size_t place = 0, before = at->name.len;
    struct gw_slice key, value;
    bool more = true;
    while (more && gw_json_next_member(object.data, object.len, &place, &key, &value)) {
        at->name.len = before;
        if (before)
            gw_buf_addc(&at->name, '/');
        gw_json_unescape(key.data, key.len, &at->name);
        more = depth > 1 && split_is_object(value) ? split_object(at, value, depth - 1) : split_emit(at, value);
    }
    at->name.len = before;
    return more;
}

/* The device has cleared what the broker stored: so are the channels that it is known to feed. */
static enum gw_err split_clear(const struct split *split, const struct gw_transform_output *output)
{
    const struct gw_strings *members = &split->options->members;
    for (size_t i = 0; i < members->count; i++) {
        const struct gw_slice name = {members->items[i], strlen(members->items[i])};
        const struct gw_transform_message message = {.values = &name, .clear = true};
        if (!output->emit(output->context, &message))
            break;
    }
    return members->count ? GW_OK : GW_ERR_BAD_PAYLOAD;
}

static enum gw_err split_apply(void *state, const struct gw_transform_input *input, struct gw_buf *scratch,
                               const struct gw_transform_output *output)
{
    const struct split *split = state;
    struct gw_decoded decoded;
    if (!input->payload_len)
        return split_clear(split, output);
    enum gw_err err = split->codec->decode(input->payload, input->payload_len, scratch, &decoded);
    if (err != GW_OK)
        return err;
    const struct gw_slice json = {decoded.json, decoded.len};
    if (!split_is_object(json))
        return GW_ERR_BAD_PAYLOAD;
    struct splitting at = {.split = split, .output = output};
    split_object(&at, json, split->options->depth);
    gw_buf_fini(&at.name);
    gw_buf_fini(&at.payload);
    return GW_OK;
}

static void split_explain(void *state, const struct gw_transform_input *input, struct gw_buf *out)
{
    const struct split *split = state;
    struct gw_buf scratch = {0};
    struct gw_decoded decoded;
    if (!input->payload_len)
        gw_buf_adds(out, "an empty payload clears only channels that the option members names");
    else if (split->codec->decode(input->payload, input->payload_len, &scratch, &decoded) == GW_OK)
        gw_buf_adds(out, "it is not a JSON object");
    else if (split->codec->explain)
        split->codec->explain(input->payload, input->payload_len, out);
    gw_buf_fini(&scratch);
}

/* The object with this one member: {"a":{"b":…}} for a/b. */
static enum gw_err split_encode(const void *state, const struct gw_captures *captures, const char *json, size_t len,
                                struct gw_buf *out, const char **why)
{
    const struct split *split = state;
    const struct gw_capture *member = gw_captures_find(captures, "member"); /* the channel has it, as was checked */
    const char *at = member->value, *end = at + member->value_len;
    if (!split_wants(split, (struct gw_slice){member->value, member->value_len})) {
        *why = "the route's option split.members does not name this member";
        return GW_ERR_UNKNOWN_CHANNEL;
    }
    uint32_t depth = 1;
    for (const char *slash; depth < split->options->depth && (slash = memchr(at, '/', (size_t)(end - at))); depth++) {
        gw_buf_addc(out, '{');
        gw_buf_add_json_string(out, at, (size_t)(slash - at));
        gw_buf_addc(out, ':');
        at = slash + 1;
    }
    gw_buf_addc(out, '{');
    gw_buf_add_json_string(out, at, (size_t)(end - at));
    gw_buf_addc(out, ':');
    gw_buf_add(out, json, len);
    while (depth--)
        gw_buf_addc(out, '}');
    return GW_OK;
}

static const char *const split_captures[] = {"member", NULL};

const struct gw_transform gw_transform_split = {.name = "split",
                                                .captures = split_captures,
                                                .options = &split_table,
                                                .create = split_create,
                                                .destroy = split_destroy,
                                                .apply = split_apply,
                                                .explain = split_explain,
                                                .encode = split_encode};
