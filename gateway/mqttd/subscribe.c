/* subscribe.c: SUBSCRIBE and UNSUBSCRIBE (sections 3.8 to 3.11). */
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/session_log.h"
#include "mqttd/client.h"

static bool sub_is_exact(const struct gw_mqttd_sub *sub)
{
    return sub->qos || sub->id || sub->as_published || sub->no_local || sub->cursors || sub->aggregate;
}

static struct gw_mqttd_sub *sub_find(struct gw_mqttd_client *client, struct gw_slice filter)
{
    for (uint32_t i = 0; i < client->sub_count; i++) {
        struct gw_mqttd_sub *sub = &client->subs[i];
        if (sub->len == filter.len && !memcmp(sub->filter, filter.data, filter.len))
            return sub;
    }
    return NULL;
}

/* No more than the hub's session has, which is bounded by limits.subscriptions. */
static struct gw_mqttd_sub *sub_add(struct gw_mqttd_client *client, struct gw_slice filter)
{
    GW_GROW(client->subs, client->sub_count, client->sub_allocated, 4);
    struct gw_mqttd_sub *sub = &client->subs[client->sub_count++];
    *sub = (struct gw_mqttd_sub){.filter = gw_strndup(filter.data, filter.len), .len = filter.len};
    return sub;
}

static void sub_remove(struct gw_mqttd_client *client, struct gw_mqttd_sub *sub)
{
    client->exact -= sub_is_exact(sub);
    free(sub->filter);
    free(sub->aggregate);
    *sub = client->subs[--client->sub_count];
}

void gw_mqttd_forget_subs(struct gw_mqttd_client *client)
{
    while (client->sub_count)
        sub_remove(client, client->subs);
    free(client->subs);
    client->subs = NULL;
}

/* NULL: it brings messages. */
static const struct gw_aggregate *sub_windows(const struct gw_mqttd_sub *sub, struct gw_aggregate *out)
{
    return sub->aggregate && !gw_aggregate_parse(out, sub->aggregate, strlen(sub->aggregate)) ? out : NULL;
}

void gw_mqttd_sub_aggregate(struct gw_mqttd_sub *sub, struct gw_slice text)
{
    struct gw_aggregate aggregate;
    free(sub->aggregate);
    sub->aggregate = NULL;
    sub->window = 0;
    if (text.len && !gw_aggregate_parse(&aggregate, text.data, text.len)) {
        sub->aggregate = gw_strndup(text.data, text.len);
        sub->window = gw_aggregate_id(aggregate.field, aggregate.every_ms);
    }
}

/* What the user properties `cursor`, `since` and `aggregate` ask for; every message then carries its cursor. */
struct replay {
    bool wanted;
    int64_t since_ms; /* 0: not by time */
    struct gw_slice cursor;
    struct gw_slice windows; /* FIELD:EVERY; data NULL: messages are wanted */
    struct gw_aggregate aggregate;
};

static enum gw_err replay_read(const struct gw_hub *hub, const struct gw_mqttd_properties *properties,
                               struct replay *out, const char **why)
{
    *out = (struct replay){.cursor = gw_mqttd_user(properties, "cursor"),
                           .windows = gw_mqttd_user(properties, "aggregate")};
    struct gw_slice since = gw_mqttd_user(properties, "since");
    out->wanted = out->cursor.data || since.data || out->windows.data;
    if (out->windows.data)
        *why = gw_aggregate_parse(&out->aggregate, out->windows.data, out->windows.len);
    if (*why)
        return GW_ERR_BAD_REQUEST;
    if (!since.data || out->cursor.data)
        return GW_OK;
    struct gw_start start;
    if (!gw_start_since(hub, since.data, since.len, &start)) {
        *why = GW_SINCE_EXPECTED;
        return GW_ERR_BAD_REQUEST;
    }
    out->since_ms = start.since_ms;
    return GW_OK;
}

