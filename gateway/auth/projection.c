#include "auth/projection.h"

#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "gateway/alloc.h"

struct gw_projection {
    atomic_uint refs;
    size_t count;
    struct gw_slice *names; /* NUL-terminated copies */
};

struct gw_projection *gw_projection_create(const struct gw_strings *fields)
{
    if (!fields->count)
        return NULL;
    struct gw_projection *projection = gw_calloc(1, sizeof *projection);
    atomic_init(&projection->refs, 1);
    projection->count = fields->count;
    projection->names = gw_calloc(fields->count, sizeof *projection->names);
    for (size_t i = 0; i < fields->count; i++)
        projection->names[i] = (struct gw_slice){gw_strdup(fields->items[i]), strlen(fields->items[i])};
    return projection;
}

struct gw_projection *gw_projection_ref(struct gw_projection *projection)
{
    if (projection)
        atomic_fetch_add_explicit(&projection->refs, 1, memory_order_relaxed);
    return projection;
}

void gw_projection_unref(struct gw_projection *projection)
{
    if (!projection || atomic_fetch_sub_explicit(&projection->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < projection->count; i++)
        free((char *)(uintptr_t)projection->names[i].data);
    free(projection->names);
    free(projection);
}

static bool projection_has(const struct gw_projection *projection, struct gw_slice key, struct gw_buf *scratch)
{
    for (size_t i = 0; i < projection->count; i++) {
        if (gw_json_key_is(key, projection->names[i].data, projection->names[i].len, scratch))
            return true;
    }
    return false;
}

bool gw_projection_shows(const struct gw_projection *projection, const char *pointer)
{
    if (*pointer != '/' || strspn(pointer + 1, "0123456789") == strcspn(pointer + 1, "/"))
        return false;
    struct gw_buf name = {0};
    for (const char *at = pointer + 1; *at && *at != '/'; at++) { /* RFC 6901 section 4 */
        bool escape = *at == '~' && (at[1] == '0' || at[1] == '1');
        gw_buf_addc(&name, !escape ? *at : at[1] == '1' ? '/' : '~');
        at += escape;
    }
    bool shows = false;
    for (size_t i = 0; i < projection->count && !shows; i++)
        shows = projection->names[i].len == name.len && !memcmp(projection->names[i].data, name.data, name.len);
    gw_buf_fini(&name);
    return shows;
}

static void projection_object(const struct gw_projection *projection, const char *json, size_t len,
                              struct gw_buf *out)
{
    size_t at = 0, start = out->len;
    struct gw_slice key, value;
    struct gw_buf scratch = {0};
    gw_buf_addc(out, '{');
    while (gw_json_next_member(json, len, &at, &key, &value)) {
        if (!projection_has(projection, key, &scratch))
            continue;
        if (out->len > start + 1)
            gw_buf_addc(out, ',');
        gw_buf_add(out, key.data, key.len);
        gw_buf_addc(out, ':');
        gw_buf_add(out, value.data, value.len);
    }
    gw_buf_addc(out, '}');
    gw_buf_fini(&scratch);
}

void gw_projection_json(const struct gw_projection *projection, const char *json, size_t len, struct gw_buf *out)
{
    size_t at = 0;
    while (at < len && strchr(" \t\r\n", json[at]))
        at++;
    if (at < len && json[at] == '{') {
        projection_object(projection, json, len, out);
    } else if (at < len && json[at] == '[') {
        struct gw_slice element;
        at = 0;
        gw_buf_addc(out, '[');
        for (bool first = true; gw_json_next_element(json, len, &at, &element); first = false) {
            if (!first)
                gw_buf_addc(out, ',');
            if (element.data[0] == '{')
                projection_object(projection, element.data, element.len, out);
            else
                gw_buf_adds(out, "null");
        }
        gw_buf_addc(out, ']');
    } else {
        gw_buf_adds(out, "null");
    }
}

/* A form of a message. */
struct projected {
    struct gw_variant variant; /* first member */
    struct gw_projection *projection;
    struct gw_message *msg;
};

static void projected_destroy(struct gw_variant *variant)
{
    struct projected *projected = (struct projected *)variant;
    gw_projection_unref(projected->projection);
    gw_message_unref(projected->msg);
    free(projected);
}

struct gw_message *gw_projection_of(struct gw_projection *projection, struct gw_message *msg, const char *epoch)
{
    const struct projected *known = (struct projected *)gw_message_variant(msg, projection);
    if (known || msg->clear)
        return known ? known->msg : msg;
    struct gw_buf json = {0};
    gw_projection_json(projection, msg->data.data, msg->data.len, &json);
    struct gw_message_spec spec = {
        .channel = msg->channel.data,
        .channel_len = msg->channel.len,
        .json = json.data,
        .json_len = json.len,
        .payload = json.data,
        .payload_len = json.len,
        .epoch = epoch,
        .seq = msg->seq,
        .ts = msg->ts,
        .born_ns = msg->born_ns,
        .route = msg->route,
        .retained = msg->retained,
        .qos = msg->qos,
        .properties = gw_properties_origin(gw_message_properties(msg)),
    };
    struct projected *projected = gw_malloc(sizeof *projected);
    *projected = (struct projected){.variant = {.key = projection, .destroy = projected_destroy},
                                    .projection = gw_projection_ref(projection),
                                    .msg = gw_message_create(&spec)};
    gw_buf_fini(&json);
    return ((struct projected *)gw_message_keep_variant(msg, &projected->variant))->msg;
}
