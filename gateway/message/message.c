#include "gateway/message.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/digits.h"
#include "gateway/alloc.h"
#include "gateway/buf.h"
#include "message/cursor.h"

#define WS_TEXT   1
#define WS_BINARY 2

size_t gw_ws_header(uint8_t out[GW_WS_HEADER_MAX], unsigned opcode, uint64_t payload_len)
{
    out[0] = (uint8_t)(0x80 | opcode);
    if (payload_len < 126) {
        out[1] = (uint8_t)payload_len;
        return 2;
    }
    if (payload_len <= 0xffff) {
        out[1] = 126;
        out[2] = (uint8_t)(payload_len >> 8);
        out[3] = (uint8_t)payload_len;
        return 4;
    }
    out[1] = 127;
    for (int i = 0; i < 8; i++)
        out[2 + i] = (uint8_t)(payload_len >> (56 - 8 * i));
    return 10;
}

/* Server-Sent Events are chunks of their own. What follows the head: the cursor, "\ndata: {", the tail, "\n\n",
 * before which one of a state names its event. */
static void message_event_head(struct gw_message *msg, size_t cursor_len)
{
    static const char digits[] = "0123456789abcdef";
    size_t len = 4 + cursor_len + 8 + gw_message_tail(msg).len + (msg->state ? sizeof GW_STATUS_EVENT - 1 : 0) + 2;
    unsigned shift = 28;
    while (shift && !(len >> shift))
        shift -= 4;
    char *at = msg->event;
    for (;; shift -= 4) {
        *at++ = digits[len >> shift & 15];
        if (!shift)
            break;
    }
    at = mempcpy(at, "\r\nid: ", 6);
    msg->event_len = (uint8_t)(at - msg->event);
}

/* What on_change compares is looked at once, here. */
static void message_watch(struct gw_message *msg, const struct gw_message_spec *spec)
{
    if (!spec->watched.data)
        return;
    msg->watched = (struct gw_slice){msg->data.data + (spec->watched.data - spec->json), spec->watched.len};
    char digits[64];
    char first = spec->watched.data[0];
    if (spec->watched.len < sizeof digits && (first == '-' || (first >= '0' && first <= '9'))) {
        memcpy(digits, spec->watched.data, spec->watched.len);
        digits[spec->watched.len] = '\0';
        msg->number = strtod(digits, NULL);
        msg->is_number = true;
    }
}

#define PUT(at, literal) mempcpy(at, literal, sizeof(literal) - 1)

/* What follows `data`; returns its length. Every message has one, so no buffer is asked each time whether it has
 * room: there is. */
static size_t message_rest(char *out, const struct gw_message_spec *spec, size_t *cursor_len)
{
    char digits[GW_DIGITS_MAX];
    size_t first = gw_digits(digits, spec->ts < 0 ? 0 : (uint64_t)spec->ts);
    char *at = PUT(out, ",\"cursor\":\"");
    *cursor_len = gw_cursor_format(at, spec->epoch, spec->seq);
    at = PUT(at + *cursor_len, "\",\"ts\":");
    at = mempcpy(at, digits + first, sizeof digits - first);
    if (spec->retained && !spec->clear)
        at = PUT(at, ",\"retained\":true");
    if (spec->clear)
        at = PUT(at, ",\"cleared\":true");
    *at++ = '}';
    return (size_t)(at - out);
}

/* A byte of a name takes up to ESCAPE_MAX in JSON: \u0001. */
#define NAME_SHORT 100
#define ESCAPE_MAX 6
/* Longest text before a state. */
#define BEFORE_VALUE 96

