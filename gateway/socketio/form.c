/* form.c: messages and gaps as packets of Socket.IO. */
#include "socketio/form.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "gateway/alloc.h"
#include "gateway/protocol.h"
#include "gateway/utf8.h"
#include "socketio/packet.h"

/* Shapes with a function of their own for the fast path. There is one for each namespace, and again for each reload
 * that changes one. */
#define SHAPES_FAST 8

struct sio_shape {
    struct sio_shape *next;
    char *space;
    char *event;                 /* NULL: the channel's name */
    struct gw_buf channel, data; /* names of members, as JSON strings; data NULL: the value is the argument itself */
    bool text;
    bool whole;         /* the object has all members of a message */
    bool plain;         /* ... under their own names: the object is that of the message's own text */
    struct gw_buf head; /* `42["message",` */
    gw_encode encode;
};

static pthread_mutex_t shapes_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sio_shape *shapes;
static const struct sio_shape *shapes_fast[SHAPES_FAST];
static size_t shapes_fast_count;

static size_t form_encode(const struct sio_shape *shape, struct gw_item *item, struct iovec parts[GW_PARTS_MAX]);

/* gw_encode has no context, and must give the same bytes for an item whenever it is called: so one for each shape. */
#define FAST(n)                                                                                                      \
    static size_t encode_##n(struct gw_item *item, struct iovec parts[GW_PARTS_MAX])                                 \
    {                                                                                                                \
        return form_encode(shapes_fast[n], item, parts);                                                             \
    }
FAST(0)
FAST(1)
FAST(2)
FAST(3)
FAST(4)
FAST(5)
FAST(6)
FAST(7)
#undef FAST
static const gw_encode encodes[SHAPES_FAST] = {encode_0, encode_1, encode_2, encode_3,
                                               encode_4, encode_5, encode_6, encode_7};

/* --- shapes ---------------------------------------------------------------------------------------------------- */

static void shape_name(struct gw_buf *out, const char *given, const char *preset)
{
    const char *name = given ? given : preset;
    gw_buf_add_json_string(out, name, strlen(name));
}

static struct sio_shape *shape_create(const struct gw_sio_options *options, const char *space)
{
    static const char *const events[] = {"message", "mqtt", "mqtt_message", NULL};
    struct sio_shape *shape = gw_calloc(1, sizeof *shape);
    bool ours = options->preset == SIO_PRESET_SLUICE, topic = options->preset == SIO_PRESET_TOPIC;
    const char *event = options->events.message ? options->events.message : events[options->preset];
    shape->space = gw_strdup(space);
    shape->event = event ? gw_strdup(event) : NULL;
    shape->text = options->payload == SIO_PAYLOAD_TEXT || (options->payload == SIO_PAYLOAD_BY_PRESET && !ours);
    shape->whole = ours;
    if (!topic) {
        shape_name(&shape->channel, options->members.channel, ours ? "channel" : "topic");
        shape_name(&shape->data, options->members.data, ours ? "data" : "payload");
    }
    shape->plain =
        ours && !shape->text && !strcmp(shape->channel.data, "\"channel\"") && !strcmp(shape->data.data, "\"data\"");
    return shape;
}

static bool shape_text_is(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}

static bool shape_is(const struct sio_shape *a, const struct sio_shape *b)
{
    return !strcmp(a->space, b->space) && shape_text_is(a->event, b->event) &&
           shape_text_is(a->channel.data, b->channel.data) && shape_text_is(a->data.data, b->data.data) &&
           a->text == b->text && a->whole == b->whole;
}

static void shape_free(struct sio_shape *shape)
{
    free(shape->space);
    free(shape->event);
    gw_buf_fini(&shape->channel);
    gw_buf_fini(&shape->data);
    gw_buf_fini(&shape->head);
    free(shape);
}

