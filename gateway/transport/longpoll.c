/* longpoll.c: GET /poll: one answer a request, as soon as there is anything, or 204 when the wait is over. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/container.h"
#include "gateway/protocol.h"
#include "gateway/query.h"
#include "gateway/timer.h"
#include "gateway/topic.h"
#include "gateway/transport.h"
#include "gateway/upstream.h"

/* An answer ends at the message with which it passes this size; the next poll goes on from there. A client that does
 * not read its answer holds so much. */
#define ANSWER_BYTES (256 * 1024)

/* One that is not to wait does, for a session that is at work on its answer. */
#define AT_ONCE_MS 10000

struct poll {
    struct gw_session session; /* first member */
    struct gw_timer timer;
    struct gw_conn *conn;
    bool at_once; /* it waits for nothing but what there is already */
};

static struct poll *poll_of_timer(struct gw_timer *timer)
{
    return GW_CONTAINER_OF(timer, struct poll, timer);
}

static void poll_free(struct poll *poll)
{
    gw_timer_cancel(gw_hub_timers(poll->session.hub), &poll->timer);
    gw_session_close(&poll->session);
    free(poll);
}

/* Every answer says where the client stands, and whether values are old because the broker is away. */
static void poll_headers(const struct poll *poll, bool settled, char *out, size_t size, char cursor[64])
{
    gw_session_cursor(&poll->session, settled, cursor);
    const struct gw_upstream_state *state = gw_hub_upstream(poll->session.hub);
    snprintf(out, size, "Sluice-Cursor: %s\r\n%s", cursor, state->up ? "" : "Sluice-Upstream: down\r\n");
}

/* What an answer holds. */
struct answer {
    struct gw_buf messages, gaps, states;
};

static void answer_fini(struct answer *answer)
{
    gw_buf_fini(&answer->messages);
    gw_buf_fini(&answer->gaps);
    gw_buf_fini(&answer->states);
}

static bool answer_any(const struct answer *answer)
{
    return answer->messages.len || answer->gaps.len || answer->states.len;
}

static void poll_add(struct answer *answer, struct gw_item *item)
{
    struct gw_buf *gaps = &answer->gaps;
    if (item->type == GW_ITEM_GAP) {
        if (gaps->len)
            gw_buf_addc(gaps, ',');
        gw_json_gap(gaps, item->u.gap);
    } else if (item->type == GW_ITEM_MESSAGE) {
        struct gw_slice tail = gw_message_tail(item->u.message);
        struct gw_buf *out = item->u.message->state ? &answer->states : &answer->messages;
        gw_buf_adds(out, out->len ? ",{" : "{");
        gw_buf_add(out, tail.data, tail.len);
    }
}

/* Takes what waits into the answer, until it is full: then false. */
static bool poll_collect(struct poll *poll, size_t most, struct answer *answer)
{
    struct gw_item item;
    while (answer->messages.len + answer->states.len < most) {
        if (!gw_session_next(&poll->session, &item))
            return true;
        poll_add(answer, &item);
        gw_session_release(&poll->session, &item);
    }
    return false;
}

/* Answers with what there is; if there is nothing, with 204 if `over` or if it was not to wait, else not at all.
 * True: answered, poll is gone. */
static bool poll_answer(struct poll *poll, bool over)
{
    struct answer answer = {0};
    struct gw_buf body = {0};
    bool settled = poll_collect(poll, ANSWER_BYTES, &answer) && !gw_session_waiting(&poll->session);
    bool any = answer_any(&answer);
    over |= poll->at_once && settled;
    if (settled && (any || over)) {
        /* The cursor that is given passes what a rate policy holds back, so that goes along. */
        gw_session_flush_held(&poll->session);
        poll_collect(poll, SIZE_MAX, &answer);
        any = answer_any(&answer);
    }
    if (any || over) {
        char headers[128], cursor[64];
        poll_headers(poll, settled, headers, sizeof headers, cursor);
        struct gw_conn *conn = poll->conn;
        const struct gw_upstream_state state = *gw_hub_upstream(poll->session.hub);
        poll_free(poll);
        if (any) {
            gw_buf_printf(&body, "{\"cursor\":\"%s\",\"messages\":[", cursor);
            gw_buf_add(&body, answer.messages.data, answer.messages.len);
            gw_buf_adds(&body, "],\"gaps\":[");
            gw_buf_add(&body, answer.gaps.data, answer.gaps.len);
            gw_buf_addc(&body, ']');
            if (answer.states.len) {
                gw_buf_adds(&body, ",\"states\":[");
                gw_buf_add(&body, answer.states.data, answer.states.len);
                gw_buf_addc(&body, ']');
            }
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
    answer_fini(&answer);
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
        poll_headers(poll, false, headers, sizeof headers, cursor);
        poll_free(poll);
        gw_http_reply(conn, 204, headers, NULL, NULL, 0);
        return;
    }
    poll_free(poll);
    gw_http_error(conn, why, NULL);
}

static const struct gw_session_ops poll_session_ops = {
    .transport = "longpoll",
    .ready = poll_ready,
    .published = NULL, /* a poll never publishes */
    .upstream = NULL,
    .kick = poll_kick,
    .states = true,
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

static bool poll_match(const struct gw_conn *conn, const struct gw_request *request)
{
    (void)conn;
    return gw_request_path_is(request, "/poll");
}

static void poll_start(struct gw_conn *conn, const struct gw_query *query)
{
    struct gw_hub *hub = gw_conn_hub(conn);
    struct poll *poll = gw_calloc(1, sizeof *poll);
    poll->conn = conn;
    poll->timer.fire = poll_timed_out;
    gw_session_open(&poll->session, hub, &poll_session_ops);
    gw_session_identify(&poll->session, gw_conn_identity(conn));
    gw_conn_log_session(conn, &poll->session);
    if (query->has_cursor && strcmp(query->cursor.data, "last") != 0)
        gw_session_pace_from(&poll->session, gw_hub_now(hub)); /* the one before may have had a value just now */
    const char *why;
    enum gw_err err = gw_query_subscribe(query, &poll->session, GW_START_NOW, &why);
    if (err != GW_OK) {
        poll_free(poll);
        gw_http_error(conn, err, why);
        return;
    }
    gw_session_catch_up(&poll->session);
    poll->at_once = query->wait_ms == 0;
    if (poll_answer(poll, false))
        return;
    gw_conn_attach(conn, &poll_conn_ops, poll);
    gw_timer_set(gw_hub_timers(hub), &poll->timer, gw_hub_now(hub) + (poll->at_once ? AT_ONCE_MS : query->wait_ms));
}

static void poll_open(struct gw_conn *conn, const struct gw_request *request)
{
    if (request->method != GW_GET) {
        gw_http_error_headers(conn, GW_ERR_METHOD, NULL, "Allow: GET\r\n");
        return;
    }
    struct gw_query query;
    const char *why = gw_query_read(&query, request, gw_hub_config(gw_conn_hub(conn)));
    /* Several channels would have to be at one place at the end of an answer, in the middle of their pasts. */
    if (!why && query.aggregate.every_ms &&
        (query.channel_count != 1 || gw_topic_has_wildcard(query.channels.data, strlen(query.channels.data))))
        why = "a poll with aggregate is of one channel, not a filter: make a poll for each";
    if (why)
        gw_http_error(conn, GW_ERR_BAD_REQUEST, why);
    else
        poll_start(conn, &query);
    gw_query_fini(&query);
}

const struct gw_transport gw_transport_longpoll = {.name = "longpoll", .match = poll_match, .open = poll_open};