/* What comes before the value of `data`, or of `state`, behind the channel's name. */
static struct gw_slice message_before_value(const struct gw_message_spec *spec, char out[BEFORE_VALUE])
{
    static const char key_data[] = ",\"data\":";
    if (!spec->state)
        return (struct gw_slice){key_data, sizeof key_data - 1};
    struct gw_buf text = {.data = out, .len = 0, .cap = BEFORE_VALUE};
    gw_buf_adds(&text, ",\"since\":");
    gw_buf_addu(&text, spec->since < 0 ? 0 : (uint64_t)spec->since);
    if (spec->seen > 0) {
        gw_buf_adds(&text, ",\"seen\":");
        gw_buf_addu(&text, (uint64_t)spec->seen);
    }
    gw_buf_adds(&text, ",\"state\":");
    assert(text.data == out);
    return (struct gw_slice){out, text.len};
}

struct gw_message *gw_message_create(const struct gw_message_spec *spec)
{
    /* The text is assembled in one go, into the final block: what isn't known in advance is only how much longer the
     * channel's name gets by escaping, so that is done first, apart; short names need no allocation for it. */
    char quoted[NAME_SHORT * ESCAPE_MAX + sizeof "\"\""];
    bool is_short = spec->channel_len <= NAME_SHORT;
    struct gw_buf name = {.data = is_short ? quoted : NULL, .cap = is_short ? sizeof quoted : 0};
    gw_buf_add_json_string(&name, spec->channel, spec->channel_len);

    char tail[GW_CURSOR_MAX + 96];
    size_t cursor_len, rest_len = message_rest(tail, spec, &cursor_len);

    char between[BEFORE_VALUE];
    const struct gw_slice key = message_before_value(spec, between);

    static const char key_channel[] = "\"channel\":";
    const char *prefix = spec->state ? GW_STATUS_PREFIX : GW_MESSAGE_PREFIX;
    size_t prefix_len = (spec->state ? sizeof GW_STATUS_PREFIX : sizeof GW_MESSAGE_PREFIX) - 1;
    size_t before = prefix_len + sizeof key_channel - 1 + name.len + key.len;
    size_t text_len = before + spec->json_len + rest_len;
    /* The payload is stored once where `data` is the payload itself. */
    bool same = spec->payload_len == spec->json_len && !memcmp(spec->payload, spec->json, spec->json_len);
    size_t total = text_len + (same ? 0 : spec->payload_len) + spec->channel_len + 1 + spec->properties.len;

    struct gw_message *msg = gw_malloc(sizeof *msg + total);
    *msg = (struct gw_message){
        .route = spec->route,
        .seq = spec->seq,
        .ts = spec->ts,
        .expires_ms = spec->expires_ms,
        .hash = gw_hash(spec->channel, spec->channel_len),
        .born_ns = spec->born_ns,
        .properties_len = (uint32_t)spec->properties.len,
        .retained = spec->retained,
        .stored = spec->stored && !spec->clear,
        .multiline = memchr(spec->json, '\n', spec->json_len) || memchr(spec->json, '\r', spec->json_len),
        .clear = spec->clear,
        .window = spec->window,
        .qos = spec->qos,
        .state = spec->state,
    };
    atomic_init(&msg->refs, 1);
    atomic_init(&msg->variants, NULL);

    char *at = msg->bytes;
    msg->text = (struct gw_slice){at, text_len};
    at = mempcpy(at, prefix, prefix_len);
    at = mempcpy(at, key_channel, sizeof key_channel - 1);
    at = mempcpy(at, name.data, name.len);
    at = mempcpy(at, key.data, key.len);
    msg->data = (struct gw_slice){at, spec->json_len};
    at = mempcpy(at, spec->json, spec->json_len);
    at = mempcpy(at, tail, rest_len);
    if (same) {
        msg->payload = msg->data;
    } else {
        msg->payload = (struct gw_slice){at, spec->payload_len};
        if (spec->payload_len)
            at = mempcpy(at, spec->payload, spec->payload_len);
    }
    msg->channel = (struct gw_slice){at, spec->channel_len};
    at = mempcpy(at, spec->channel, spec->channel_len);
    *at++ = '\0';
    if (spec->properties.len)
        memcpy(at, spec->properties.data, spec->properties.len);

