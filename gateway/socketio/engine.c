/* engine.c: connections of Engine.IO 4: requests and their refusals, pings, packets. */
#include "socketio/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/auth.h"
#include "gateway/log.h"

static const struct gw_sio_options *eio_options(const struct gw_config *config)
{
    return gw_options_of(config, &gw_sio_options);
}

/* --- sending ---------------------------------------------------------------------------------------------------- */

enum sio_carrier gw_eio_carrier(const struct eio *eio)
{
    return eio->conn ? SIO_FRAMES : SIO_PAYLOAD;
}

void gw_eio_send(struct eio *eio, const char *packet, size_t len)
{
    if (eio->over)
        return;
    if (eio->polling) {
        gw_sio_add_packet(&eio->polling->control, SIO_PAYLOAD, packet, len);
        eio->polling->control_count++;
        if (eio->polling->control.len > gw_hub_config(eio->hub)->limits.queue_bytes)
            gw_eio_end(eio, 1013, "");
        gw_eio_flush(eio);
        return;
    }
    struct gw_buf frame = {0};
    gw_sio_add_packet(&frame, SIO_FRAMES, packet, len);
    gw_conn_send(eio->conn, frame.data, frame.len);
    gw_buf_fini(&frame);
}

/* --- life ------------------------------------------------------------------------------------------------------- */

void gw_eio_free(struct eio *eio)
{
    gw_timer_cancel(gw_hub_timers(eio->hub), &eio->timer);
    if (eio->listed)
        gw_eio_directory_remove(eio->sid);
    gw_eio_polling_free(eio);
    gw_sio_free_all(eio);
    gw_sio_binary_free(eio);
    gw_sio_joining_free(eio);
    gw_identity_unref(eio->identity);
    gw_config_unref(eio->config);
    free(eio);
}

void gw_eio_end(struct eio *eio, int code, const char *reason)
{
    if (eio->over)
        return;
    if (eio->polling) {
        gw_eio_polling_end(eio, GW_EIO_CLOSE);
        return;
    }
    eio->over = true;
    gw_timer_cancel(gw_hub_timers(eio->hub), &eio->timer);
    gw_ws_close(eio->conn, code, reason);
}

void gw_eio_end_bad(struct eio *eio, const char *why)
{
    gw_eio_end(eio, 1008, gw_err_line(GW_ERR_BAD_REQUEST, why).text);
}

void gw_eio_set_timer(struct eio *eio)
{
    int64_t due = eio->pong_by_ms ? eio->pong_by_ms : eio->ping_due_ms;
    if (eio->connect_by_ms && eio->connect_by_ms < due)
        due = eio->connect_by_ms;
    gw_timer_set(gw_hub_timers(eio->hub), &eio->timer, due);
}

/* The client counts from the handshake or its last pong, so a ping that leaves late does not put off what follows it.
 * But where this worker was very late, it is not for the client to make up for that. */
static int64_t eio_pong_by(const struct eio *eio, int64_t now)
{
    int64_t timeout = eio->options->ping_timeout_ms, by = eio->ping_due_ms + timeout, least = now + timeout / 2;
    return by > least ? by : least;
}

void gw_eio_look(struct eio *eio)
{
    int64_t now = gw_hub_now(eio->hub);
    static const char ping[] = {GW_EIO_PING};
    if (eio->over)
        return;
    if (eio->connect_by_ms && eio->sockets)
        eio->connect_by_ms = 0;
    if (eio->pong_by_ms && now >= eio->pong_by_ms) {
        gw_eio_end(eio, 1008, "timeout: no pong");
        return;
    }
    if (eio->connect_by_ms && now >= eio->connect_by_ms) {
        gw_eio_end(eio, 4401, "timeout: the client has joined no namespace");
        return;
    }
    if (!eio->pong_by_ms && now >= eio->ping_due_ms) {
        eio->pong_by_ms = eio_pong_by(eio, now);
        gw_eio_send(eio, ping, sizeof ping);
    }
    if (!eio->over)
        gw_eio_set_timer(eio);
}

static void eio_timed(struct gw_timer *timer)
{
    struct eio *eio = (struct eio *)timer;
    if (!eio->over)
        gw_eio_look(eio);
    else if (!gw_eio_polling_part(eio))
        gw_eio_free(eio); /* it polled, and its requests have been answered */
}

