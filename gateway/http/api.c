/* api.c: the HTTP interface (docs/protocol.md): who answers which request, and the answers that need no transport. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/identity.h"
#include "gateway/protocol.h"
#include "gateway/topic.h"
#include "gateway/transport.h"
#include "gateway/upstream.h"
#include "http/api.h"
#include "http/conn.h"
#include "http/exposition.h"
#include "http/gate.h"
#include "http/ticket.h"
#include "net/server.h"

#define JSON_TYPE "application/json"

void gw_api_reply_json(struct gw_conn *conn, struct gw_buf *body, const char *cursor)
{
    char head[64], headers[96];
    gw_hub_cursor(gw_conn_hub(conn), head);
    if (!cursor)
        cursor = head;
    snprintf(headers, sizeof headers, "Sluice-Cursor: %s\r\n", cursor);
    gw_http_reply(conn, 200, headers, JSON_TYPE, body->data, body->len);
    gw_buf_fini(body);
}

static void api_method_not_allowed(struct gw_conn *conn, const char *allow)
{
    gw_http_error_headers(conn, GW_ERR_METHOD, NULL, allow);
}

const struct gw_grants *gw_api_grants(const struct gw_conn *conn)
{
    return conn->identity ? conn->identity->grants : NULL; /* gate.c lets nobody in without, where there is auth: */
}

bool gw_api_may(struct gw_conn *conn, enum gw_right right, const struct gw_buf *name)
{
    if (gw_grants_contain(gw_api_grants(conn), right, name->data, name->len))
        return true;
    GW_STAT_ADD(gw_hub_stats(gw_conn_hub(conn)), forbidden, 1);
    gw_http_error(conn, GW_ERR_FORBIDDEN, NULL);
    return false;
}

static bool api_is_read(const struct gw_request *request)
{
    return request->method == GW_GET || request->method == GW_HEAD;
}

/* --- GET /channels/NAME ---------------------------------------------------------------------------------------- */

static void api_last(struct gw_conn *conn, const struct gw_buf *name)
{
    struct gw_hub *hub = gw_conn_hub(conn);
    if (!gw_api_may(conn, GW_RIGHT_SUBSCRIBE, name))
        return;
    struct gw_message *last = gw_hub_last(hub, gw_api_grants(conn), name->data, name->len);
    if (!last) {
        gw_http_error(conn,
                      gw_hub_channel_possible(hub, name->data, name->len) ? GW_ERR_NO_VALUE : GW_ERR_UNKNOWN_CHANNEL,
                      NULL);
        return;
    }
    struct gw_buf body = {0};
    struct gw_slice tail = gw_message_tail(last);
    gw_buf_addc(&body, '{');
    gw_buf_add(&body, tail.data, tail.len - 1);
    gw_hub_add_state(hub, last, &body);
    gw_buf_addc(&body, '}');
    gw_api_reply_json(conn, &body, NULL);
}

/* --- the rest -------------------------------------------------------------------------------------------------- */

/* Takes a suffix off the path, if it is a plain one and something is left that may be a channel's name. */
static bool api_without(struct gw_request *request, const char *suffix)
{
    size_t len = strlen(suffix);
    if (!api_is_read(request) || request->path.len <= strlen("/channels/") + len ||
        memcmp(request->path.data + request->path.len - len, suffix, len) != 0)
        return false;
    request->path.len -= len;
    return true;
}

/* Addresses below a channel's. Devices do have channels that are called so: where the whole path names a channel with
 * a value, and the query has none of these keys, that is what was meant. */
static const struct below {
    const char *suffix;
    const char *const *keys; /* NULL: whatever is called so, it is always the address */
    void (*answer)(struct gw_conn *conn, const struct gw_request *request, const struct gw_buf *name);
} api_below_channel[] = {
    {"/history", NULL, gw_api_history},
    {"/raw", (const char *const[]){"v", "stream", NULL}, gw_api_payload},
    {"/series", (const char *const[]){"field", "from", "to", "points", NULL}, gw_api_series},
};

