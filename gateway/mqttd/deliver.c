/* deliver.c: messages to the client.
 *
 * At QoS 0 and without anything of the client's own in it a PUBLISH is the same for all clients of a version: it is
 * made once, kept with the message and handed to the kernel many at a time, as on /ws. Everything else is written for
 * this client: at QoS 1 (packet identifier), with a subscription identifier, as a retained message, after a gap. */
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/clock.h"
#include "gateway/session_log.h"
#include "gateway/topic.h"
#include "mqttd/client.h"

#define BATCH       64
#define BATCH_BYTES (64 * 1024)
#define FRESH_BYTES (16 * 1024)
/* Room for a drain of small messages. */
#define DRAIN_BYTES 4096

/* --- what came along ------------------------------------------------------------------------------------------- */

/* Has its time passed, it is not delivered any more (section 3.3.2.3.3). */
static bool deliver_is_late(const struct gw_message *msg)
{
    return msg->expires_ms && gw_message_is_expired(msg, gw_wall_ms());
}

/* What is left of a message's time, in seconds; a started one counts. */
static uint32_t deliver_left(const struct gw_message *msg)
{
    int64_t left_ms = msg->expires_ms - gw_wall_ms();
    return left_ms > 0 ? (uint32_t)((left_ms + 999) / 1000) : 0;
}

static void deliver_put_along(const struct gw_message *msg, struct gw_buf *properties)
{
    struct gw_slice along = gw_properties_public(gw_message_properties(msg));
    if (msg->expires_ms)
        gw_mqttd_put_u32(properties, GW_MQTTD_P_MESSAGE_EXPIRY, deliver_left(msg));
    if (along.len)
        gw_buf_add(properties, along.data, along.len);
}

/* --- the same for all ------------------------------------------------------------------------------------------ */

/* WebSocket header, and PUBLISH up to its payload. */
struct head {
    struct gw_variant variant; /* first member */
    size_t len;
    size_t frame_len; /* of the WebSocket header, which plain connections leave out */
    char bytes[];
};

/* Their addresses are the keys. */
static const char head_old, head_5;

static void head_destroy(struct gw_variant *variant)
{
    free(variant);
}

static const struct head *head_of(struct gw_message *msg, unsigned version)
{
    const void *key = version == 5 ? &head_5 : &head_old;
    struct gw_variant *kept = gw_message_variant(msg, key);
    if (kept)
        return (const struct head *)kept;
    struct gw_buf mqtt, properties;
    gw_buf_init(&mqtt);
    gw_buf_init(&properties);
    if (version == 5)
        deliver_put_along(msg, &properties);
    gw_mqttd_write_publish(&mqtt, version, 0, 0, 0, msg->channel, &properties, msg->payload.len);
    gw_buf_fini(&properties);
    uint8_t frame[GW_WS_HEADER_MAX];
    size_t frame_len = gw_ws_header(frame, 2, mqtt.len + msg->payload.len);
    struct head *head = gw_malloc(sizeof *head + frame_len + mqtt.len);
    *head = (struct head){
        .variant = {.key = key, .destroy = head_destroy}, .len = frame_len + mqtt.len, .frame_len = frame_len};
    memcpy(head->bytes, frame, frame_len);
    memcpy(head->bytes + frame_len, mqtt.data, mqtt.len);
    gw_buf_fini(&mqtt);
    return (const struct head *)gw_message_keep_variant(msg, &head->variant);
}

/* It has all of its time left, in whole seconds. A large message may be asked for again later (net/outbox.c). */
static bool deliver_is_fresh(const struct gw_message *msg)
{
    return gw_wall_ms() - msg->ts < 1000 && msg->payload.len < FRESH_BYTES && !deliver_is_late(msg);
}

/* Its time runs down, so that it is not the same for all: it becomes a text, and stays one where it is asked for
 * again. */