struct eio *gw_eio_create(struct gw_conn *conn, const struct gw_config *config)
{
    struct gw_hub *hub = gw_conn_hub(conn);
    struct eio *eio = gw_calloc(1, sizeof *eio);
    eio->hub = hub;
    eio->config = gw_config_ref((struct gw_config *)(uintptr_t)config);
    eio->options = eio_options(config);
    eio->timer.fire = eio_timed;
    eio->identity = gw_identity_ref(gw_conn_identity(conn));
    eio->refused = gw_conn_refused(conn);
    int64_t connect_ms = eio->options->connect_timeout_ms;
    if (gw_hub_auth(hub) && !eio->identity && config->auth.hello_timeout_ms < connect_ms)
        connect_ms = config->auth.hello_timeout_ms;
    eio->ping_due_ms = gw_hub_now(hub) + eio->options->ping_interval_ms;
    eio->connect_by_ms = gw_hub_now(hub) + connect_ms;
    gw_sio_id_make(eio->sid);
    gw_eio_set_timer(eio);
    return eio;
}

static void eio_open_packet(const struct eio *eio, const char *upgrades, struct gw_buf *out)
{
    gw_buf_printf(out,
                  "0{\"sid\":\"%s\",\"upgrades\":[%s],\"pingInterval\":%lld,\"pingTimeout\":%lld,\"maxPayload\":%zu}",
                  eio->sid, upgrades, (long long)eio->options->ping_interval_ms,
                  (long long)eio->options->ping_timeout_ms, gw_hub_config(eio->hub)->limits.frame_bytes);
}

/* --- packets ---------------------------------------------------------------------------------------------------- */

void gw_eio_take(struct eio *eio, const char *packet, size_t len)
{
    if (eio->over)
        return;
    const char *why = "the type of the packet is unknown";
    switch (len ? packet[0] : 0) {
    case GW_EIO_MESSAGE:
        why = gw_sio_take_text(eio, packet + 1, len - 1);
        break;
    case GW_EIO_PONG:
        eio->pong_by_ms = 0;
        eio->ping_due_ms = gw_hub_now(eio->hub) + eio->options->ping_interval_ms;
        gw_eio_set_timer(eio);
        why = NULL;
        break;
    case GW_EIO_PING:
        why = "the server sends the pings";
        break;
    case GW_EIO_CLOSE:
        if (eio->polling)
            gw_eio_polling_end(eio, GW_EIO_NOOP);
        else
            gw_eio_end(eio, 1000, "");
        why = NULL;
        break;
    default:
        break;
    }
    if (why)
        gw_eio_end_bad(eio, why);
}

void gw_eio_take_binary(struct eio *eio, const char *data, size_t len)
{
    if (eio->over)
        return;
    const char *why = gw_sio_take_binary(eio, data, len);
    if (why)
        gw_eio_end_bad(eio, why);
}

/* --- over a WebSocket ------------------------------------------------------------------------------------------- */

static void eio_on_message(struct gw_conn *conn, bool text, char *data, size_t len)
{
    struct eio *eio = gw_conn_context(conn);
    if (text)
        gw_eio_take(eio, data, len);
    else
        gw_eio_take_binary(eio, data, len);
}

static void eio_on_writable(struct gw_conn *conn)
{
    struct eio *eio = gw_conn_context(conn);
    for (struct sio *sio = eio->sockets; sio && !eio->over && !gw_conn_blocked(conn); sio = sio->next)
        gw_sio_drain(sio);
}

static void eio_on_closed(struct gw_conn *conn)
{
    gw_eio_free(gw_conn_context(conn));
}

const struct gw_conn_ops gw_eio_conn_ops = {
    .writable = eio_on_writable,
    .message = eio_on_message,
    .closed = eio_on_closed,
};

static const char *const eio_protocols[] = {NULL};

static void eio_open_websocket(struct gw_conn *conn, const struct gw_request *request)
{
    struct eio *eio = gw_eio_create(conn, gw_hub_config(gw_conn_hub(conn)));
    if (!gw_ws_accept(conn, request, eio_protocols, &gw_eio_conn_ops, eio)) {
        gw_eio_free(eio);
        return;
    }
    eio->conn = conn;
    struct gw_buf packet = {0};
    eio_open_packet(eio, "", &packet);
    gw_eio_send(eio, packet.data, packet.len);
    gw_buf_fini(&packet);
}

/* --- by polling ------------------------------------------------------------------------------------------------- */

static void eio_open_polling(struct gw_conn *conn)
{
    struct eio *eio = gw_eio_create(conn, gw_hub_config(gw_conn_hub(conn)));
    uint32_t most = eio->options->sessions;
    eio->polling = gw_calloc(1, sizeof *eio->polling);
    eio->listed = gw_eio_directory_add(eio->sid, eio, gw_hub_worker(eio->hub), most);
    if (!eio->listed) {
        GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "socketio", "a client was refused: socketio.sessions (%u) reached", most);
        gw_eio_free(eio);
        gw_http_error(conn, GW_ERR_OVERLOADED, "there are too many sessions that poll");
        return;
    }
    struct gw_buf packet = {0};
    eio_open_packet(eio, "\"websocket\"", &packet);
    gw_http_reply(conn, 200, NULL, "text/plain; charset=UTF-8", packet.data, packet.len);
    gw_buf_fini(&packet);
}

