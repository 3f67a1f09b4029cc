/* lines.c: a transport as somebody outside of this tree would write it. Each message is one text frame of a
 * WebSocket, "GREETING CHANNEL DATA", where `words` may replace the channel.
 *
 *   lines: { path: /lines, greeting: hello, words: { rooms/k: kitchen } } */
#include <stdlib.h>
#include <string.h>

#include "gateway/options.h"
#include "gateway/transport.h"

struct lines_options {
    char *path;
    char *greeting;
    struct gw_pairs words;
};

static const struct gw_field lines_fields[] = {
    {.key = "path",
     .type = GW_FIELD_STRING,
     .offset = offsetof(struct lines_options, path),
     .required = true,
     .doc = "Where clients connect."},
    {.key = "greeting",
     .type = GW_FIELD_STRING,
     .offset = offsetof(struct lines_options, greeting),
     .def = "hello",
     .doc = "How each line begins."},
    {.key = "words",
     .type = GW_FIELD_PAIRS,
     .offset = offsetof(struct lines_options, words),
     .doc = "What is said in place of a channel's name."},
    {.key = NULL},
};

static void lines_check(void *options, const struct gw_config *config, struct gw_report *report)
{
    (void)config;
    const struct lines_options *own = options;
    if (own->path[0] != '/')
        gw_report_error(report, "path", "'%s' is no path (such as /lines expected)", own->path);
    for (size_t i = 0; i < own->words.count; i++) {
        struct gw_buf key = {0};
        gw_buf_printf(&key, "words.%s", own->words.items[i].name);
        if (strchr(own->words.items[i].value, ' '))
            gw_report_error(report, key.data, "'%s' is more than a word (one word expected)",
                            own->words.items[i].value);
        gw_buf_fini(&key);
    }
}

static const struct gw_options lines_options = {
    .key = "lines",
    .doc = "Messages as lines of text.",
    .size = sizeof(struct lines_options),
    .fields = lines_fields,
    .check = lines_check,
};

struct lines {
    struct gw_session session; /* first member */
    struct gw_conn *conn;
};

static const struct lines_options *lines_in_force(const struct gw_conn *conn)
{
    return gw_options_of(gw_hub_config(gw_conn_hub(conn)), &lines_options);
}

static const char *lines_word(const struct lines_options *options, const char *channel)
{
    for (size_t i = 0; i < options->words.count; i++) {
        if (!strcmp(options->words.items[i].name, channel))
            return options->words.items[i].value;
    }
    return channel;
}

/* An encoder sees the item alone. All sessions of a worker have the same options, so that a message gives the same
 * bytes for all of them. */
static _Thread_local const struct lines_options *lines_now;

static size_t lines_encode(struct gw_item *item, struct iovec parts[GW_PARTS_MAX])
{
    if (item->type == GW_ITEM_GAP)
        return 0;
    if (item->type == GW_ITEM_MESSAGE) {
        const struct gw_message *msg = item->u.message;
        struct gw_buf line = {0}, frame = {0};
        gw_buf_printf(&line, "%s %s %.*s", lines_now->greeting, lines_word(lines_now, msg->channel.data),
                      (int)msg->data.len, msg->data.data);
        gw_ws_add_text(&frame, line.data, line.len);
        gw_buf_fini(&line);
        gw_item_set_text(item, &frame);
    }
    parts[0] = (struct iovec){item->u.text->data, item->u.text->len};
    return 1;
}

static void lines_drain(struct lines *lines)
{
    lines_now = lines_in_force(lines->conn);
    if (lines_now)
        gw_conn_drain(lines->conn, &lines->session, lines_encode);
    else /* a reload has taken the table away */
        gw_ws_close(lines->conn, 1001, "switched off");
}

static void lines_ready(struct gw_session *session)
{
    lines_drain((struct lines *)session);
}

static void lines_published(struct gw_session *session, const char *reference, enum gw_err err, int reason)
{
    (void)session, (void)reference, (void)err, (void)reason; /* it publishes nothing */
}

static void lines_kick(struct gw_session *session, enum gw_err why)
{
    gw_ws_close(((struct lines *)session)->conn, gw_err_close_code(why), gw_err_text(why));
}

static const struct gw_session_ops lines_session_ops = {
    .transport = "lines", .ready = lines_ready, .published = lines_published, .kick = lines_kick};

static void lines_writable(struct gw_conn *conn)
{
    lines_drain(gw_conn_context(conn));
}

static void lines_message(struct gw_conn *conn, bool text, char *data, size_t len)
{
    (void)text, (void)data, (void)len;
    gw_ws_close(conn, 1003, "clients of this transport have nothing to say");
}

static void lines_closed(struct gw_conn *conn)
{
    struct lines *lines = gw_conn_context(conn);
    gw_session_close(&lines->session);
    free(lines);
}

static const struct gw_conn_ops lines_conn_ops = {
    .writable = lines_writable, .message = lines_message, .closed = lines_closed};

static bool lines_match(const struct gw_conn *conn, const struct gw_request *request)
{
    return gw_request_path_is(request, lines_in_force(conn)->path);
}

static const char *const lines_protocols[] = {NULL};

/* `?channel=FILTER`. */
static void lines_open(struct gw_conn *conn, const struct gw_request *request)
{
    struct gw_params params = {.query = request->query};
    const struct gw_buf *filter = &params.value;
    if (!request->upgrade || !gw_params_next(&params) || strcmp(params.key.data, "channel")) {
        gw_http_error(conn, GW_ERR_BAD_REQUEST, "a WebSocket and ?channel= expected");
    } else {
        struct lines *lines = calloc(1, sizeof *lines);
        lines->conn = conn;
        if (gw_ws_accept(conn, request, lines_protocols, &lines_conn_ops, lines)) {
            gw_session_open(&lines->session, gw_conn_hub(conn), &lines_session_ops);
            gw_session_identify(&lines->session, gw_conn_identity(conn));
            gw_conn_log_session(conn, &lines->session);
            const struct gw_start start = {.at = GW_START_LAST};
            struct gw_subscribed subscribed;
            enum gw_err err = gw_session_subscribe(&lines->session, filter->data, filter->len, &start, &subscribed);
            if (err == GW_OK)
                gw_session_catch_up(&lines->session);
            else
                lines_kick(&lines->session, err);
        } else {
            free(lines);
        }
    }
    gw_params_end(&params, NULL);
}

const struct gw_transport gw_transport_lines = {
    .name = "lines", .options = &lines_options, .match = lines_match, .open = lines_open};
