/* payload.c: GET /channels/NAME/raw: the last value's payload as the device sent it, for <img src> and programs that
 * want bytes (RFC 9110 sections 8.8, 13 and 14).
 *
 * A payload is a stranger's, and this address the gateway's own. So its type is never one that a browser runs
 * (gateway/media.h), nobody may guess another (`nosniff`), and a document of it runs in a sandbox without origin. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "gateway/identity.h"
#include "gateway/media.h"
#include "gateway/transport.h"
#include "http/api.h"
#include "http/conn.h"
#include "http/range.h"

struct asked {
    struct gw_conn *conn;
    const struct gw_request *request;
    const struct gw_buf *name;
    struct gw_buf tag; /* of the address; len 0: none */
    struct gw_message *found;
    bool exact; /* it is the one with that tag */
};

static const struct gw_grants *asked_grants(const struct asked *asked)
{
    return asked->conn->identity ? asked->conn->identity->grants : NULL;
}

/* NULL if all is well, else what was expected. */
static const char *asked_read(struct asked *asked)
{
    struct gw_params params = {.query = asked->request->query};
    const char *why = NULL;
    while (!why && gw_params_next(&params)) {
        if (!strcmp(params.key.data, "stream"))
            why = "stream is mjpeg, and asked for by GET";
        if (!strcmp(params.key.data, "v")) {
            gw_buf_clear(&asked->tag);
            gw_buf_add(&asked->tag, params.value.data, params.value.len);
        }
    }
    return gw_params_end(&params, why);
}

/* What `codec: blob` has written. The payloads of a whole history are neither hashed nor searched for one request. */
static bool asked_is_written(const struct asked *asked, const struct gw_message *msg)
{
    static const char start[] = "{\"url\":\"channels/";
    char text[GW_MEDIA_TAG + 8];
    if (msg->payload.data == msg->data.data || msg->data.len < sizeof start - 1 ||
        memcmp(msg->data.data, start, sizeof start - 1) != 0)
        return false;
    int len = snprintf(text, sizeof text, "?v=%s\",", asked->tag.data);
    return memmem(msg->data.data, msg->data.len, text, (size_t)len) != NULL;
}

static bool asked_visit(void *context, struct gw_message *msg)
{
    struct asked *asked = context;
    if (asked_is_written(asked, msg) && !msg->clear)
        asked->found = msg;
    return true;
}

static bool asked_has_tag(const struct asked *asked, struct gw_message *msg)
{
    return asked->tag.len == GW_MEDIA_TAG - 1 && !memcmp(gw_media_tag_of(msg), asked->tag.data, asked->tag.len);
}

/* The one with the tag, if it is still there; else the last value. */
static void asked_find(struct asked *asked)
{
    struct gw_hub *hub = gw_conn_hub(asked->conn);
    const struct gw_grants *grants = asked_grants(asked);
    struct gw_message *last = gw_hub_last(hub, grants, asked->name->data, asked->name->len);
    asked->exact = last && asked_has_tag(asked, last);
    if (!asked->exact && asked->tag.len == GW_MEDIA_TAG - 1 &&
        gw_grants_contain(grants, GW_RIGHT_HISTORY, asked->name->data, asked->name->len)) {
        uint64_t evicted;
        gw_hub_history(hub, grants, asked->name->data, asked->name->len, 0, asked_visit, asked, &evicted);
        asked->exact = asked->found && asked_has_tag(asked, asked->found);
    }
    if (!asked->exact || !asked->found)
        asked->found = last;
}

/* A cache that gives one client's or one page's answer to another leaks it, or breaks what the other may do: which
 * pages may show it depends on who asks (gw_http_resource_policy()), who may read it on the credentials. */
static const char *payload_vary(const struct asked *asked)
{
    bool pages = gw_conn_config(asked->conn)->web.origins.count > 0;
    if (gw_hub_auth(gw_conn_hub(asked->conn)))
        return pages ? "Vary: Authorization, Cookie, Origin, Referer\r\n" : "Vary: Authorization, Cookie\r\n";
    return pages ? "Vary: Origin, Referer\r\n" : "";
}

static const char *payload_caching(const struct asked *asked)
{
    if (asked->exact)
        return "private, max-age=31536000, immutable";
    return gw_hub_auth(gw_conn_hub(asked->conn)) ? "private, no-cache" : "no-cache";
}

