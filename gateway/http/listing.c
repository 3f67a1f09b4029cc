/* listing.c: GET /channels. A short list is made at once, sorted by name. A long one is an answer without
 * Content-Length in the order in which the hub has the channels, made a slice a turn and only as fast as the client
 * reads it: sorting it would take as long as all of it, and keeping it as much memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/identity.h"
#include "gateway/protocol.h"
#include "gateway/timer.h"
#include "gateway/topic.h"
#include "gateway/transport.h"
#include "http/api.h"
#include "http/conn.h"
#include "hub/inbox.h"

#define JSON_TYPE "application/json"
/* Channels that a slice looks at. */
#define SLICE 1024

struct listing {
    struct gw_timer timer; /* first member: the next slice */
    struct gw_conn *conn;
    struct gw_identity *identity; /* a reference */
    struct gw_buf filter;
    uint32_t slot; /* where the next slice begins */
    bool any;
    struct gw_buf out; /* of one slice */
};

struct found {
    struct gw_message **messages;
    size_t count, allocated;
};

static bool found_take(void *context, struct gw_message *msg)
{
    struct found *found = context;
    GW_GROW(found->messages, found->count, found->allocated, 64);
    found->messages[found->count++] = msg;
    return true;
}

static int found_compare(const void *a, const void *b)
{
    const struct gw_message *left = *(struct gw_message *const *)a, *right = *(struct gw_message *const *)b;
    return strcmp(left->channel.data, right->channel.data);
}

/* NULL: everything, where there is no auth: (gate.c lets nobody in without, where there is). */
static const struct gw_grants *listing_grants(const struct gw_identity *identity)
{
    return identity ? identity->grants : NULL;
}

static void listing_add(struct gw_buf *body, struct gw_hub *hub, const struct gw_grants *grants,
                        const struct gw_message *msg, bool first)
{
    char cursor[64];
    gw_hub_format_cursor(hub, msg->seq, cursor);
    gw_buf_adds(body, first ? "{\"channel\":" : ",{\"channel\":");
    gw_buf_add_json_string(body, msg->channel.data, msg->channel.len);
    gw_buf_printf(body, ",\"cursor\":\"%s\",\"ts\":%lld,\"age\":%lld,\"publish\":%s", cursor, (long long)msg->ts,
                  (long long)(gw_hub_wall(hub) - msg->ts),
                  gw_hub_channel_publishable(hub, grants, msg->channel.data, msg->channel.len) ? "true" : "false");
    gw_hub_add_state(hub, msg, body);
    gw_buf_addc(body, '}');
}

static void listing_end(struct gw_buf *body, const struct gw_hub *hub, const struct gw_grants *grants)
{
    gw_buf_printf(body, "],\"publish\":%s}", gw_hub_may_publish(hub, grants) ? "true" : "false");
}

/* --- a long one ------------------------------------------------------------------------------------------------ */

static void listing_on_closed(struct gw_conn *conn)
{
    struct listing *listing = gw_conn_context(conn);
    gw_timer_cancel(gw_hub_timers(gw_conn_hub(conn)), &listing->timer);
    gw_identity_unref(listing->identity);
    gw_buf_fini(&listing->filter);
    gw_buf_fini(&listing->out);
    free(listing);
}

static bool listing_take(void *context, struct gw_message *msg)
{
    struct listing *listing = context;
    listing_add(&listing->out, gw_conn_hub(listing->conn), listing_grants(listing->identity), msg, !listing->any);
    listing->any = true;
    return true;
}

static void listing_slice(struct gw_timer *timer)
{
    struct listing *listing = (struct listing *)timer;
    struct gw_conn *conn = listing->conn;
    struct gw_hub *hub = gw_conn_hub(conn);
    gw_buf_clear(&listing->out);
    bool over = gw_hub_list_slice(hub, listing_grants(listing->identity), listing->filter.data, listing->filter.len,
                                  &listing->slot, SLICE, listing_take, listing);
    if (over)
        listing_end(&listing->out, hub, listing_grants(listing->identity));
    if (listing->out.len)
        gw_conn_send(conn, listing->out.data, listing->out.len);
    if (over)
        gw_conn_close(conn);
    else if (!gw_conn_blocked(conn))
        gw_timer_set(gw_hub_timers(hub), timer, gw_hub_now(hub) + 1);
}

