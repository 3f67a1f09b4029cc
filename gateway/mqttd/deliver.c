/* deliver.c: messages to the client.
 *
 * At QoS 0 and without anything of the client's own in it a PUBLISH is the same for all clients of a version
 * (alike.c), and handed to the kernel many at a time, as on /ws. At QoS 1 such messages differ in their packet
 * identifier only: each client gets a copy with its own. Everything else is written for this client: with a
 * subscription identifier, an alias, as a retained message, after a gap. */
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/clock.h"
#include "gateway/session_log.h"
#include "gateway/topic.h"
#include "mqttd/parcel.h"

#define BATCH_BYTES (64 * 1024)

/* --- what came along ------------------------------------------------------------------------------------------- */

/* Has its time passed, it is not delivered any more (section 3.3.2.3.3). */
bool gw_mqttd_is_late(const struct gw_message *msg)
{
    return msg->expires_ms && gw_message_is_expired(msg, gw_wall_ms());
}

/* What is left of a message's time, in seconds; a started one counts. */
static uint32_t deliver_left(const struct gw_message *msg)
{
    int64_t left_ms = msg->expires_ms - gw_wall_ms();
    return left_ms > 0 ? (uint32_t)((left_ms + 999) / 1000) : 0;
}

void gw_mqttd_put_along(const struct gw_message *msg, struct gw_buf *properties)
{
    struct gw_slice along = gw_properties_public(gw_message_properties(msg));
    if (msg->expires_ms)
        gw_mqttd_put_u32(properties, GW_MQTTD_P_MESSAGE_EXPIRY, deliver_left(msg));
    if (along.len)
        gw_buf_add(properties, along.data, along.len);
}

static bool deliver_is_shared(const struct gw_mqttd_client *client)
{
    return !client->tailored && !client->careful && !client->exact && !client->gaps_waiting &&
           !client->session.lagging;
}

/* --- for this client ------------------------------------------------------------------------------------------- */

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

/* Was it published with RETAIN? A live one was, if the broker keeps it (docs/mqtt.md "Values that were cleared
 * meanwhile"). */
static bool deliver_was_retained(const struct gw_message *msg)
{
    return msg->retained || msg->stored;
}

