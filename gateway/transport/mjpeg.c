/* mjpeg.c: GET /channels/NAME/raw?stream=mjpeg: the pictures of a channel, one after the other, as cameras on a
 * network send them (multipart/x-mixed-replace; RFC 2046 section 5.1): <img src> shows them without a script.
 *
 * All viewers send the same payload from where it lies. A viewer whose socket is full gets what is newest when there
 * is room again: it skips pictures, and never gets one in part.
 *
 * The boundary leaves with the picture before it, so that a reader knows at once that it is whole. Browsers show a
 * picture only when the next one begins, though: they get the newest one twice, if no other follows soon. A
 * heartbeat without bytes that mean something is not possible here. So a viewer that was sent nothing for that long
 * gets the last picture again, and one whose socket takes nothing for twice that long is gone. */
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/container.h"
#include "gateway/identity.h"
#include "gateway/media.h"
#include "gateway/query.h"
#include "gateway/timer.h"
#include "gateway/topic.h"
#include "gateway/transport.h"

#define BOUNDARY "sluice-picture"
#define AGAIN_MS 200

struct mjpeg {
    struct gw_session session; /* first member */
    struct gw_timer timer;     /* the heartbeat */
    struct gw_timer again;     /* when a browser gets the picture for the second time */
    bool browser;
    bool over; /* it sends nothing more, and is closed when what was sent has left */
    struct gw_conn *conn;
    struct gw_message *shown; /* the last picture that was sent, to be sent again; NULL: none */
    struct gw_message *next;  /* waits for the socket */
    size_t unsent;            /* at the last heartbeat */
    unsigned silent;          /* heartbeats without anything sent, or taken by the socket */
};

/* --- a picture as a part --------------------------------------------------------------------------------------- */

/* Kept with the message, the same for all viewers. */
struct part {
    struct gw_variant variant; /* first member */
    size_t len;                /* 0: the message is no picture */
    char head[];
};

static const char part_key; /* its address is the key */

static void part_destroy(struct gw_variant *variant)
{
    free(variant);
}

static const struct part *part_of(struct gw_message *msg, const char *content_type)
{
    struct gw_variant *known = gw_message_variant(msg, &part_key);
    if (known)
        return (const struct part *)known;
    struct gw_slice type =
        gw_media_type(content_type, gw_message_properties(msg), msg->payload.data, msg->payload.len);
    struct gw_slice cursor = gw_message_cursor(msg);
    struct gw_buf head = {0};
    if (!msg->clear && gw_media_is_picture(type))
        gw_buf_printf(&head, "Content-Type: %.*s\r\nContent-Length: %zu\r\nSluice-Cursor: %.*s\r\n\r\n",
                      (int)type.len, type.data, msg->payload.len, (int)cursor.len, cursor.data);
    struct part *part = gw_malloc(sizeof *part + head.len);
    *part = (struct part){.variant = {.key = &part_key, .destroy = part_destroy}, .len = head.len};
    if (head.len)
        memcpy(part->head, head.data, head.len);
    gw_buf_fini(&head);
    return (const struct part *)gw_message_keep_variant(msg, &part->variant);
}

/* Of messages that have a part. */
static size_t mjpeg_encode(struct gw_item *item, struct iovec parts[GW_PARTS_MAX])
{
    static const char end[] = "\r\n--" BOUNDARY "\r\n";
    struct gw_message *msg = item->u.message;
    const struct part *part = (const struct part *)gw_message_variant(msg, &part_key);
    parts[0] = (struct iovec){(void *)(uintptr_t)part->head, part->len};
    parts[1] = (struct iovec){(void *)(uintptr_t)msg->payload.data, msg->payload.len};
    parts[2] = (struct iovec){(void *)(uintptr_t)end, sizeof end - 1};
    return 3;
}

/* --- sending --------------------------------------------------------------------------------------------------- */

static void mjpeg_end(struct mjpeg *mjpeg)
{
    mjpeg->over = true;
    gw_timer_cancel(gw_hub_timers(mjpeg->session.hub), &mjpeg->timer);
    gw_timer_cancel(gw_hub_timers(mjpeg->session.hub), &mjpeg->again);
    gw_conn_close(mjpeg->conn);
}

/* A reload may leave the viewer some fields of the channel only. */
static bool mjpeg_may(const struct mjpeg *mjpeg, const struct gw_message *msg)
{
    const struct gw_identity *identity = mjpeg->session.identity;
    return !identity || gw_grants_whole(identity->grants, msg->channel.data, msg->channel.len);
}

/* Sends the picture that is to be seen now, perhaps not for the first time. */
static void mjpeg_show(struct mjpeg *mjpeg)
{
    if (mjpeg_may(mjpeg, mjpeg->shown))
        gw_conn_send_message(mjpeg->conn, mjpeg->shown, mjpeg_encode);
    else
        mjpeg_end(mjpeg);
}

static void mjpeg_set_again(struct mjpeg *mjpeg)
{
    struct gw_hub *hub = mjpeg->session.hub;
    gw_timer_set(gw_hub_timers(hub), &mjpeg->again, gw_hub_now(hub) + AGAIN_MS);
}