static void listing_on_writable(struct gw_conn *conn)
{
    struct listing *listing = gw_conn_context(conn);
    struct gw_hub *hub = gw_conn_hub(conn);
    gw_timer_set(gw_hub_timers(hub), &listing->timer, gw_hub_now(hub));
}

static const struct gw_conn_ops listing_ops = {
    .writable = listing_on_writable,
    .message = NULL,
    .closed = listing_on_closed,
};

/* Takes *filter. */
static void listing_begin(struct gw_conn *conn, struct gw_buf *filter)
{
    struct gw_hub *hub = gw_conn_hub(conn);
    struct listing *listing = gw_calloc(1, sizeof *listing);
    char cursor[64], headers[96];
    listing->timer.fire = listing_slice;
    listing->conn = conn;
    listing->identity = gw_identity_ref(gw_conn_identity(conn));
    listing->filter = gw_buf_move(filter);
    gw_hub_cursor(hub, cursor);
    snprintf(headers, sizeof headers, "Sluice-Cursor: %s\r\n", cursor);
    bool head = conn->is_head;
    gw_http_stream(conn, headers, JSON_TYPE, &listing_ops, listing);
    if (head) {
        gw_conn_close(conn);
        return;
    }
    gw_buf_printf(&listing->out, "{\"cursor\":\"%s\",\"channels\":[", cursor);
    gw_conn_send(conn, listing->out.data, listing->out.len);
    gw_timer_set(gw_hub_timers(hub), &listing->timer, gw_hub_now(hub));
}

/* --- a short one ----------------------------------------------------------------------------------------------- */

static void listing_reply(struct gw_conn *conn, struct found *found)
{
    struct gw_hub *hub = gw_conn_hub(conn);
    struct gw_buf body = {0};
    char cursor[64], headers[96];
    gw_hub_cursor(hub, cursor);
    snprintf(headers, sizeof headers, "Sluice-Cursor: %s\r\n", cursor);
    if (found->count)
        qsort(found->messages, found->count, sizeof *found->messages, found_compare);
    gw_buf_printf(&body, "{\"cursor\":\"%s\",\"channels\":[", cursor);
    for (size_t i = 0; i < found->count; i++)
        listing_add(&body, hub, listing_grants(gw_conn_identity(conn)), found->messages[i], !i);
    listing_end(&body, hub, listing_grants(gw_conn_identity(conn)));
    gw_http_reply(conn, 200, headers, JSON_TYPE, body.data, body.len);
    gw_buf_fini(&body);
}

void gw_api_channels(struct gw_conn *conn, const struct gw_request *request)
{
    struct gw_hub *hub = gw_conn_hub(conn);
    struct gw_params params = {.query = request->query};
    struct gw_buf filter = {0};
    gw_buf_adds(&filter, "#");
    while (gw_params_next(&params)) {
        if (!strcmp(params.key.data, "filter")) {
            gw_buf_clear(&filter);
            gw_buf_add(&filter, params.value.data, params.value.len);
        }
    }
    gw_params_end(&params, NULL);
    struct found found = {0};
    if (params.bad || !gw_topic_filter_valid(filter.data, filter.len))
        gw_http_error(conn, GW_ERR_BAD_REQUEST, "filter is no valid MQTT filter (such as rooms/+/t)");
    else if (gw_hub_list(hub, listing_grants(gw_conn_identity(conn)), filter.data, filter.len, found_take, &found))
        listing_reply(conn, &found);
    else
        listing_begin(conn, &filter);
    free(found.messages);
    gw_buf_fini(&filter);
}