static bool api_has_key(const struct gw_request *request, const char *const *keys)
{
    struct gw_params params = {.query = request->query};
    bool has = false;
    while (!has && gw_params_next(&params)) {
        for (size_t i = 0; keys[i] && !has; i++)
            has = !strcmp(params.key.data, keys[i]);
    }
    gw_params_end(&params, NULL);
    return has;
}

static bool api_is_channel(struct gw_conn *conn, const struct gw_request *request)
{
    struct gw_buf name = {0};
    bool bad;
    bool is = gw_request_path_after(request, "/channels/", &name, &bad) && gw_topic_name_valid(name.data, name.len) &&
              gw_hub_last(gw_conn_hub(conn), gw_api_grants(conn), name.data, name.len);
    gw_buf_fini(&name);
    return is;
}

/* Takes the suffix off the path. NULL: it is the channel itself that is asked for. */
static const struct below *api_find_below(struct gw_conn *conn, struct gw_request *request)
{
    for (size_t i = 0; i < sizeof api_below_channel / sizeof *api_below_channel; i++) {
        const struct below *below = &api_below_channel[i];
        const struct gw_request whole = *request;
        if (!api_without(request, below->suffix))
            continue;
        if (!below->keys || api_has_key(&whole, below->keys) || !api_is_channel(conn, &whole))
            return below;
        *request = whole;
        return NULL;
    }
    return NULL;
}

/* `/channels/NAME` or, where the path ends in a plain suffix, something else of NAME. (A channel whose own last level
 * is `history` is reached by encoding the slash before it.) */
static void api_channel(struct gw_conn *conn, const struct gw_request *request)
{
    struct gw_request shortened = *request;
    const struct below *below = api_find_below(conn, &shortened);
    struct gw_buf name = {0};
    bool bad;
    if (!gw_request_path_after(&shortened, "/channels/", &name, &bad) || !gw_topic_name_valid(name.data, name.len))
        gw_http_error(conn, GW_ERR_BAD_REQUEST, GW_CHANNEL_PATH_EXPECTED);
    else if (below)
        below->answer(conn, request, &name);
    else if (api_is_read(request))
        api_last(conn, &name);
    else if (request->method == GW_POST)
        gw_api_post(conn, request, &name);
    else
        api_method_not_allowed(conn, "Allow: GET, HEAD, POST\r\n");
    gw_buf_fini(&name);
}

static void api_health(struct gw_conn *conn, const struct gw_request *request)
{
    (void)request;
    static const char body[] = "{\"status\":\"ok\"}";
    gw_http_reply(conn, 200, NULL, JSON_TYPE, body, sizeof body - 1);
}

static void api_ready(struct gw_conn *conn, const struct gw_request *request)
{
    (void)request;
    const struct gw_upstream_state *state = gw_hub_upstream(gw_conn_hub(conn));
    if (!state->up) {
        gw_http_error(conn, GW_ERR_UPSTREAM_DOWN,
                      state->by_engine ? "the engine that the gateways share can't be reached, or takes no messages"
                                       : NULL);
        return;
    }
    const struct gw_server *server = conn->sock.worker->server;
    struct gw_buf body = {0};
    gw_buf_adds(&body, "{\"status\":\"ready\"");
    if (server->ready) {
        gw_buf_adds(&body, ",\"subscriptions\":{");
        server->ready(server->metrics_context, &body);
        gw_buf_addc(&body, '}');
    }
    gw_buf_addc(&body, '}');
    gw_http_reply(conn, 200, NULL, JSON_TYPE, body.data, body.len);
    gw_buf_fini(&body);
}

static void api_metrics(struct gw_conn *conn, const struct gw_request *request)
{
    struct gw_buf body = {0};
    struct gw_slice accept = gw_request_header(request, "accept");
    struct gw_exposition to = {.out = &body, .openmetrics = gw_metric_wants_openmetrics(accept.data, accept.len)};
    gw_metrics_write(conn->sock.worker, &to);
    gw_http_reply(conn, 200, "Vary: Accept\r\n",
                  to.openmetrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                 : "text/plain; version=0.0.4; charset=utf-8",
                  body.data, body.len);
    gw_buf_fini(&body);
}

