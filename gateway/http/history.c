/* history.c: GET /channels/NAME/history. */
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/hub.h"
#include "gateway/identity.h"
#include "gateway/protocol.h"
#include "gateway/transport.h"
#include "http/api.h"
#include "hub/channel/since.h"

struct listing {
    struct gw_message **messages;
    size_t count, allocated;
};

static bool listing_take(void *context, struct gw_message *msg)
{
    struct listing *listing = context;
    GW_GROW(listing->messages, listing->count, listing->allocated, 64);
    listing->messages[listing->count++] = msg;
    return true;
}

/* The newest `limit` without a cursor; with one, the oldest `limit` after it, so that a client can page on. */
static void history_body(struct gw_conn *conn, const struct gw_buf *name, uint64_t after, bool from_cursor,
                         bool other_epoch, const char *cursor_text, size_t limit)
{
    struct gw_hub *hub = gw_conn_hub(conn);
    struct listing all = {0};
    uint64_t evicted;
    gw_hub_history(hub, gw_api_grants(conn), name->data, name->len, after, listing_take, &all, &evicted);
    size_t first = !from_cursor && all.count > limit ? all.count - limit : 0;
    size_t end = all.count - first > limit ? first + limit : all.count;

    char cursor[64], to[64];
    if (end < all.count)
        gw_hub_format_cursor(hub, all.messages[end]->seq - 1, cursor);
    else
        gw_hub_cursor(hub, cursor);
    struct gw_buf body = {0};
    gw_buf_printf(&body, "{\"cursor\":\"%s\",\"channel\":", cursor);
    gw_buf_add_json_string(&body, name->data, name->len);
    gw_buf_adds(&body, ",\"messages\":[");
    for (size_t i = first; i < end; i++) {
        struct gw_slice tail = gw_message_tail(all.messages[i]);
        gw_buf_adds(&body, i > first ? ",{" : "{");
        gw_buf_add(&body, tail.data, tail.len);
    }
    gw_buf_adds(&body, "],\"gaps\":[");
    if (from_cursor && (other_epoch || evicted > after)) {
        gw_hub_format_cursor(hub, evicted, to);
        struct gw_gap gap = {name->data, (char *)(uintptr_t)cursor_text, to, other_epoch ? "epoch" : "history"};
        gw_json_gap(&body, &gap);
    }
    gw_buf_adds(&body, "]}");
    free(all.messages);
    gw_api_reply_json(conn, &body, cursor);
}

void gw_api_history(struct gw_conn *conn, const struct gw_request *request, const struct gw_buf *name)
{
    struct gw_hub *hub = gw_conn_hub(conn);
    if (!gw_api_may(conn, GW_RIGHT_SUBSCRIBE, name) || !gw_api_may(conn, GW_RIGHT_HISTORY, name))
        return;
    if (!gw_hub_channel_possible(hub, name->data, name->len)) {
        gw_http_error(conn, GW_ERR_UNKNOWN_CHANNEL, NULL);
        return;
    }
    struct gw_params params = {.query = request->query};
    struct gw_buf cursor = {0};
    const char *why = NULL;
    size_t limit = SIZE_MAX;
    uint64_t after = 0;
    bool from_cursor = false, from_since = false, other_epoch = false;
    while (!why && gw_params_next(&params)) {
        const char *key = params.key.data;
        const struct gw_buf *value = &params.value;
        if (!strcmp(key, "limit")) {
            char *end;
            unsigned long number = strtoul(value->data, &end, 10);
            if (!value->len || *end || value->data[0] < '0' || value->data[0] > '9' || !number)
                why = "limit is a number, 1 or more";
            limit = number;
        } else if (!strcmp(key, "cursor") && value->len) {
            enum gw_cursor_check check = gw_hub_check_cursor(hub, value->data, value->len, &after);
            if (check == GW_CURSOR_BAD)
                why = "the cursor is none of this gateway's (<epoch>.<number> expected)";
            from_cursor = true;
            other_epoch = check == GW_CURSOR_OTHER_EPOCH;
            if (other_epoch)
                after = 0;
            gw_buf_clear(&cursor);
            gw_buf_add(&cursor, value->data, value->len);
        } else if (!strcmp(key, "since") && !from_cursor) {
            struct gw_start start;
            char text[64];
            if (!gw_start_since(hub, value->data, value->len, &start)) {
                why = GW_SINCE_EXPECTED;
                continue;
            }
            after = gw_hub_since(hub, name->data, name->len, start.since_ms);
            gw_buf_clear(&cursor);
            gw_buf_add(&cursor, text, gw_hub_format_cursor(hub, after, text));
            from_since = true;
        }
    }
    why = gw_params_end(&params, why);
    if (why)
        gw_http_error(conn, GW_ERR_BAD_REQUEST, why);
    else
        history_body(conn, name, after, from_cursor || from_since, other_epoch, cursor.data, limit);
    gw_buf_fini(&cursor);
}