static size_t encode_expiring(struct gw_item *item, unsigned version, bool plain, struct iovec parts[GW_PARTS_MAX])
{
    struct gw_buf frame, packet, properties;
    const struct gw_message *msg = item->u.message;
    if (deliver_is_late(msg))
        return 0;
    gw_buf_init(&frame);
    gw_buf_init(&packet);
    gw_buf_init(&properties);
    if (version == 5)
        deliver_put_along(msg, &properties);
    gw_mqttd_write_publish(&packet, version, 0, 0, 0, msg->channel, &properties, msg->payload.len);
    if (!plain) {
        uint8_t header[GW_WS_HEADER_MAX];
        gw_buf_add(&frame, header, gw_ws_header(header, 2, packet.len + msg->payload.len));
    }
    gw_buf_add(&frame, packet.data, packet.len);
    gw_buf_add(&frame, msg->payload.data, msg->payload.len);
    gw_buf_fini(&packet);
    gw_buf_fini(&properties);
    gw_item_set_text(item, &frame);
    parts[0] = (struct iovec){item->u.text->data, item->u.text->len};
    return 1;
}

static size_t encode(struct gw_item *item, unsigned version, bool plain, struct iovec parts[GW_PARTS_MAX])
{
    if (item->type == GW_ITEM_TEXT) {
        parts[0] = (struct iovec){item->u.text->data, item->u.text->len};
        return 1;
    }
    if (item->type != GW_ITEM_MESSAGE)
        return 0; /* there are no gaps here: see deliver_is_shared() */
    struct gw_message *msg = item->u.message;
    if (msg->expires_ms && !deliver_is_fresh(msg))
        return encode_expiring(item, version, plain, parts);
    const struct head *head = head_of(msg, version);
    size_t skip = plain ? head->frame_len : 0;
    parts[0] = (struct iovec){(void *)(uintptr_t)(head->bytes + skip), head->len - skip};
    parts[1] = (struct iovec){(void *)(uintptr_t)msg->payload.data, msg->payload.len};
    return msg->payload.len ? 2 : 1;
}

static size_t encode_old(struct gw_item *item, struct iovec parts[GW_PARTS_MAX])
{
    return encode(item, 4, false, parts);
}

static size_t encode_5(struct gw_item *item, struct iovec parts[GW_PARTS_MAX])
{
    return encode(item, 5, false, parts);
}

static size_t encode_old_plain(struct gw_item *item, struct iovec parts[GW_PARTS_MAX])
{
    return encode(item, 4, true, parts);
}

static size_t encode_5_plain(struct gw_item *item, struct iovec parts[GW_PARTS_MAX])
{
    return encode(item, 5, true, parts);
}

static bool deliver_is_shared(const struct gw_mqttd_client *client)
{
    return !client->tailored && !client->careful && !client->exact && !client->gap_count && !client->session.lagging;
}

/* --- for this client ------------------------------------------------------------------------------------------- */

/* Before the place of a kept session only that is missing which is to be sent again. */
static bool gap_is_news(const struct gw_mqttd_client *client, const struct gw_gap *gap)
{
    const struct gw_hub *hub = client->session.hub;
    uint64_t from, to;
    if (!client->replay || gw_hub_check_cursor(hub, gap->from, strlen(gap->from), &from) != GW_CURSOR_OK ||
        gw_hub_check_cursor(hub, gap->to, strlen(gap->to), &to) != GW_CURSOR_OK || to > client->replay_to)
        return true;
    for (uint32_t i = 0; i < client->replay_count; i++) {
        if (client->replay[i].seq > from && client->replay[i].seq <= to)
            return true;
    }
    return false;
}

static void deliver_keep_gap(struct gw_mqttd_client *client, struct gw_item *item)
{
    const struct gw_gap *gap = item->u.gap;
    if (!gap_is_news(client, gap)) {
        gw_item_release(item);
        return;
    }
    GW_SESSION_LOG_ONCE_A_SECOND(&client->session, GW_LOG_INFO, "a gap in '%s' from %s to %s: %s", gap->channel,
                                 gap->from, gap->to, gap->reason);
    if (client->version < 5) {
        gw_item_release(item);
        return;
    }
    if (!client->gaps)
        client->gaps = gw_calloc(GW_MQTTD_GAPS, sizeof(struct gw_gap *));
    if (client->gap_count == GW_MQTTD_GAPS) { /* their channels are silent; the log has them */
        free(client->gaps[0]);
        memmove(client->gaps, client->gaps + 1, sizeof *client->gaps * --client->gap_count);
    }
    client->gaps[client->gap_count++] = item->u.gap;
}

