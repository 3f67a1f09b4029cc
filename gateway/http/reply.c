/* reply.c: answers: those that are whole, errors, and the beginning of those without end. */
#include <stdlib.h>
#include <string.h>

#include "gateway/protocol.h"
#include "http/conn.h"

#define NO_STORE "no-store"

/* Ends the exchange, and writes the head of the answer. `caching` is the value of Cache-Control. `type` NULL: there
 * is no body. By pieces and not by a format: a long-poll pays for it with every message. */
static void reply_head(struct gw_conn *conn, int status, const char *caching, const char *headers, const char *type,
                       size_t len, struct gw_buf *head)
{
    conn->ops = NULL;
    conn->context = NULL;
    *head = (struct gw_buf){0};
    gw_buf_reserve(head, 384); /* most heads fit, so that it grows once */
    gw_buf_adds(head, "HTTP/1.1 ");
    gw_buf_addu(head, (uint64_t)status);
    gw_buf_addc(head, ' ');
    gw_buf_adds(head, gw_http_reason(status));
    gw_buf_adds(head, "\r\nServer: sluice\r\nCache-Control: ");
    gw_buf_adds(head, caching);
    gw_buf_adds(head, "\r\n");
    if (headers)
        gw_buf_adds(head, headers);
    if (conn->headers)
        gw_buf_adds(head, conn->headers);
    free(conn->headers);
    conn->headers = NULL;
    if (type) {
        gw_buf_adds(head, "Content-Type: ");
        gw_buf_adds(head, type);
        gw_buf_adds(head, "\r\nX-Content-Type-Options: nosniff\r\n");
    }
    if (status != 204 && status != 304) {
        gw_buf_adds(head, "Content-Length: ");
        gw_buf_addu(head, len);
        gw_buf_adds(head, "\r\n");
    }
    gw_buf_adds(head, conn->keep_alive ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n");
}

/* Everything is said. */
static void reply_end(struct gw_conn *conn)
{
    if (gw_conn_dead(conn))
        return;
    if (!conn->keep_alive) {
        gw_conn_finish(conn);
        if (!gw_conn_dead(conn) && gw_outbox_unsent(&conn->sock))
            gw_conn_deadline(conn, gw_conn_config(conn)->web.request_timeout_ms);
        return;
    }
    conn->state = GW_CONN_HEAD;
    gw_conn_deadline(conn, gw_conn_config(conn)->web.keepalive_ms);
    gw_conn_process(conn);
}

void gw_http_reply_cached(struct gw_conn *conn, int status, const char *caching, const char *headers,
                          const char *type, const char *body, size_t len)
{
    if (gw_conn_dead(conn))
        return;
    struct gw_buf head;
    reply_head(conn, status, caching, headers, type, len, &head);
    struct iovec parts[2] = {{head.data, head.len}, {(void *)(uintptr_t)body, len}};
    gw_outbox_send(&conn->sock, parts, len && !conn->is_head ? 2 : 1);
    gw_buf_fini(&head);
    reply_end(conn);
}

void gw_http_reply(struct gw_conn *conn, int status, const char *headers, const char *type, const char *body,
                   size_t len)
{
    gw_http_reply_cached(conn, status, NO_STORE, headers, type, body, len);
}

static size_t reply_payload(struct gw_item *item, struct iovec parts[GW_PARTS_MAX])
{
    const struct gw_slice payload = item->u.message->payload;
    parts[0] = (struct iovec){(void *)(uintptr_t)payload.data, payload.len};
    return 1;
}

void gw_http_reply_payload(struct gw_conn *conn, int status, const char *caching, const char *headers,
                           const char *type, struct gw_message *msg, size_t from, size_t len)
{
    if (gw_conn_dead(conn))
        return;
    struct gw_buf head;
    reply_head(conn, status, caching, headers, type, len, &head);
    gw_outbox_send_one(&conn->sock, head.data, head.len);
    gw_buf_fini(&head);
    if (!conn->is_head)
        gw_outbox_send_message(&conn->sock, msg, reply_payload, from, len);
    reply_end(conn);
}

void gw_http_error_as(struct gw_conn *conn, int status, enum gw_err err, const char *message, const char *headers)
{
    struct gw_buf body = {0};
    gw_json_error(&body, NULL, err, message, 0);
    gw_http_reply(conn, status, headers, "application/json", body.data, body.len);
    gw_buf_fini(&body);
}

void gw_http_error_headers(struct gw_conn *conn, enum gw_err err, const char *message, const char *headers)
{
    gw_http_error_as(conn, gw_err_status(err), err, message, headers);
}

void gw_http_error(struct gw_conn *conn, enum gw_err err, const char *message)
{
    int status = gw_err_status(err);
    gw_http_error_headers(conn, err, message, status == 503 || status == 429 ? "Retry-After: 1\r\n" : NULL);
}

void gw_http_stream(struct gw_conn *conn, const char *headers, const char *type, const struct gw_conn_ops *ops,
                    void *context)
{
    struct gw_buf head = {0};
    conn->state = GW_CONN_STREAM;
    conn->keep_alive = false; /* the end of the connection is the end of the body (RFC 9112 section 6.3) */
    gw_buf_printf(&head,
                  "HTTP/1.1 200 OK\r\nServer: sluice\r\nCache-Control: no-store, no-transform\r\nContent-Type: %s\r\n"
                  "X-Content-Type-Options: nosniff\r\n%s%sConnection: close\r\n\r\n",
                  type, headers ? headers : "", conn->headers ? conn->headers : "");
    free(conn->headers);
    conn->headers = NULL;
    gw_conn_attach(conn, ops, context);
    gw_outbox_send_one(&conn->sock, head.data, head.len);
    gw_buf_fini(&head);
}