static void mjpeg_show_again(struct gw_timer *timer)
{
    struct mjpeg *mjpeg = GW_CONTAINER_OF(timer, struct mjpeg, again);
    if (gw_conn_unsent(mjpeg->conn))
        mjpeg_set_again(mjpeg);
    else if (mjpeg->shown)
        mjpeg_show(mjpeg);
}

static void mjpeg_send_next(struct mjpeg *mjpeg)
{
    if (mjpeg->over || !mjpeg->next || gw_conn_blocked(mjpeg->conn))
        return;
    gw_message_unref(mjpeg->shown);
    mjpeg->shown = mjpeg->next;
    mjpeg->next = NULL;
    mjpeg->silent = 0;
    mjpeg_show(mjpeg);
    if (mjpeg->browser && !mjpeg->over)
        mjpeg_set_again(mjpeg);
}

static void mjpeg_take(struct mjpeg *mjpeg, struct gw_message *msg)
{
    if (!mjpeg_may(mjpeg, msg)) {
        mjpeg_end(mjpeg);
        return;
    }
    const char *content_type = gw_hub_content_type(mjpeg->session.hub, msg->channel.data, msg->channel.len);
    if (part_of(msg, content_type)->len) {
        gw_message_unref(mjpeg->next);
        mjpeg->next = gw_message_ref(msg);
    } else { /* it is not to be shown any more */
        gw_message_unref(mjpeg->next);
        gw_message_unref(mjpeg->shown);
        mjpeg->next = mjpeg->shown = NULL;
    }
}

/* Takes all there is, so that the session never lags. */
static void mjpeg_ready(struct gw_session *session)
{
    struct mjpeg *mjpeg = (struct mjpeg *)session;
    struct gw_item item;
    while (gw_session_next(session, &item)) {
        if (item.type == GW_ITEM_MESSAGE && !mjpeg->over)
            mjpeg_take(mjpeg, item.u.message);
        gw_session_release(session, &item);
        mjpeg_send_next(mjpeg);
    }
}

static void mjpeg_on_writable(struct gw_conn *conn)
{
    struct mjpeg *mjpeg = gw_conn_context(conn);
    mjpeg->silent = 0;
    mjpeg_send_next(mjpeg);
}

#define SILENT_MAX 2

static void mjpeg_heartbeat(struct gw_timer *timer)
{
    struct mjpeg *mjpeg = GW_CONTAINER_OF(timer, struct mjpeg, timer);
    struct gw_hub *hub = mjpeg->session.hub;
    size_t unsent = gw_conn_unsent(mjpeg->conn);
    if (unsent < mjpeg->unsent)
        mjpeg->silent = 0;
    mjpeg->unsent = unsent;
    mjpeg->silent++;
    if (unsent && mjpeg->silent > SILENT_MAX) {
        mjpeg_end(mjpeg);
        return;
    }
    gw_timer_set(gw_hub_timers(hub), timer, gw_hub_now(hub) + gw_hub_config(hub)->web.heartbeat_ms);
    if (mjpeg->silent > 1 && !unsent && mjpeg->shown && !gw_message_is_expired(mjpeg->shown, gw_hub_wall(hub))) {
        mjpeg->silent = 1; /* that counts from now */
        mjpeg_show(mjpeg);
    }
}

static void mjpeg_kick(struct gw_session *session, enum gw_err why)
{
    (void)why; /* there is no place in the stream to say it */
    mjpeg_end((struct mjpeg *)session);
}

static const struct gw_session_ops mjpeg_session_ops = {
    .transport = "mjpeg",
    .ready = mjpeg_ready,
    .published = NULL, /* a stream never publishes */
    .kick = mjpeg_kick,
};

static void mjpeg_free(struct mjpeg *mjpeg)
{
    gw_timer_cancel(gw_hub_timers(mjpeg->session.hub), &mjpeg->timer);
    gw_timer_cancel(gw_hub_timers(mjpeg->session.hub), &mjpeg->again);
    gw_session_close(&mjpeg->session);
    gw_message_unref(mjpeg->shown);
    gw_message_unref(mjpeg->next);
    free(mjpeg);
}

static void mjpeg_on_closed(struct gw_conn *conn)
{
    mjpeg_free(gw_conn_context(conn));
}

static const struct gw_conn_ops mjpeg_conn_ops = {
    .writable = mjpeg_on_writable,
    .message = NULL,
    .closed = mjpeg_on_closed,
};

/* --- beginning ------------------------------------------------------------------------------------------------- */

/* What the query says. */
struct wish {
    bool stream;
    int64_t interval_ms;
    const char *why; /* NULL, or what was expected */
};

static struct wish mjpeg_wish(const struct gw_request *request)
{
    struct wish wish = {0};
    struct gw_params params = {.query = request->query};
    while (gw_params_next(&params)) {
        if (!strcmp(params.key.data, "stream"))
            wish.stream = !strcmp(params.value.data, "mjpeg");
        else if (!strcmp(params.key.data, "interval"))
            wish.why = gw_query_interval(params.value.data, &wish.interval_ms);
    }
    wish.why = gw_params_end(&params, wish.why);
    return wish;
}