/* Where a subscription begins: with the last values, unless retain handling or a user property says otherwise. */
static struct gw_start subscribe_start(const struct replay *replay, const struct gw_mqttd_filter *filter, bool known)
{
    struct gw_slice cursor = replay->cursor;
    if (replay->since_ms)
        return (struct gw_start){.at = GW_START_SINCE, .since_ms = replay->since_ms};
    if (cursor.data && !(cursor.len == 4 && !memcmp(cursor.data, "last", 4)))
        return (struct gw_start){.at = GW_START_CURSOR, .cursor = cursor.data, .cursor_len = cursor.len};
    bool none = filter->retain_handling == 2 || (filter->retain_handling == 1 && known);
    return (struct gw_start){.at = none ? GW_START_NOW : GW_START_LAST};
}

static void sub_begins(struct gw_mqttd_client *client, struct gw_mqttd_sub *sub, const struct gw_start *start,
                       const struct gw_subscribed *subscribed)
{
    uint64_t seq = 0;
    client->careful = true;
    if (gw_hub_check_cursor(client->session.hub, subscribed->cursor, strlen(subscribed->cursor), &seq) !=
        GW_CURSOR_OK)
        seq = 0;
    sub->from = seq;
    sub->fresh_to = start->at == GW_START_LAST && !sub->aggregate ? seq : 0;
}

static void sub_set(struct gw_mqttd_client *client, struct gw_mqttd_sub *sub, const struct gw_mqttd_subscribe *packet,
                    const struct gw_mqttd_filter *filter, const struct replay *replay)
{
    bool windows = replay->windows.data; /* at QoS 0: one that is lost comes again with a cursor */
    sub->qos = filter->qos && !windows ? 1 : 0;
    sub->id = packet->properties.subscription_id;
    sub->as_published = filter->as_published;
    sub->no_local = filter->no_local;
    if (sub->no_local && !client->origin[0])
        gw_mqttd_make_origin(client);
    sub->cursors = replay->wanted;
    sub->since_ms = windows ? 0 : replay->since_ms;
    gw_mqttd_sub_aggregate(sub, windows ? replay->windows : (struct gw_slice){"", 0});
    client->exact += sub_is_exact(sub);
}

/* Another subscription to the same filter takes the place of the one before, also windows that of messages. */
static enum gw_err subscribe_one(struct gw_mqttd_client *client, const struct gw_mqttd_subscribe *packet,
                                 const struct gw_mqttd_filter *filter, const struct replay *replay,
                                 struct gw_subscribed *subscribed)
{
    struct gw_slice text = filter->text;
    struct gw_mqttd_sub *sub = sub_find(client, text);
    struct gw_aggregate before;
    uint32_t window = replay->windows.data ? gw_aggregate_id(replay->aggregate.field, replay->aggregate.every_ms) : 0;
    bool known = sub && sub->window == window;
    struct gw_start start = subscribe_start(replay, filter, known);
    start.aggregate = window ? &replay->aggregate : NULL;
    /* One that is there already, and is not to bring last values again, goes on where it is. */
    bool begins = !known || start.at != GW_START_NOW;
    if (begins) {
        enum gw_err err = gw_session_subscribe(&client->session, text.data, text.len, &start, subscribed);
        if (err != GW_OK)
            return err;
    }
    if (sub && !known)
        gw_session_unsubscribe_from(&client->session, text.data, text.len, sub_windows(sub, &before));
    if (!sub)
        sub = sub_add(client, text);
    else
        client->exact -= sub_is_exact(sub);
    sub_set(client, sub, packet, filter, replay);
    if (begins)
        sub_begins(client, sub, &start, subscribed);
    return GW_OK;
}

void gw_mqttd_restore_sub(struct gw_mqttd_client *client, struct gw_mqttd_sub *sub, const struct gw_start *start)
{
    struct gw_subscribed subscribed;
    struct gw_aggregate aggregate;
    struct gw_start with = *start;
    with.aggregate = sub_windows(sub, &aggregate);
    enum gw_err err = gw_session_subscribe(&client->session, sub->filter, sub->len, &with, &subscribed);
    if (err != GW_OK) {
        GW_SESSION_LOG_ONCE_A_SECOND(&client->session, GW_LOG_WARN, "a subscription was not restored: %s",
                                     gw_err_code(err));
        return;
    }
    struct gw_mqttd_sub *own = sub_add(client, (struct gw_slice){sub->filter, sub->len});
    own->id = sub->id;
    own->qos = sub->qos;
    own->as_published = sub->as_published;
    own->no_local = sub->no_local;
    own->cursors = sub->cursors;
    own->since_ms = sub->since_ms;
    own->aggregate = sub->aggregate;
    own->window = sub->window;
    sub->aggregate = NULL;
    client->exact += sub_is_exact(own);
    sub_begins(client, own, start, &subscribed);
}