const struct sio_shape *gw_sio_shape_get(const struct gw_sio_options *options, const char *space)
{
    struct sio_shape *shape = shape_create(options, space);
    pthread_mutex_lock(&shapes_lock);
    struct sio_shape *known = shapes;
    while (known && !shape_is(known, shape))
        known = known->next;
    if (!known) {
        gw_sio_add_head(&shape->head, GW_SIO_EVENT, space);
        gw_buf_addc(&shape->head, '[');
        if (shape->event) {
            gw_buf_add_json_string(&shape->head, shape->event, strlen(shape->event));
            gw_buf_addc(&shape->head, ',');
        }
        if (shapes_fast_count < SHAPES_FAST) {
            shape->encode = encodes[shapes_fast_count];
            shapes_fast[shapes_fast_count++] = shape;
        }
        shape->next = shapes;
        shapes = known = shape;
        shape = NULL;
    }
    pthread_mutex_unlock(&shapes_lock);
    if (shape)
        shape_free(shape);
    return known;
}

const char *gw_sio_shape_space(const struct sio_shape *shape)
{
    return shape->space;
}

gw_encode gw_sio_shape_encode(const struct sio_shape *shape)
{
    return shape->encode;
}

void gw_sio_explain(const struct gw_config *config, const char *channel, size_t len, struct gw_buf *out)
{
    const struct sio_shape *shape = gw_sio_shape_get(gw_options_of(config, &gw_sio_options), "/");
    const char *value = shape->text ? "TEXT" : "VALUE";
    gw_buf_adds(out, "  socketio: event ");
    if (shape->event)
        gw_buf_add_json_string(out, shape->event, strlen(shape->event));
    else
        gw_buf_add_json_string(out, channel, len);
    gw_buf_adds(out, " with ");
    if (shape->data.len) {
        gw_buf_printf(out, "{%s:", shape->channel.data);
        gw_buf_add_json_string(out, channel, len);
        gw_buf_printf(out, ",%s:%s%s}", shape->data.data, value, shape->whole ? ",…" : "");
    } else {
        gw_buf_adds(out, value);
    }
    gw_buf_addc(out, '\n');
}

/* --- packets --------------------------------------------------------------------------------------------------- */

void gw_sio_add_packet(struct gw_buf *out, enum sio_carrier carrier, const char *packet, size_t len)
{
    if (carrier == SIO_FRAMES) {
        gw_ws_add_text(out, packet, len);
        return;
    }
    if (out->len)
        gw_buf_addc(out, GW_EIO_SEPARATOR);
    gw_buf_add(out, packet, len);
}

/* A payload that is not text is an attachment, unless the route's codec makes a JSON string of it. */
static bool form_attaches(const struct sio_shape *shape, const struct gw_message *msg)
{
    static const char base64[] = "{\"base64\":";
    if (msg->state)
        return false;
    bool binary = (msg->raw[0] & 15) == 2 || (shape->text && !gw_utf8_valid(msg->payload.data, msg->payload.len));
    return binary && (shape->text ||
                      (msg->data.len >= sizeof base64 - 1 && !memcmp(msg->data.data, base64, sizeof base64 - 1)));
}

/* The channel's name as a JSON string, which stands in the message's text. */
static struct gw_slice form_channel(const struct gw_message *msg)
{
    static const char before[] = "\"channel\":", after[] = ",\"data\":";
    const char *start = gw_message_tail(msg).data + sizeof before - 1;
    return (struct gw_slice){start, (size_t)(msg->data.data - (sizeof after - 1) - start)};
}

static void form_value(const struct sio_shape *shape, const struct gw_message *msg, bool attaches, struct gw_buf *out)
{
    if (attaches)
        gw_buf_adds(out, "{\"_placeholder\":true,\"num\":0}");
    else if (shape->text)
        gw_buf_add_json_string(out, msg->payload.data, msg->payload.len);
    else
        gw_buf_add(out, msg->data.data, msg->data.len);
}

static void form_head(const struct sio_shape *shape, const struct gw_message *msg, bool attaches, struct gw_buf *out)
{
    if (!attaches) {
        gw_buf_add(out, shape->head.data, shape->head.len);
    } else { /* `451-` in the place of `42` */
        gw_buf_adds(out, "451-");
        gw_buf_add(out, shape->head.data + 2, shape->head.len - 2);
    }
    if (shape->event)
        return;
    /* The channel is the event. One that would mean something to the client library comes as `message`. */
    struct gw_slice channel = form_channel(msg);
    if (gw_sio_event_reserved(msg->channel.data, msg->channel.len))
        gw_buf_adds(out, "\"message\"");
    else
        gw_buf_add(out, channel.data, channel.len);
    gw_buf_addc(out, ',');
}

