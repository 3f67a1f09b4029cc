/* post.c: POST /channels/NAME: a publish or a request over plain HTTP, by a session that lives as long as the
 * exchange. */
#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "base/units.h"
#include "gateway/alloc.h"
#include "gateway/protocol.h"
#include "gateway/transport.h"
#include "http/api.h"
#include "http/conn.h"
#include "net/server.h"

#define JSON_TYPE "application/json"

struct post {
    struct gw_session session; /* first member; it subscribes to nothing */
    struct gw_conn *conn;
};

static void post_free(struct post *post)
{
    gw_session_close(&post->session);
    free(post);
}

static void post_ready(struct gw_session *session)
{
    (void)session; /* nothing is ever queued */
}

static void post_published(struct gw_session *session, const char *reference, enum gw_err err, int reason)
{
    (void)reference;
    struct post *post = (struct post *)session;
    struct gw_conn *conn = post->conn;
    post_free(post);
    if (err == GW_OK) {
        static const char body[] = "{\"status\":\"published\"}";
        gw_http_reply(conn, 200, NULL, JSON_TYPE, body, sizeof body - 1);
        return;
    }
    struct gw_buf body = {0};
    gw_json_error(&body, NULL, err, NULL, reason);
    gw_http_reply(conn, gw_err_status(err), NULL, JSON_TYPE, body.data, body.len);
    gw_buf_fini(&body);
}

static void post_response(struct gw_session *session, const char *reference, struct gw_slice data)
{
    (void)reference;
    struct post *post = (struct post *)session;
    struct gw_conn *conn = post->conn;
    struct gw_buf body = {0};
    gw_buf_adds(&body, "{\"status\":\"response\",\"data\":");
    gw_buf_add(&body, data.data, data.len);
    gw_buf_addc(&body, '}');
    post_free(post);
    gw_http_reply(conn, 200, NULL, JSON_TYPE, body.data, body.len);
    gw_buf_fini(&body);
}

/* 200 says that it is so; 202, that the broker has it and the device is not known to have done it. */
static void post_confirmed(struct gw_session *session, const char *reference, const struct gw_confirmed *confirmed)
{
    (void)reference;
    struct post *post = (struct post *)session;
    struct gw_conn *conn = post->conn;
    struct gw_buf json = {0}, body = {0};
    gw_json_confirmed(&json, NULL, confirmed);
    gw_json_add_status(&body, &json);
    int status = confirmed->confirmed ? 200 : 202;
    post_free(post);
    gw_http_reply(conn, status, NULL, JSON_TYPE, body.data, body.len);
    gw_buf_fini(&json);
    gw_buf_fini(&body);
}

static void post_kick(struct gw_session *session, enum gw_err why)
{
    struct post *post = (struct post *)session;
    struct gw_conn *conn = post->conn;
    post_free(post);
    gw_http_error(conn, why, NULL);
}

static const struct gw_session_ops post_session_ops = {
    .transport = "post",
    .ready = post_ready,
    .published = post_published,
    .response = post_response,
    .confirmed = post_confirmed,
    .upstream = NULL,
    .kick = post_kick,
};

static void post_on_closed(struct gw_conn *conn)
{
    post_free(gw_conn_context(conn));
}

static const struct gw_conn_ops post_conn_ops = {.probe = true, .closed = post_on_closed};

struct post_query {
    bool as_json;       /* the body is `data` as on /ws, not the payload itself */
    int64_t timeout_ms; /* of a request; -1: none is asked for */
    bool confirm;       /* the answer is to wait for the device's state */
};

/* NULL if all is well, else what was expected. */
static const char *post_query_read(struct post_query *query, const struct gw_request *request)
{
    *query = (struct post_query){.timeout_ms = -1};
    struct gw_params params = {.query = request->query};
    const char *why = NULL;
    while (!why && gw_params_next(&params)) {
        const char *key = params.key.data, *value = params.value.data;
        if (!strcmp(key, "as")) {
            query->as_json = !strcmp(value, "json");
            if (!query->as_json && strcmp(value, "payload") != 0)
                why = "as is json or payload";
        } else if (!strcmp(key, "reply") && (!gw_parse_duration(value, &query->timeout_ms) || query->timeout_ms < 1 ||
                                             query->timeout_ms > GW_REQUEST_MAX_MS)) {
            why = "reply is a duration such as 5s, up to 5m";
        } else if (!strcmp(key, "confirm")) {
            query->confirm = !strcmp(value, "true") || !strcmp(value, "1");
            if (!query->confirm && strcmp(value, "false") != 0 && strcmp(value, "0") != 0)
                why = "confirm is true or false";
        }
    }
    why = gw_params_end(&params, why);
    if (!why && query->confirm && query->timeout_ms >= 0)
        why = "there is either reply or confirm";
    if (!why && query->as_json && !gw_json_valid(request->body.data, request->body.len))
        why = "the body is not valid JSON";
    return why;
}

/* Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): a string of RFC 8941, or one without its quotes, as
 * many clients send it. */
static struct gw_slice post_key(const struct gw_request *request)
{
    struct gw_slice key = gw_request_header(request, "idempotency-key");
    if (key.data && key.len > 1 && key.data[0] == '"' && key.data[key.len - 1] == '"')
        return (struct gw_slice){key.data + 1, key.len - 2};
    return key;
}

void gw_api_post(struct gw_conn *conn, const struct gw_request *request, const struct gw_buf *name)
{
    struct post_query query;
    const char *why = post_query_read(&query, request);
    if (!why && query.timeout_ms >= 0 && post_key(request).data)
        why = "an Idempotency-Key is for publishes (no reply expected)";
    if (why) {
        gw_http_error(conn, GW_ERR_BAD_REQUEST, why);
        return;
    }
    struct gw_hub *hub = gw_conn_hub(conn);
    if (!gw_admission_may_publish(conn->sock.worker->server->admission, &conn->address,
                                  gw_hub_config(hub)->limits.publish_rate)) {
        GW_STAT_ADD(gw_hub_stats(hub), rate_limited, 1);
        gw_http_error(conn, GW_ERR_RATE_LIMITED, NULL);
        return;
    }
    struct post *post = gw_calloc(1, sizeof *post);
    post->conn = conn;
    gw_session_open(&post->session, hub, &post_session_ops);
    gw_session_identify(&post->session, gw_conn_identity(conn));
    gw_conn_log_session(conn, &post->session);
    struct gw_command command = {.channel = name->data,
                                 .channel_len = name->len,
                                 .data = request->body.data,
                                 .data_len = request->body.len,
                                 .json = query.as_json,
                                 .request = query.timeout_ms >= 0,
                                 .timeout_ms = query.timeout_ms,
                                 .confirm = query.confirm,
                                 .key = post_key(request)};
    enum gw_err err = gw_session_publish(&post->session, &command);
    if (err == GW_OK && (!command.accepted || command.confirm)) {
        gw_conn_attach(conn, &post_conn_ops, post);
        return;
    }
    post_free(post);
    if (err != GW_OK) {
        gw_http_error(conn, err, command.why);
        return;
    }
    static const char body[] = "{\"status\":\"accepted\"}";
    gw_http_reply(conn, 202, NULL, JSON_TYPE, body, sizeof body - 1);
}