static bool filter_is_shared(struct gw_slice text)
{
    return text.len >= 7 && !memcmp(text.data, "$share/", 7);
}

void gw_mqttd_on_subscribe(struct gw_mqttd_client *client, struct gw_slice body)
{
    struct gw_mqttd_subscribe packet;
    const char *why;
    enum gw_mqttd_reason reason = gw_mqttd_read_subscribe(GW_MQTTD_SUBSCRIBE, body, client->version, &packet, &why);
    if (reason != GW_MQTTD_SUCCESS) {
        gw_mqttd_fail(client, reason, why);
        return;
    }
    uint8_t *codes = gw_malloc(packet.count); /* bounded by limits.frame */
    struct gw_subscribed subscribed = {.cursor = ""};
    enum gw_err refused = GW_OK;
    struct replay replay;
    struct gw_mqttd_filter filter;
    why = NULL;
    enum gw_err wrong = replay_read(client->session.hub, &packet.properties, &replay, &why);
    uint32_t count = 0;
    for (size_t at = 0; gw_mqttd_next_filter(&packet, &at, &filter); count++) {
        if (filter_is_shared(filter.text)) {
            codes[count] = GW_MQTTD_NO_SHARED;
            continue;
        }
        subscribed.why = NULL;
        enum gw_err err = wrong == GW_OK ? subscribe_one(client, &packet, &filter, &replay, &subscribed) : wrong;
        uint8_t granted = filter.qos && !replay.windows.data ? 1 : 0;
        codes[count] = err == GW_OK ? granted : gw_mqttd_subscribe_code(err);
        if (err != GW_OK && !why && replay.windows.data)
            why = subscribed.why;
        refused = refused == GW_OK ? err : refused;
    }
    struct gw_buf out = {0}, properties = {0};
    if (refused != GW_OK && client->problems)
        gw_mqttd_put_reason(&properties, refused, why);
    if (subscribed.cursor[0] && replay.wanted)
        gw_mqttd_put_user(&properties, "cursor", subscribed.cursor, strlen(subscribed.cursor));
    gw_mqttd_write_suback(&out, GW_MQTTD_SUBACK, client->version, packet.id, codes, count, &properties);
    gw_buf_fini(&properties);
    free(codes);
    gw_mqttd_send(client, &out);
    if (!client->ended)
        gw_session_catch_up(&client->session);
}

void gw_mqttd_on_unsubscribe(struct gw_mqttd_client *client, struct gw_slice body)
{
    struct gw_mqttd_subscribe packet;
    const char *why;
    enum gw_mqttd_reason reason = gw_mqttd_read_subscribe(GW_MQTTD_UNSUBSCRIBE, body, client->version, &packet, &why);
    if (reason != GW_MQTTD_SUCCESS) {
        gw_mqttd_fail(client, reason, why);
        return;
    }
    uint8_t *codes = gw_malloc(packet.count);
    struct gw_mqttd_filter filter;
    uint32_t count = 0;
    for (size_t at = 0; gw_mqttd_next_filter(&packet, &at, &filter); count++) {
        struct gw_mqttd_sub *sub = sub_find(client, filter.text);
        codes[count] = sub ? GW_MQTTD_SUCCESS : GW_MQTTD_NO_SUBSCRIPTION;
        if (!sub)
            continue;
        struct gw_aggregate aggregate;
        gw_session_unsubscribe_from(&client->session, filter.text.data, filter.text.len,
                                    sub_windows(sub, &aggregate));
        sub_remove(client, sub);
    }
    struct gw_buf out = {0};
    gw_mqttd_write_suback(&out, GW_MQTTD_UNSUBACK, client->version, packet.id, codes, count, NULL);
    free(codes);
    gw_mqttd_send(client, &out);
}