static void form_object(const struct sio_shape *shape, const struct gw_message *msg, bool attaches,
                        struct gw_buf *out)
{
    if (!shape->data.len) {
        form_value(shape, msg, attaches, out);
        return;
    }
    struct gw_slice channel = form_channel(msg);
    gw_buf_addc(out, '{');
    gw_buf_add(out, shape->channel.data, shape->channel.len);
    gw_buf_addc(out, ':');
    gw_buf_add(out, channel.data, channel.len);
    gw_buf_addc(out, ',');
    gw_buf_add(out, shape->data.data, shape->data.len);
    gw_buf_addc(out, ':');
    form_value(shape, msg, attaches, out);
    const char *rest = msg->data.data + msg->data.len;
    if (shape->whole)
        gw_buf_add(out, rest, (size_t)(msg->text.data + msg->text.len - rest));
    else
        gw_buf_addc(out, '}');
}

/* `offset`: what follows the cursor in it; NULL: there is none. */
static void form_end(const struct gw_message *msg, const char *offset, struct gw_buf *out)
{
    if (offset) {
        struct gw_slice cursor = gw_message_cursor(msg);
        gw_buf_adds(out, ",\"");
        gw_buf_add(out, cursor.data, cursor.len);
        gw_buf_adds(out, offset);
        gw_buf_adds(out, "\"]");
    } else {
        gw_buf_addc(out, ']');
    }
}

/* The text packet. */
static void form_packet(const struct sio_shape *shape, const struct gw_message *msg, bool attaches,
                        const char *offset, struct gw_buf *out)
{
    if (msg->state) {
        struct gw_slice tail = gw_message_tail(msg);
        gw_sio_add_head(out, GW_SIO_EVENT, shape->space);
        gw_buf_adds(out, "[\"status\",{");
        gw_buf_add(out, tail.data, tail.len);
    } else {
        form_head(shape, msg, attaches, out);
        form_object(shape, msg, attaches, out);
    }
    form_end(msg, offset, out);
}

void gw_sio_add_untyped(struct gw_buf *out, const struct gw_buf *json)
{
    const char *comma = strchr(json->data, ',');
    gw_buf_addc(out, '{');
    gw_buf_adds(out, comma ? comma + 1 : "}");
}

void gw_sio_add_gap(struct gw_buf *out, enum sio_carrier carrier, const struct sio_shape *shape,
                    const struct gw_gap *gap)
{
    struct gw_buf packet = {0};
    struct gw_buf json = {0};
    gw_json_gap(&json, gap);
    gw_sio_add_head(&packet, GW_SIO_EVENT, shape->space);
    gw_buf_adds(&packet, "[\"gap\",");
    gw_sio_add_untyped(&packet, &json);
    gw_buf_addc(&packet, ']');
    gw_sio_add_packet(out, carrier, packet.data, packet.len);
    gw_buf_fini(&json);
    gw_buf_fini(&packet);
}

/* --- the fast path --------------------------------------------------------------------------------------------- */

/* A message's frames for one shape: bytes of its own around a part of the message, which is not copied. */
struct form {
    struct gw_variant variant; /* first member */
    size_t header;             /* bytes of the frame's header, with which it begins; 0: it is two frames */
    size_t before, after;
    struct gw_slice middle;
    char bytes[];
};

static void form_destroy(struct gw_variant *variant)
{
    free(variant);
}

