/* raw.c: a raw socket of one channel, GET /channels/NAME with Upgrade: each frame down is one payload as the device
 * sent it, each frame up is published. Made for the programs of tutorials, which know no protocol. NAME may be a
 * filter for reading. Problems can't be told in band, so they are told by the close code and reason. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/identity.h"
#include "gateway/topic.h"
#include "gateway/transport.h"

struct raw {
    struct gw_session session; /* first member */
    struct gw_conn *conn;
    char *channel;
    size_t len;
};

static size_t raw_encode(struct gw_item *item, struct iovec parts[GW_PARTS_MAX])
{
    if (item->type != GW_ITEM_MESSAGE)
        return 0; /* there is no frame for a gap: what the device says next is all that this client knows */
    struct gw_message *msg = item->u.message;
    parts[0] = (struct iovec){msg->raw, msg->raw_len};
    parts[1] = (struct iovec){(void *)(uintptr_t)msg->payload.data, msg->payload.len};
    return msg->payload.len ? 2 : 1;
}

static size_t raw_encode_deflate(struct gw_item *item, struct iovec parts[GW_PARTS_MAX])
{
    if (item->type == GW_ITEM_MESSAGE && gw_ws_compressed(item->u.message, GW_WS_FORM_RAW, parts))
        return 1;
    return raw_encode(item, parts);
}

static void raw_drain(struct raw *raw)
{
    gw_conn_drain(raw->conn, &raw->session, gw_ws_deflates(raw->conn) ? raw_encode_deflate : raw_encode);
}

static void raw_ready(struct gw_session *session)
{
    raw_drain((struct raw *)session);
}

static void raw_fail(struct raw *raw, enum gw_err err, const char *why, int reason)
{
    struct gw_err_line line = gw_err_line(err, why);
    size_t len = strlen(line.text);
    if (reason)
        snprintf(line.text + len, sizeof line.text - len, " (MQTT reason code 0x%02x)", (unsigned)reason);
    gw_ws_close(raw->conn, gw_err_close_code(err), line.text);
}

static void raw_published(struct gw_session *session, const char *reference, enum gw_err err, int reason)
{
    (void)reference;
    if (err != GW_OK)
        raw_fail((struct raw *)session, err, NULL, reason);
}

static void raw_kick(struct gw_session *session, enum gw_err why)
{
    raw_fail((struct raw *)session, why, NULL, 0);
}

static const struct gw_session_ops raw_session_ops = {
    .transport = "raw",
    .ready = raw_ready,
    .published = raw_published,
    .upstream = NULL,
    .kick = raw_kick,
};

static void raw_on_message(struct gw_conn *conn, bool text, char *data, size_t len)
{
    (void)text;
    struct raw *raw = gw_conn_context(conn);
    struct gw_command command = {.channel = raw->channel, .channel_len = raw->len, .data = data, .data_len = len};
    enum gw_err err = gw_session_publish(&raw->session, &command);
    if (err != GW_OK)
        raw_fail(raw, err, command.why, 0);
}

static void raw_on_writable(struct gw_conn *conn)
{
    raw_drain(gw_conn_context(conn));
}

static void raw_on_closed(struct gw_conn *conn)
{
    struct raw *raw = gw_conn_context(conn);
    gw_session_close(&raw->session);
    free(raw->channel);
    free(raw);
}

static const struct gw_conn_ops raw_conn_ops = {
    .writable = raw_on_writable,
    .message = raw_on_message,
    .closed = raw_on_closed,
};

static bool raw_match(const struct gw_conn *conn, const struct gw_request *request)
{
    (void)conn;
    static const char prefix[] = "/channels/";
    return request->upgrade && request->path.len > sizeof prefix - 1 &&
           !memcmp(request->path.data, prefix, sizeof prefix - 1);
}

static const char *const raw_protocols[] = {"sluice.v1", NULL};

static void raw_open(struct gw_conn *conn, const struct gw_request *request)
{
    struct gw_hub *hub = gw_conn_hub(conn);
    struct gw_buf name = {0};
    bool bad;
    if (!gw_request_path_after(request, "/channels/", &name, &bad) || !gw_topic_filter_valid(name.data, name.len)) {
        gw_http_error(conn, GW_ERR_BAD_REQUEST, "the channel's name in the path is malformed");
        gw_buf_fini(&name);
        return;
    }
    const struct gw_identity *identity = gw_conn_identity(conn);
    enum gw_err err = GW_OK;
    if (identity && !gw_grants_contain(identity->grants, GW_RIGHT_SUBSCRIBE, name.data, name.len))
        err = GW_ERR_FORBIDDEN;
    else if (!gw_hub_channel_possible(hub, name.data, name.len))
        err = GW_ERR_UNKNOWN_CHANNEL;
    if (err != GW_OK) {
        gw_http_error(conn, err, NULL);
        gw_buf_fini(&name);
        return;
    }
    struct raw *raw = gw_calloc(1, sizeof *raw);
    raw->conn = conn;
    if (!gw_ws_accept(conn, request, raw_protocols, &raw_conn_ops, raw)) {
        gw_buf_fini(&name);
        free(raw);
        return;
    }
    raw->len = name.len;
    raw->channel = gw_buf_take(&name);
    gw_session_open(&raw->session, hub, &raw_session_ops);
    gw_session_identify(&raw->session, gw_conn_identity(conn));
    gw_conn_log_session(conn, &raw->session);
    struct gw_start start = {.at = GW_START_LAST};
    struct gw_subscribed subscribed;
    err = gw_session_subscribe(&raw->session, raw->channel, raw->len, &start, &subscribed);
    if (err != GW_OK)
        raw_fail(raw, err, NULL, 0);
    else
        raw_ready(&raw->session); /* the last value leaves with the handshake's answer */
}

const struct gw_transport gw_transport_raw = {.name = "raw", .match = raw_match, .open = raw_open};