static struct copy deliver_look(const struct gw_mqttd_client *client, const struct gw_message *msg,
                                struct gw_buf *properties)
{
    struct copy copy = {.wanted = true};
    bool local = deliver_is_local(client, msg), left_out = false, wanted = false;
    for (uint32_t i = 0; i < client->sub_count; i++) {
        const struct gw_mqttd_sub *sub = &client->subs[i];
        if (sub->window != msg->window ||
            !gw_topic_matches(sub->filter, sub->len, msg->channel.data, msg->channel.len))
            continue;
        if ((local && sub->no_local) || msg->ts < sub->since_ms) {
            copy.early |= msg->ts < sub->since_ms;
            left_out = true;
            continue;
        }
        wanted = true;
        copy.qos |= sub->qos & msg->qos; /* section 3.8.4 */
        copy.cursor |= sub->cursors;
        if (msg->seq <= sub->fresh_to || (sub->as_published && deliver_was_retained(msg)))
            copy.flags = GW_MQTTD_RETAIN;
        if (sub->id)
            gw_mqttd_put_varint(properties, GW_MQTTD_P_SUBSCRIPTION_ID, sub->id);
    }
    copy.wanted = wanted || !left_out;
    return copy;
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

static void deliver_write(struct gw_mqttd_client *client, const struct gw_message *msg,
                          struct gw_mqttd_parcel *parcel)
{
    bool skip = false;
    uint16_t before = msg->window ? 0 : gw_mqttd_replayed(client, msg, &skip);
    if (!msg->window) /* their cursors are behind what was handed out */
        client->handed = msg->seq;
    if (skip || gw_mqttd_is_late(msg))
        return;
    struct gw_buf properties;
    gw_buf_init(&properties);
    struct copy copy = deliver_look(client, msg, &properties);
    if (!copy.wanted) { /* what was lost before it is told with the next one, unless this one is too early already
                         */
        gw_buf_clear(&properties);
        if (copy.early) {
            gw_mqttd_put_gaps(client, msg, &properties);
            gw_mqttd_gaps_told(client, 0);
        }
        gw_buf_fini(&properties);
        return;
    }
    if (client->version == 5) {
        struct gw_slice cursor = gw_message_cursor(msg);
        if (copy.cursor)
            gw_mqttd_put_user(&properties, "cursor", cursor.data, cursor.len);
        gw_mqttd_put_gaps(client, msg, &properties);
        enum gw_state state = copy.flags ? gw_hub_state(client->session.hub, msg) : GW_STATE_NONE;
        if (state > GW_STATE_LIVE)
            gw_mqttd_put_user(&properties, "state", gw_state_name(state), strlen(gw_state_name(state)));
        gw_mqttd_put_along(msg, &properties);
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
    uint16_t id = before ? before : copy.qos ? gw_mqttd_next_id(client) : 0;
    gw_mqttd_gaps_told(client, id);
    struct gw_buf head;
    gw_buf_init(&head);
    if (!client->plain) {
        uint8_t frame[GW_WS_HEADER_MAX];
        gw_buf_add(&head, frame, gw_ws_header(frame, 2, size));
    }
    gw_mqttd_write_publish(&head, client->version, copy.flags, copy.qos, id, topic, &properties, msg->payload.len);
    gw_mqttd_parcel_add(parcel, head.data, head.len);
    gw_mqttd_parcel_add(parcel, msg->payload.data, msg->payload.len);
    gw_buf_fini(&head);
    if (alias && !known)
        client->names[alias - 1] = gw_strndup(msg->channel.data, msg->channel.len);
    gw_buf_fini(&properties);
    if (copy.qos)
        gw_mqttd_window_add(client, msg->seq, id);
}

static struct gw_mqttd_shape deliver_shape(const struct gw_mqttd_client *client)
{
    const struct gw_mqttd_sub *subs = client->subs;
    struct gw_mqttd_shape shape = {.plain = client->sub_count && !client->alias_maximum};
    shape.qos = shape.plain ? subs[0].qos : 0;
    for (uint32_t i = 0; i < client->sub_count && shape.plain; i++) {
        const struct gw_mqttd_sub *sub = &subs[i];
        shape.plain =
            sub->qos == shape.qos && !sub->id && !sub->cursors && !sub->no_local && !sub->since_ms && !sub->aggregate;
        shape.as_published |= sub->as_published;
        if (sub->fresh_to > shape.fresh_to)
            shape.fresh_to = sub->fresh_to;
    }
    return shape;
}

/* ... and nothing of the client's does. */
static bool shape_is_all(const struct gw_mqttd_shape *shape, const struct gw_mqttd_client *client)
{
    return shape->plain && !client->replay && !client->gaps_waiting;
}

static bool shape_fits(const struct gw_mqttd_shape *shape, const struct gw_message *msg)
{
    return msg->seq > shape->fresh_to && !msg->expires_ms && !(shape->as_published && deliver_was_retained(msg));
}

static void deliver_own(struct gw_mqttd_client *client, struct gw_item *item, struct gw_mqttd_parcel *parcel)
{
    parcel->own = true;
    if (item->type == GW_ITEM_GAP)
        gw_mqttd_keep_gap(client, item);
    else if (item->type == GW_ITEM_MESSAGE)
        deliver_write(client, item->u.message, parcel);
}

/* Adds those at the front that have nothing of the client's own in them; returns how many they are. */
static size_t deliver_alike(struct gw_mqttd_client *client, const struct gw_mqttd_shape *shape,
                            const struct gw_item *items, size_t count, struct gw_mqttd_parcel *parcel)
{
    size_t i = 0;
    for (; i < count && items[i].type == GW_ITEM_MESSAGE; i++) {
        const struct gw_message *msg = items[i].u.message;
        if (!shape_fits(shape, msg) || !gw_mqttd_add_alike(client, msg, shape->qos & msg->qos, parcel))
            break;
    }
    if (i)
        client->handed = items[i - 1].u.message->seq;
    return i;
}

/* Not inline: a parcel is some pages of the stack, and most clients need none. */
static __attribute__((noinline)) void deliver_gathered(struct gw_mqttd_client *client,
                                                       const struct gw_mqttd_shape *shape, struct gw_item *items,
                                                       size_t count)
{
    struct gw_mqttd_parcel parcel;
    gw_mqttd_parcel_begin(&parcel, client->conn);
    for (size_t at = 0, released = 0; at < count;) {
        if (shape_is_all(shape, client))
            at += deliver_alike(client, shape, items + at, count - at, &parcel);
        if (at < count)
            deliver_own(client, &items[at++], &parcel);
        for (; parcel.own && released < at; released++) {
            if (items[released].type != GW_ITEM_GAP) /* which gaps.c has taken */
                gw_session_release(&client->session, &items[released]);
        }
    }
    gw_mqttd_parcel_finish(&parcel, client, shape, items, count);
}

/* What one of the clients before this one got mostly is what this one gets. */
static void deliver_round(struct gw_mqttd_client *client, const struct gw_mqttd_shape *shape, struct gw_item *items,
                          size_t count)
{
    if (shape_is_all(shape, client) && gw_mqttd_parcel_again(client, shape, items, count))
        client->handed = items[count - 1].u.message->seq;
    else
        deliver_gathered(client, shape, items, count);
}

/* Every message takes a place of the window in thought, since it is not known yet at which QoS it will be. */
static void deliver_exactly(struct gw_mqttd_client *client)
{
    struct gw_item items[GW_MQTTD_PARCEL_MESSAGES];
    const struct gw_mqttd_shape shape = deliver_shape(client);
    while (gw_session_waiting(&client->session) && !client->ended && !gw_conn_blocked(client->conn)) {
        uint32_t room = client->window - client->inflight_count;
        size_t most = room < GW_MQTTD_PARCEL_MESSAGES ? room : GW_MQTTD_PARCEL_MESSAGES;
        size_t count = gw_session_next_batch(&client->session, items, most, BATCH_BYTES);
        if (!count)
            break;
        deliver_round(client, &shape, items, count);
    }
    if (!gw_session_waiting(&client->session))
        client->careful = false;
}

void gw_mqttd_drain(struct gw_mqttd_client *client)
{
    if (client->ended || !client->connected || (client->out.len && !gw_mqttd_flush(client)))
        return;
    if (deliver_is_shared(client)) {
        gw_conn_drain(client->conn, &client->session, gw_mqttd_encoder(client));
        return;
    }
    client->careful |= client->session.lagging;
    deliver_exactly(client);
}

void gw_mqttd_forget_messages(struct gw_mqttd_client *client)
{
    gw_mqttd_forget_gaps(client->gaps, client->gap_count);
    client->gaps = NULL;
    client->gap_count = client->gaps_waiting = 0;
    gw_mqttd_forget_window(client);
    for (uint32_t i = 0; client->names && i < client->alias_maximum; i++)
        free(client->names[i]);
    free(client->names);
    client->names = NULL;
}