/* --- requests --------------------------------------------------------------------------------------------------- */

void gw_eio_refuse(struct gw_conn *conn, enum eio_refusal code)
{
    static const char *const messages[] = {[EIO_TRANSPORT_UNKNOWN] = "Transport unknown",
                                           [EIO_SESSION_UNKNOWN] = "Session ID unknown",
                                           [EIO_BAD_METHOD] = "Bad handshake method",
                                           [EIO_BAD_REQUEST] = "Bad request",
                                           [EIO_BAD_VERSION] = "Unsupported protocol version"};
    char body[80];
    int len = snprintf(body, sizeof body, "{\"code\":%d,\"message\":\"%s\"}", (int)code, messages[code]);
    gw_http_reply(conn, 400, NULL, "application/json", body, (size_t)len);
}

/* What of the query counts; the rest (t, b64, and what the page's own option `query` adds) does not. */
struct eio_query {
    bool polling, websocket, has_sid, version;
    char sid[SIO_ID_SIZE];
};

/* Pages with an old library only hear of a failed request, so the log says why. */
static void eio_refuse_version(struct gw_conn *conn)
{
    GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "socketio",
                         "a client was refused: it speaks another version of Engine.IO than 4 "
                         "(socket.io-client 3 or 4 expected, not 2)");
    gw_eio_refuse(conn, EIO_BAD_VERSION);
}

static void eio_read_query(const struct gw_request *request, struct eio_query *query)
{
    struct gw_params params = {.query = request->query};
    *query = (struct eio_query){.polling = false};
    while (gw_params_next(&params)) {
        const char *name = params.key.data, *text = params.value.data;
        if (!strcmp(name, "transport")) {
            query->polling = !strcmp(text, "polling");
            query->websocket = !strcmp(text, "websocket");
        } else if (!strcmp(name, "EIO")) {
            query->version = !strcmp(text, "4");
        } else if (!strcmp(name, "sid")) {
            query->has_sid = true;
            if (params.value.len == SIO_ID_SIZE - 1)
                memcpy(query->sid, text, SIO_ID_SIZE);
        }
    }
    gw_params_end(&params, NULL);
}

static bool eio_match(const struct gw_conn *conn, const struct gw_request *request)
{
    const struct gw_sio_options *options = eio_options(gw_hub_config(gw_conn_hub(conn)));
    size_t len = options->path_len, got = request->path.len;
    return (got == len || (got == len + 1 && request->path.data[len] == '/')) &&
           !memcmp(request->path.data, options->path, len);
}

static void eio_nothing_closed(struct gw_conn *conn)
{
    (void)conn; /* there is nothing to free */
}

void gw_eio_open_in_vain(struct gw_conn *conn, const struct gw_request *request)
{
    static const struct gw_conn_ops ops = {.closed = eio_nothing_closed};
    if (gw_ws_accept(conn, request, eio_protocols, &ops, NULL))
        gw_ws_close(conn, 1008, "bad_request: the session has a WebSocket already");
}

/* A request of a session that there is. */
static void eio_open_again(struct gw_conn *conn, const struct gw_request *request, const struct eio_query *query)
{
    unsigned home;
    enum eio_place place = gw_eio_directory_find(query->sid, &home);
    if (place == EIO_NOWHERE)
        gw_eio_refuse(conn, EIO_SESSION_UNKNOWN);
    else if (query->websocket != request->upgrade || (!query->websocket && place == EIO_UPGRADED))
        gw_eio_refuse(conn, EIO_BAD_REQUEST);
    else if (query->websocket)
        gw_eio_upgrade_request(conn, request, query->sid, home);
    else
        gw_eio_polling_request(conn, request, query->sid, home);
}

/* The order of the checks is that of engine.io. */
static void eio_open(struct gw_conn *conn, const struct gw_request *request)
{
    struct eio_query query;
    eio_read_query(request, &query);
    if (!query.polling && !query.websocket)
        gw_eio_refuse(conn, EIO_TRANSPORT_UNKNOWN);
    else if (query.has_sid)
        eio_open_again(conn, request, &query);
    else if (request->method != GW_GET)
        gw_eio_refuse(conn, EIO_BAD_METHOD);
    else if (query.websocket != request->upgrade)
        gw_eio_refuse(conn, EIO_BAD_REQUEST);
    else if (!query.version)
        eio_refuse_version(conn);
    else if (query.websocket)
        eio_open_websocket(conn, request);
    else
        eio_open_polling(conn);
}

const struct gw_transport gw_transport_socketio = {.name = "socketio",
                                                   .options = &gw_sio_options,
                                                   .late_identity = GW_LATE_ALWAYS,
                                                   .match = eio_match,
                                                   .open = eio_open,
                                                   .explain = gw_sio_explain};