static bool mjpeg_match(const struct gw_conn *conn, const struct gw_request *request)
{
    (void)conn;
    static const char prefix[] = "/channels/", suffix[] = "/raw";
    size_t len = request->path.len;
    return request->method == GW_GET && request->query.len && len > sizeof prefix + sizeof suffix - 2 &&
           !memcmp(request->path.data, prefix, sizeof prefix - 1) &&
           !memcmp(request->path.data + len - (sizeof suffix - 1), suffix, sizeof suffix - 1) &&
           mjpeg_wish(request).stream;
}

/* The channel in the path. GW_OK: it is one that the client may see whole. */
static enum gw_err mjpeg_check(struct gw_conn *conn, const struct gw_request *request, struct gw_buf *name,
                               const char **why)
{
    struct gw_hub *hub = gw_conn_hub(conn);
    struct gw_request shortened = *request;
    shortened.path.len -= strlen("/raw");
    bool bad;
    if (!gw_request_path_after(&shortened, "/channels/", name, &bad) || !gw_topic_name_valid(name->data, name->len)) {
        *why = GW_CHANNEL_PATH_EXPECTED;
        return GW_ERR_BAD_REQUEST;
    }
    const struct gw_identity *identity = gw_conn_identity(conn);
    const struct gw_grants *grants = identity ? identity->grants : NULL;
    enum gw_err err = gw_hub_check_payloads(hub, grants, name->data, name->len, why);
    if (err != GW_OK)
        return err;
    if (!gw_hub_channel_possible(hub, name->data, name->len))
        return GW_ERR_UNKNOWN_CHANNEL;
    struct gw_message *last = gw_hub_last(hub, grants, name->data, name->len);
    if (last && !part_of(last, gw_hub_content_type(hub, name->data, name->len))->len) {
        *why = "the channel's value is no picture; without stream=mjpeg this address gives it as it is";
        return GW_ERR_BAD_REQUEST;
    }
    return GW_OK;
}

/* Those name kinds of pictures where they ask for one, or pages. */
static bool mjpeg_is_browser(const struct gw_request *request)
{
    struct gw_slice accept = gw_request_header(request, "accept");
    return accept.len &&
           (memmem(accept.data, accept.len, "image/", 6) || memmem(accept.data, accept.len, "text/html", 9));
}

static void mjpeg_start(struct gw_conn *conn, const struct gw_request *request, const struct gw_buf *name,
                        int64_t interval_ms)
{
    static const char first[] = "--" BOUNDARY "\r\n";
    struct gw_hub *hub = gw_conn_hub(conn);
    struct mjpeg *mjpeg = gw_calloc(1, sizeof *mjpeg);
    mjpeg->conn = conn;
    mjpeg->timer.fire = mjpeg_heartbeat;
    mjpeg->again.fire = mjpeg_show_again;
    mjpeg->browser = mjpeg_is_browser(request);
    gw_session_open(&mjpeg->session, hub, &mjpeg_session_ops);
    gw_session_identify(&mjpeg->session, gw_conn_identity(conn));
    gw_conn_log_session(conn, &mjpeg->session);
    const struct gw_start start = {.at = GW_START_LAST, .interval_ms = interval_ms};
    struct gw_subscribed subscribed;
    enum gw_err err = gw_session_subscribe(&mjpeg->session, name->data, name->len, &start, &subscribed);
    if (err != GW_OK) {
        mjpeg_free(mjpeg);
        gw_http_error(conn, err, NULL);
        return;
    }
    struct gw_buf headers = {0};
    gw_buf_printf(&headers,
                  "X-Accel-Buffering: no\r\nContent-Security-Policy: sandbox; default-src 'none'\r\n"
                  "Cross-Origin-Resource-Policy: %s\r\n",
                  gw_http_resource_policy(conn, request));
    gw_http_stream(conn, headers.data, "multipart/x-mixed-replace; boundary=" BOUNDARY, &mjpeg_conn_ops, mjpeg);
    gw_buf_fini(&headers);
    gw_conn_send(conn, first, sizeof first - 1);
    gw_timer_set(gw_hub_timers(hub), &mjpeg->timer, gw_hub_now(hub) + gw_hub_config(hub)->web.heartbeat_ms);
    gw_session_catch_up(&mjpeg->session);
    mjpeg_ready(&mjpeg->session);
}

static void mjpeg_open(struct gw_conn *conn, const struct gw_request *request)
{
    struct gw_buf name = {0};
    const struct wish wish = mjpeg_wish(request);
    const char *why = wish.why;
    enum gw_err err = why ? GW_ERR_BAD_REQUEST : mjpeg_check(conn, request, &name, &why);
    if (err != GW_OK)
        gw_http_error(conn, err, why);
    else
        mjpeg_start(conn, request, &name, wish.interval_ms);
    gw_buf_fini(&name);
}

const struct gw_transport gw_transport_mjpeg = {.name = "mjpeg", .match = mjpeg_match, .open = mjpeg_open};
