/* longpoll.c: GET /poll: one answer a request, as soon as there is anything, or 204 when the wait is over. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/inbox.h"
#include "core/timer.h"
#include "gateway/protocol.h"
#include "gateway/transport.h"

/* An answer ends at the message with which it passes this size; the next poll goes on from there. */
#define ANSWER_BYTES (1024 * 1024)

struct poll {
    struct gw_session session; /* first member */
    struct gw_timer timer;
    struct gw_conn *conn;
};

static struct poll *poll_of_timer(struct gw_timer *timer)
{
    return (struct poll *)((char *)timer - offsetof(struct poll, timer));
}

static void poll_free(struct poll *poll)
{
    gw_timer_cancel(gw_hub_timers(poll->session.hub), &poll->timer);
    gw_session_close(&poll->session);
    free(poll);
}

/* Every answer says where the client stands, and whether values are old because the broker is away. */
static void poll_headers(const struct poll *poll, char *out, size_t size, char cursor[64])
{
    gw_session_cursor(&poll->session, cursor);
    const struct gw_upstream_state *state = gw_hub_upstream(poll->session.hub);
    snprintf(out, size, "Sluice-Cursor: %s\r\n%s", cursor, state->up ? "" : "Sluice-Upstream: down\r\n");
}

static void poll_add(struct gw_buf *out, struct gw_item *item, struct gw_buf *gaps)
{
    if (item->type == GW_ITEM_GAP) {
        if (gaps->len)
            gw_buf_addc(gaps, ',');
        gw_json_gap(gaps, item->u.gap);
    } else if (item->type == GW_ITEM_MESSAGE) {
        struct gw_slice tail = gw_message_tail(item->u.message);
        gw_buf_adds(out, out->len ? ",{" : "{");
        gw_buf_add(out, tail.data, tail.len);
    }
}

/* Answers with what there is; if there is nothing, with 204 if `over`, else not at all. True: answered, poll is gone. */
static bool poll_answer(struct poll *poll, bool over)
{
    struct gw_buf messages, gaps, body;
    gw_buf_init(&messages);
    gw_buf_init(&gaps);
    gw_buf_init(&body);
    struct gw_item item;
    while (messages.len < ANSWER_BYTES && gw_session_next(&poll->session, &item)) {
        poll_add(&messages, &item, &gaps);
        gw_item_release(&item);
    }
    bool any = messages.len || gaps.len;
    if (any || over) {
        char headers[128], cursor[64];
        poll_headers(poll, headers, sizeof headers, cursor);
        struct gw_conn *conn = poll->conn;
        const struct gw_upstream_state state = *gw_hub_upstream(poll->session.hub);
        poll_free(poll);
        if (any) {
            gw_buf_printf(&body, "{\"cursor\":\"%s\",\"messages\":[", cursor);
            gw_buf_add(&body, messages.data, messages.len);
            gw_buf_adds(&body, "],\"gaps\":[");
            gw_buf_add(&body, gaps.data, gaps.len);
            gw_buf_addc(&body, ']');
            if (!state.up) {
                gw_buf_adds(&body, ",\"upstream\":");
                gw_json_upstream(&body, &state);
            }
            gw_buf_addc(&body, '}');
            gw_http_reply(conn, 200, headers, "application/json", body.data, body.len);
        } else {
            gw_http_reply(conn, 204, headers, NULL, NULL, 0);
        }
    }
    gw_buf_fini(&messages);
    gw_buf_fini(&gaps);
    gw_buf_fini(&body);
    return any || over;
}

static void poll_ready(struct gw_session *session)
{
    poll_answer((struct poll *)session, false);
}

static void poll_timed_out(struct gw_timer *timer)
{
    poll_answer(poll_of_timer(timer), true);
}

static void poll_kick(struct gw_session *session, enum gw_err why)
{
    struct poll *poll = (struct poll *)session;
    struct gw_conn *conn = poll->conn;
    if (why == GW_ERR_SHUTDOWN) { /* not an error for the client: it polls again, with its cursor */
        char headers[128], cursor[64];
        poll_headers(poll, headers, sizeof headers, cursor);
        poll_free(poll);
        gw_http_reply(conn, 204, headers, NULL, NULL, 0);
        return;
    }
    poll_free(poll);
    gw_http_error(conn, why, NULL);
}

static const struct gw_session_ops poll_session_ops = {
    .ready = poll_ready,
    .published = NULL, /* a poll never publishes */
    .upstream = NULL,
    .kick = poll_kick,
};

static void poll_on_closed(struct gw_conn *conn)
{
    poll_free(gw_conn_context(conn));
}

static const struct gw_conn_ops poll_conn_ops = {
    .writable = NULL,
    .message = NULL,
    .closed = poll_on_closed,
};