/* "REASON FROM TO", and the filter where the gap is one of all its channels. */
static void gap_put(const struct gw_gap *gap, bool filter, struct gw_buf *properties)
{
    struct gw_buf text;
    gw_buf_init(&text);
    gw_buf_printf(&text, "%s %s %s", gap->reason, gap->from, gap->to);
    if (filter) {
        gw_buf_addc(&text, ' ');
        gw_buf_adds(&text, gap->channel);
    }
    gw_mqttd_put_user(properties, "gap", text.data, text.len);
    gw_buf_fini(&text);
}

static void deliver_put_gaps(struct gw_mqttd_client *client, const struct gw_message *msg, struct gw_buf *properties)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < client->gap_count; i++) {
        struct gw_gap *gap = client->gaps[i];
        const struct gw_slice channel = msg->channel;
        size_t len = strlen(gap->channel);
        bool own = len == channel.len && !memcmp(gap->channel, channel.data, len);
        if (own || gw_topic_matches(gap->channel, len, channel.data, channel.len)) {
            gap_put(gap, !own, properties);
            free(gap);
        } else {
            client->gaps[kept++] = gap;
        }
    }
    client->gap_count = kept;
}

/* What the client's subscriptions make of a message. One copy for all that match (section 3.3.4). */
struct copy {
    unsigned qos, flags;
    bool cursor;
    bool wanted;
    bool early; /* not wanted, because it is from before the time that was asked for */
};

/* Did this client publish it? Only asked where it has a subscription with No Local. */
static bool deliver_is_local(const struct gw_mqttd_client *client, const struct gw_message *msg)
{
    if (!client->origin[0] || !msg->properties_len)
        return false;
    struct gw_slice origin = gw_properties_find(gw_message_properties(msg), GW_PROPERTY_ORIGIN);
    return origin.len == GW_ORIGIN_SIZE && !memcmp(origin.data, client->origin, GW_ORIGIN_SIZE);
}

static struct copy deliver_look(const struct gw_mqttd_client *client, const struct gw_message *msg,
                                struct gw_buf *properties)
{
    struct copy copy = {.wanted = true};
    bool local = deliver_is_local(client, msg), left_out = false, wanted = false;
    for (uint32_t i = 0; i < client->sub_count; i++) {
        const struct gw_mqttd_sub *sub = &client->subs[i];
        if (!gw_topic_matches(sub->filter, sub->len, msg->channel.data, msg->channel.len))
            continue;
        if ((local && sub->no_local) || msg->ts < sub->since_ms) {
            copy.early |= msg->ts < sub->since_ms;
            left_out = true;
            continue;
        }
        wanted = true;
        copy.qos |= sub->qos & msg->qos; /* section 3.8.4 */
        copy.cursor |= sub->cursors;
        if (msg->seq <= sub->fresh_to || (sub->as_published && msg->retained))
            copy.flags = GW_MQTTD_RETAIN;
        if (sub->id)
            gw_mqttd_put_varint(properties, GW_MQTTD_P_SUBSCRIPTION_ID, sub->id);
    }
    copy.wanted = wanted || !left_out;
    return copy;
}

/* How many identifiers after `last` come before `id`. */
static uint16_t id_distance(uint16_t last, uint16_t id)
{
    return (uint16_t)(id - last - 1);
}

/* The window is smaller than there are identifiers. All that are in use are looked at only when the identifiers that
 * were free have been used up. */
static uint16_t deliver_next_id(struct gw_mqttd_client *client)
{
    while (!client->free_ids) {
        uint16_t last = client->last_id, room = id_distance(last, 0);
        for (uint32_t i = 0; i < client->inflight_count; i++) {
            uint16_t distance = id_distance(last, client->inflight[i].id);
            room = distance < room ? distance : room;
        }
        for (uint32_t i = 0; client->replay && i < client->replay_count; i++) {
            uint16_t distance = id_distance(last, client->replay[i].id);
            room = distance < room ? distance : room;
        }
        client->free_ids = room;
        if (!room)
            client->last_id++; /* 0, or in use */
    }
    client->free_ids--;
    return ++client->last_id;
}