static void payload_headers(const struct asked *asked, struct gw_buf *headers)
{
    struct gw_message *msg = asked->found;
    struct gw_slice cursor = gw_message_cursor(msg);
    char modified[64];
    struct tm parts;
    time_t seconds = (time_t)(msg->ts / 1000);
    gmtime_r(&seconds, &parts);
    strftime(modified, sizeof modified, "%a, %d %b %Y %H:%M:%S GMT", &parts);
    gw_buf_printf(headers,
                  "ETag: \"%s\"\r\nLast-Modified: %s\r\nAccept-Ranges: bytes\r\n"
                  "Content-Security-Policy: sandbox; default-src 'none'\r\nCross-Origin-Resource-Policy: %s\r\n"
                  "Sluice-Cursor: %.*s\r\n%s",
                  gw_media_tag_of(msg), modified, gw_http_resource_policy(asked->conn, asked->request),
                  (int)cursor.len, cursor.data, payload_vary(asked));
}

/* RFC 9110 section 13.1.5: a part of something else is no use. A date is no strong validator here: pictures come
 * faster than once a second. */
static bool payload_in_parts(const struct asked *asked, const char *etag)
{
    struct gw_slice unless = gw_request_header(asked->request, "if-range");
    return asked->request->method == GW_GET &&
           (!unless.data || (unless.len == strlen(etag) && !memcmp(unless.data, etag, unless.len)));
}

static void payload_reply(const struct asked *asked)
{
    struct gw_conn *conn = asked->conn;
    struct gw_message *msg = asked->found;
    const char *caching = payload_caching(asked);
    char etag[GW_MEDIA_TAG + 2], kind[128];
    size_t from = 0, len = msg->payload.len;
    struct gw_buf headers = {0};
    payload_headers(asked, &headers);
    snprintf(etag, sizeof etag, "\"%s\"", gw_media_tag_of(msg));
    if (gw_asset_is_known(gw_request_header(asked->request, "if-none-match"), etag)) {
        gw_http_reply_cached(conn, 304, caching, headers.data, NULL, NULL, 0);
        gw_buf_fini(&headers);
        return;
    }
    struct gw_slice type = gw_media_type(gw_hub_content_type(gw_conn_hub(conn), asked->name->data, asked->name->len),
                                         gw_message_properties(msg), msg->payload.data, msg->payload.len);
    snprintf(kind, sizeof kind, "%.*s", (int)type.len, type.data);
    enum gw_range range = payload_in_parts(asked, etag)
                              ? gw_range_read(gw_request_header(asked->request, "range"), len, &from, &len)
                              : GW_RANGE_NONE;
    if (range == GW_RANGE_PART) {
        gw_buf_printf(&headers, "Content-Range: bytes %zu-%zu/%zu\r\n", from, from + len - 1, msg->payload.len);
        gw_http_reply_payload(conn, 206, caching, headers.data, kind, msg, from, len);
    } else if (range == GW_RANGE_UNSATISFIABLE) {
        gw_buf_clear(&headers);
        gw_buf_printf(&headers, "Content-Range: bytes */%zu\r\n", msg->payload.len);
        gw_http_error_headers(conn, GW_ERR_RANGE, NULL, headers.data);
    } else {
        gw_http_reply_payload(conn, 200, caching, headers.data, kind, msg, 0, len);
    }
    gw_buf_fini(&headers);
}

static void payload_answer(struct asked *asked)
{
    struct gw_conn *conn = asked->conn;
    struct gw_hub *hub = gw_conn_hub(conn);
    const char *name = asked->name->data;
    size_t len = asked->name->len;
    const char *why;
    enum gw_err err = gw_hub_check_payloads(hub, asked_grants(asked), name, len, &why);
    if (err != GW_OK) {
        gw_http_error(conn, err, why);
        return;
    }
    asked_find(asked);
    if (asked->found)
        payload_reply(asked);
    else
        gw_http_error(conn, gw_hub_channel_possible(hub, name, len) ? GW_ERR_NO_VALUE : GW_ERR_UNKNOWN_CHANNEL, NULL);
}

void gw_api_payload(struct gw_conn *conn, const struct gw_request *request, const struct gw_buf *name)
{
    struct asked asked = {.conn = conn, .request = request, .name = name};
    const char *why = asked_read(&asked);
    if (why)
        gw_http_error(conn, GW_ERR_BAD_REQUEST, why);
    else
        payload_answer(&asked);
    gw_buf_fini(&asked.tag);
}