static bool poll_match(const struct gw_request *request)
{
    return gw_request_path_is(request, "/poll");
}

struct query {
    struct gw_buf channels; /* NUL-separated */
    struct gw_buf cursor;
    unsigned channel_count;
    bool has_cursor;
    int64_t wait_ms;
};

static bool query_wait(const struct gw_buf *value, int64_t max_ms, int64_t *out)
{
    char *end;
    double seconds = strtod(value->data, &end);
    if (!value->len || *end || !(seconds >= 0) || value->data[0] < '0' || value->data[0] > '9')
        return false;
    *out = seconds * 1000 > (double)max_ms ? max_ms : (int64_t)(seconds * 1000);
    return true;
}

/* NULL if all is well, else what was expected. */
static const char *query_read(const struct gw_request *request, const struct gw_cfg_web *web, struct query *query)
{
    struct gw_buf key, value;
    gw_buf_init(&key);
    gw_buf_init(&value);
    const char *why = NULL;
    size_t at = 0;
    bool bad;
    while (!why && gw_request_query(request, &at, &key, &value, &bad)) {
        if (!strcmp(key.data ? key.data : "", "channel")) {
            if (memchr(value.data, '\0', value.len)) {
                why = "a channel must not hold the NUL character";
                break;
            }
            gw_buf_add(&query->channels, value.data, value.len);
            gw_buf_addc(&query->channels, '\0');
            query->channel_count++;
        } else if (!strcmp(key.data ? key.data : "", "cursor")) {
            gw_buf_clear(&query->cursor);
            gw_buf_add(&query->cursor, value.data, value.len);
            query->has_cursor = value.len > 0;
        } else if (!strcmp(key.data ? key.data : "", "wait")) {
            if (!query_wait(&value, web->poll_wait_max_ms, &query->wait_ms))
                why = "wait is a number of seconds, 0 or more";
        }
    }
    if (!why && bad)
        why = "the query has a broken percent-encoding";
    if (!why && !query->channel_count)
        why = "at least one channel=NAME expected in the query";
    gw_buf_fini(&key);
    gw_buf_fini(&value);
    return why;
}

static enum gw_err poll_subscribe(struct poll *poll, const struct query *query)
{
    struct gw_start start = {.at = GW_START_NOW};
    if (query->has_cursor && !strcmp(query->cursor.data, "last"))
        start.at = GW_START_LAST;
    else if (query->has_cursor)
        start = (struct gw_start){GW_START_CURSOR, query->cursor.data, query->cursor.len};
    const char *name = query->channels.data;
    for (unsigned i = 0; i < query->channel_count; i++, name += strlen(name) + 1) {
        struct gw_subscribed subscribed;
        enum gw_err err = gw_session_subscribe(&poll->session, name, strlen(name), &start, &subscribed);
        if (err != GW_OK)
            return err;
    }
    return GW_OK;
}

static void poll_start(struct gw_conn *conn, const struct query *query)
{
    struct gw_hub *hub = gw_conn_hub(conn);
    struct poll *poll = gw_calloc(1, sizeof *poll);
    poll->conn = conn;
    poll->timer.fire = poll_timed_out;
    gw_session_open(&poll->session, hub, &poll_session_ops);
    enum gw_err err = poll_subscribe(poll, query);
    if (err != GW_OK) {
        poll_free(poll);
        gw_http_error(conn, err,
                      err == GW_ERR_BAD_REQUEST ? "a channel is no valid name or filter, or the cursor is none of this "
                                                  "gateway's (last or <epoch>.<number> expected)"
                                                : NULL);
        return;
    }
    gw_session_catch_up(&poll->session);
    if (poll_answer(poll, query->wait_ms == 0))
        return;
    gw_conn_attach(conn, &poll_conn_ops, poll);
    gw_timer_set(gw_hub_timers(hub), &poll->timer, gw_hub_now(hub) + query->wait_ms);
}

static void poll_open(struct gw_conn *conn, const struct gw_request *request)
{
    if (request->method != GW_GET) {
        gw_http_error_headers(conn, GW_ERR_METHOD, NULL, "Allow: GET\r\n");
        return;
    }
    const struct gw_cfg_web *web = &gw_hub_config(gw_conn_hub(conn))->web;
    struct query query = {.wait_ms = web->poll_wait_ms};
    gw_buf_init(&query.channels);
    gw_buf_init(&query.cursor);
    const char *why = query_read(request, web, &query);
    if (why)
        gw_http_error(conn, GW_ERR_BAD_REQUEST, why);
    else
        poll_start(conn, &query);
    gw_buf_fini(&query.channels);
    gw_buf_fini(&query.cursor);
}

const struct gw_transport gw_transport_longpoll = {.name = "longpoll", .match = poll_match, .open = poll_open};