/* A kept session goes on before what the client had not acknowledged. What it had, it is not sent again. Returns the
 * identifier of before, or 0; *skip: it has it. */
static uint16_t deliver_replayed(struct gw_mqttd_client *client, const struct gw_message *msg, bool *skip)
{
    *skip = false;
    if (!client->replay)
        return 0;
    if (msg->seq > client->replay_to) { /* what is left has been replaced by newer values */
        free(client->replay);
        client->replay = NULL;
        return 0;
    }
    for (uint32_t i = 0; i < client->replay_count; i++) {
        if (client->replay[i].seq != msg->seq)
            continue;
        uint16_t id = client->replay[i].id;
        client->replay[i] = client->replay[--client->replay_count];
        return id;
    }
    *skip = true;
    return 0;
}

/* Section 3.3.2.3.4: the first channels get an alias each, and later messages of theirs have it instead of the name.
 * Returns it, or 0; *known: the client has it. */
static uint16_t deliver_alias(struct gw_mqttd_client *client, const struct gw_message *msg, bool *known)
{
    *known = false;
    if (client->alias_maximum && !client->names)
        client->names = gw_calloc(client->alias_maximum, sizeof(char *));
    for (uint32_t i = 0; i < client->alias_maximum; i++) {
        if (!client->names[i])
            return (uint16_t)(i + 1);
        *known = !strcmp(client->names[i], msg->channel.data);
        if (*known)
            return (uint16_t)(i + 1);
    }
    return 0;
}

static void deliver_write(struct gw_mqttd_client *client, const struct gw_message *msg, struct gw_buf *out)
{
    bool skip;
    uint16_t before = deliver_replayed(client, msg, &skip);
    client->handed = msg->seq;
    if (skip || deliver_is_late(msg))
        return;
    struct gw_buf properties;
    gw_buf_init(&properties);
    struct copy copy = deliver_look(client, msg, &properties);
    if (!copy.wanted) { /* what was lost before it is told with the next one, unless this one is too early already
                         */
        gw_buf_clear(&properties);
        if (copy.early)
            deliver_put_gaps(client, msg, &properties);
        gw_buf_fini(&properties);
        return;
    }
    if (client->version == 5) {
        struct gw_slice cursor = gw_message_cursor(msg);
        if (copy.cursor)
            gw_mqttd_put_user(&properties, "cursor", cursor.data, cursor.len);
        deliver_put_gaps(client, msg, &properties);
        enum gw_state state = copy.flags ? gw_hub_state(client->session.hub, msg) : GW_STATE_NONE;
        if (state > GW_STATE_LIVE)
            gw_mqttd_put_user(&properties, "state", gw_state_name(state), strlen(gw_state_name(state)));
        deliver_put_along(msg, &properties);
    }
    bool known;
    uint16_t alias = deliver_alias(client, msg, &known);
    struct gw_slice topic = {msg->channel.data, known ? 0 : msg->channel.len};
    if (alias)
        gw_mqttd_put_u16(&properties, GW_MQTTD_P_ALIAS, alias);
    copy.qos |= before != 0;
    copy.flags |= before ? GW_MQTTD_DUP : 0;
    size_t size = gw_mqttd_publish_size(client->version, copy.qos, topic.len, properties.len, msg->payload.len);
    if (size > client->maximum_packet) { /* section 3.1.2.11.4 */
        GW_SESSION_LOG_ONCE_A_SECOND(&client->session, GW_LOG_WARN,
                                     "a message of %zu bytes is larger than the client's maximum packet size",
                                     msg->payload.len);
        gw_buf_fini(&properties);
        return;
    }
    uint16_t id = before ? before : copy.qos ? deliver_next_id(client) : 0;
    gw_buf_reserve(out, out->len ? size + GW_WS_HEADER_MAX : DRAIN_BYTES);
    if (!client->plain) {
        uint8_t frame[GW_WS_HEADER_MAX];
        gw_buf_add(out, frame, gw_ws_header(frame, 2, size));
    }
    gw_mqttd_write_publish(out, client->version, copy.flags, copy.qos, id, topic, &properties, msg->payload.len);
    gw_buf_add(out, msg->payload.data, msg->payload.len);
    if (alias && !known)
        client->names[alias - 1] = gw_strndup(msg->channel.data, msg->channel.len);
    gw_buf_fini(&properties);
    if (!copy.qos)
        return;
    if (!client->inflight)
        client->inflight = gw_calloc(client->window, sizeof *client->inflight);
    client->inflight[client->inflight_count++] = (struct gw_mqttd_inflight){msg->seq, id};
}