/* Returns the length of the header with which it begins, or 0 where there are two frames. */
static size_t form_make(const struct sio_shape *shape, const struct gw_message *msg, struct gw_buf *before,
                        struct gw_buf *after, struct gw_slice *middle)
{
    uint8_t header[GW_WS_HEADER_MAX];
    struct gw_buf packet = {0};
    *middle = (struct gw_slice){"", 0};
    bool attaches = form_attaches(shape, msg);
    if (shape->plain && !attaches && !msg->state) { /* ["message",{ + the message's own text + ,"E.7"] */
        *middle = gw_message_tail(msg);
        form_head(shape, msg, false, &packet);
        gw_buf_addc(&packet, '{');
        form_end(msg, "", after);
        gw_buf_add(before, header, gw_ws_header(header, 1, packet.len + middle->len + after->len));
    } else {
        form_packet(shape, msg, attaches, "", &packet);
        gw_buf_add(before, header, gw_ws_header(header, 1, packet.len));
    }
    size_t header_len = attaches ? 0 : before->len;
    gw_buf_add(before, packet.data, packet.len);
    if (attaches) {
        gw_buf_add(before, header, gw_ws_header(header, 2, msg->payload.len));
        *middle = msg->payload;
    }
    gw_buf_fini(&packet);
    return header_len;
}

static const struct form *form_of(const struct sio_shape *shape, struct gw_message *msg)
{
    const struct form *known = (const struct form *)gw_message_variant(msg, shape);
    if (known)
        return known;
    struct gw_buf before = {0}, after = {0};
    struct gw_slice middle;
    size_t header = form_make(shape, msg, &before, &after, &middle);
    struct form *form = gw_malloc(sizeof *form + before.len + after.len);
    *form = (struct form){.variant = {.key = shape, .destroy = form_destroy},
                          .header = header,
                          .before = before.len,
                          .after = after.len,
                          .middle = middle};
    memcpy(form->bytes, before.data, before.len);
    if (after.len)
        memcpy(form->bytes + before.len, after.data, after.len);
    gw_buf_fini(&before);
    gw_buf_fini(&after);
    return (const struct form *)gw_message_keep_variant(msg, &form->variant);
}

/* The packet alone, without the header of a frame. False: it has an attachment. */
static bool form_add_payload(const struct sio_shape *shape, struct gw_message *msg, struct gw_buf *out)
{
    const struct form *form = form_of(shape, msg);
    if (!form->header)
        return false;
    if (out->len)
        gw_buf_addc(out, GW_EIO_SEPARATOR);
    gw_buf_add(out, form->bytes + form->header, form->before - form->header);
    gw_buf_add(out, form->middle.data, form->middle.len);
    gw_buf_add(out, form->bytes + form->before, form->after);
    return true;
}

unsigned gw_sio_add_message(struct gw_buf *out, enum sio_carrier carrier, const struct sio_shape *shape,
                            struct gw_message *msg, const char *offset)
{
    if (carrier == SIO_PAYLOAD && offset && !*offset && form_add_payload(shape, msg, out))
        return 1;
    struct gw_buf packet = {0};
    bool attaches = form_attaches(shape, msg);
    form_packet(shape, msg, attaches, offset, &packet);
    gw_sio_add_packet(out, carrier, packet.data, packet.len);
    if (attaches && carrier == SIO_FRAMES) {
        gw_ws_add_binary(out, msg->payload.data, msg->payload.len);
    } else if (attaches) {
        gw_buf_addc(out, GW_EIO_SEPARATOR);
        gw_buf_addc(out, GW_EIO_BINARY);
        gw_base64_encode(out, msg->payload.data, msg->payload.len);
    }
    gw_buf_fini(&packet);
    return attaches ? 2 : 1;
}

static size_t form_encode(const struct sio_shape *shape, struct gw_item *item, struct iovec parts[GW_PARTS_MAX])
{
    if (item->type == GW_ITEM_MESSAGE) {
        const struct form *form = form_of(shape, item->u.message);
        const char *bytes = form->bytes;
        size_t count = 0;
        parts[count++] = (struct iovec){(void *)(uintptr_t)bytes, form->before};
        if (form->middle.len)
            parts[count++] = (struct iovec){(void *)(uintptr_t)form->middle.data, form->middle.len};
        if (form->after)
            parts[count++] = (struct iovec){(void *)(uintptr_t)(bytes + form->before), form->after};
        return count;
    }
    if (item->type == GW_ITEM_GAP) {
        struct gw_buf frame = {0};
        gw_sio_add_gap(&frame, SIO_FRAMES, shape, item->u.gap);
        gw_item_set_text(item, &frame);
    }
    parts[0] = (struct iovec){item->u.text->data, item->u.text->len};
    return 1;
}