    message_watch(msg, spec);
    msg->frame_len = (uint8_t)gw_ws_header(msg->frame, WS_TEXT, msg->text.len);
    msg->raw_len = (uint8_t)gw_ws_header(msg->raw, spec->binary ? WS_BINARY : WS_TEXT, msg->payload.len);
    message_event_head(msg, cursor_len);
    if (!is_short)
        gw_buf_fini(&name);
    return msg;
}

struct gw_message *gw_message_at(const struct gw_message *msg, const char *epoch, uint64_t seq)
{
    struct gw_message_spec spec = {
        .channel = msg->channel.data,
        .channel_len = msg->channel.len,
        .json = msg->data.data,
        .json_len = msg->data.len,
        .payload = msg->payload.data,
        .payload_len = msg->payload.len,
        .epoch = epoch,
        .seq = seq,
        .ts = msg->ts,
        .expires_ms = msg->expires_ms,
        .born_ns = msg->born_ns,
        .route = msg->route,
        .retained = msg->retained,
        .stored = msg->stored,
        .clear = msg->clear,
        .window = msg->window,
        .qos = msg->qos,
        .binary = (msg->raw[0] & 15) == WS_BINARY,
        .watched = msg->watched,
        .properties = gw_message_properties(msg),
    };
    return gw_message_create(&spec);
}

struct gw_message *gw_message_ref(struct gw_message *msg)
{
    atomic_fetch_add_explicit(&msg->refs, 1, memory_order_relaxed);
    return msg;
}

void gw_message_ref_many(struct gw_message *msg, uint32_t count)
{
    atomic_fetch_add_explicit(&msg->refs, count, memory_order_relaxed);
}

void gw_message_unref(struct gw_message *msg)
{
    if (msg)
        gw_message_unref_many(msg, 1);
}

void gw_message_unref_many(struct gw_message *msg, uint32_t count)
{
    if (atomic_fetch_sub_explicit(&msg->refs, count, memory_order_acq_rel) != count)
        return;
    for (struct gw_variant *variant = atomic_load_explicit(&msg->variants, memory_order_acquire), *next; variant;
         variant = next) {
        next = variant->next;
        variant->destroy(variant);
    }
    free(msg);
}

struct gw_variant *gw_message_variant(const struct gw_message *msg, const void *key)
{
    struct gw_variant *variant = atomic_load_explicit(&msg->variants, memory_order_acquire);
    while (variant && variant->key != key)
        variant = variant->next;
    return variant;
}

struct gw_variant *gw_message_keep_variant(struct gw_message *msg, struct gw_variant *variant)
{
    variant->next = atomic_load_explicit(&msg->variants, memory_order_acquire);
    do {
        /* Variants are only ever added in front, so a loser looks at what is new. */
        for (struct gw_variant *other = variant->next; other; other = other->next) {
            if (other->key != variant->key)
                continue;
            variant->destroy(variant);
            return other;
        }
    } while (!atomic_compare_exchange_weak_explicit(&msg->variants, &variant->next, variant, memory_order_acq_rel,
                                                    memory_order_acquire));
    return variant;
}

struct gw_slice gw_message_cursor(const struct gw_message *msg)
{
    static const char key[] = ",\"cursor\":\"";
    const char *start = msg->data.data + msg->data.len + sizeof key - 1;
    const char *end = memchr(start, '"', (size_t)(msg->text.data + msg->text.len - start));
    return (struct gw_slice){start, (size_t)(end - start)};
}

struct gw_slice gw_message_status(const struct gw_message *msg)
{
    static const char key[] = ",\"since\":";
    const char *end = msg->data.data + msg->data.len, *start = msg->data.data;
    while (memcmp(start, key, sizeof key - 1) != 0) /* no JSON string can hold it */
        start--;
    return (struct gw_slice){start, (size_t)(end - start)};
}

size_t gw_message_size(const struct gw_message *msg)
{
    return sizeof *msg + msg->text.len + (msg->payload.data == msg->data.data ? 0 : msg->payload.len) +
           msg->channel.len + 1 + msg->properties_len;
}