/* Every message takes a place of the window in thought, since it is not known yet at which QoS it will be. */
static void deliver_exactly(struct gw_mqttd_client *client)
{
    struct gw_item items[BATCH];
    struct gw_buf out;
    gw_buf_init(&out);
    while (!client->ended && !gw_conn_blocked(client->conn)) {
        uint32_t room = client->window - client->inflight_count;
        size_t count = gw_session_next_batch(&client->session, items, room < BATCH ? room : BATCH, BATCH_BYTES);
        if (!count)
            break;
        for (size_t i = 0; i < count; i++) {
            if (items[i].type == GW_ITEM_GAP) {
                deliver_keep_gap(client, &items[i]);
                continue;
            }
            if (items[i].type == GW_ITEM_MESSAGE)
                deliver_write(client, items[i].u.message, &out);
            gw_session_release(&client->session, &items[i]);
        }
        if (out.len)
            gw_conn_send(client->conn, out.data, out.len);
        gw_buf_clear(&out);
    }
    gw_buf_fini(&out);
    if (!gw_session_waiting(&client->session))
        client->careful = false;
}

void gw_mqttd_drain(struct gw_mqttd_client *client)
{
    if (client->ended || !client->connected || !gw_mqttd_flush(client))
        return;
    if (deliver_is_shared(client)) {
        static const gw_encode encoders[2][2] = {{encode_old, encode_old_plain}, {encode_5, encode_5_plain}};
        gw_conn_drain(client->conn, &client->session, encoders[client->version == 5][client->plain]);
        return;
    }
    client->careful |= client->session.lagging;
    deliver_exactly(client);
}

/* --- acknowledgements ------------------------------------------------------------------------------------------ */

void gw_mqttd_on_puback(struct gw_mqttd_client *client, uint16_t id)
{
    for (uint32_t i = 0; i < client->inflight_count; i++) {
        if (client->inflight[i].id != id)
            continue;
        client->inflight_count--;
        memmove(client->inflight + i, client->inflight + i + 1,
                (client->inflight_count - i) * sizeof *client->inflight);
        break;
    }
    for (uint32_t i = 0; client->replay && i < client->replay_count; i++) {
        if (client->replay[i].id == id) /* it had it, and says so now */
            client->replay[i] = client->replay[--client->replay_count];
    }
    if (gw_session_waiting(
            &client->session)) /* a client acknowledges many at a time: what they make room for leaves together */
        gw_session_wake(&client->session);
}

void gw_mqttd_on_pubrec(struct gw_mqttd_client *client, uint16_t id)
{
    struct gw_buf packet;
    gw_buf_init(&packet);
    gw_mqttd_write_ack(&packet, GW_MQTTD_PUBREL, client->version, id, GW_MQTTD_ID_NOT_FOUND, NULL);
    gw_mqttd_send(client, &packet);
}

void gw_mqttd_forget_messages(struct gw_mqttd_client *client)
{
    while (client->gap_count)
        free(client->gaps[--client->gap_count]);
    free(client->inflight);
    client->inflight = NULL;
    client->inflight_count = 0;
    free(client->replay);
    client->replay = NULL;
    free(client->gaps);
    client->gaps = NULL;
    for (uint32_t i = 0; client->names && i < client->alias_maximum; i++)
        free(client->names[i]);
    free(client->names);
    client->names = NULL;
}