static const struct {
    const char *path;
    bool open; /* for operators' programs, which need not be known */
    void (*answer)(struct gw_conn *conn, const struct gw_request *request);
} api_reads[] = {
    {"/channels", false, gw_api_channels}, {"/explain", false, gw_api_explain}, {"/healthz", true, api_health},
    {"/readyz", true, api_ready},          {"/metrics", true, api_metrics},
};

static bool api_is_open(const struct gw_request *request)
{
    for (size_t i = 0; i < sizeof api_reads / sizeof *api_reads; i++) {
        if (api_reads[i].open && gw_request_path_is(request, api_reads[i].path))
            return true;
    }
    return gw_asset_find(request) != NULL;
}

static const struct gw_transport *api_transport(const struct gw_conn *conn, const struct gw_request *request)
{
    const struct gw_config *config = gw_hub_config(gw_conn_hub(conn));
    for (size_t i = 0; gw_transports[i]; i++) {
        const struct gw_transport *transport = gw_transports[i];
        if (gw_transport_on(transport, config) && transport->match && transport->match(conn, request))
            return transport;
    }
    return NULL;
}

/* What is not a transport's. */
static void api_answer(struct gw_conn *conn, const struct gw_request *request)
{
    for (size_t i = 0; i < sizeof api_reads / sizeof *api_reads; i++) {
        if (!gw_request_path_is(request, api_reads[i].path))
            continue;
        if (api_is_read(request))
            api_reads[i].answer(conn, request);
        else
            api_method_not_allowed(conn, "Allow: GET, HEAD\r\n");
        return;
    }
    static const char prefix[] = "/channels/";
    if (request->path.len >= sizeof prefix - 1 && !memcmp(request->path.data, prefix, sizeof prefix - 1))
        api_channel(conn, request);
    else if (request->path.len >= strlen("/grafana") && !memcmp(request->path.data, "/grafana", strlen("/grafana")) &&
             (request->path.len == strlen("/grafana") || request->path.data[strlen("/grafana")] == '/'))
        gw_api_grafana(conn, request);
    else if (gw_request_path_is(request, "/ticket"))
        gw_ticket_request(conn, request);
    else if (gw_asset_find(request))
        gw_asset_reply(conn, request, gw_asset_find(request));
    else
        gw_http_error(conn, GW_ERR_NOT_FOUND, NULL);
}

/* Takes `web.base_path` off the path; false: it was answered, since it does not begin with it. */
static bool api_below(struct gw_conn *conn, const char *base, struct gw_request *request)
{
    size_t len = strlen(base);
    bool below = request->path.len >= len && !memcmp(request->path.data, base, len);
    if (below && request->path.len > len && request->path.data[len] == '/') {
        request->path.data += len;
        request->path.len -= len;
        return true;
    }
    struct gw_buf text = {0};
    if (below && request->path.len == len && api_is_read(request)) {
        gw_buf_printf(&text, "Location: %s/\r\n", base); /* the dashboard's addresses are relative */
        gw_http_reply(conn, 308, text.data, NULL, NULL, 0);
    } else {
        gw_buf_printf(&text, "the addresses of this gateway begin with %s/ (web.base_path)", base);
        gw_http_error(conn, GW_ERR_NOT_FOUND, text.data);
    }
    gw_buf_fini(&text);
    return false;
}

void gw_api_dispatch(struct gw_conn *conn, const struct gw_request *whole)
{
    struct gw_request below;
    const struct gw_request *request = whole;
    const char *base = gw_hub_config(gw_conn_hub(conn))->web.base_path;
    if (base) {
        below = *whole;
        if (!api_below(conn, base, &below))
            return;
        request = &below;
    }
    const struct gw_transport *transport = api_transport(conn, request);
    enum gw_late_identity late = transport ? transport->late_identity : GW_LATE_NEVER;
    if (!gw_gate_pass(conn, request, !transport && api_is_open(request), late)) {
        gw_gate_done(conn);
        return;
    }
    if (transport)
        transport->open(conn, request);
    else
        api_answer(conn, request);
    gw_gate_done(conn);
}
