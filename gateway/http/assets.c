/* assets.c: the files inside the binary: dashboard and browser client (RFC 9110 sections 12.5.3 and 13.1.2). */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "gateway/transport.h"
#include "http/api.h"
#include "http/conn.h"

static struct gw_slice asset_trim(struct gw_slice text)
{
    while (text.len && (*text.data == ' ' || *text.data == '\t'))
        text.data++, text.len--;
    while (text.len && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t'))
        text.len--;
    return text;
}

/* The next item of a list with commas. False at its end. */
static bool asset_item(struct gw_slice *list, struct gw_slice *item)
{
    if (!list->len)
        return false;
    const char *comma = memchr(list->data, ',', list->len);
    size_t len = comma ? (size_t)(comma - list->data) : list->len;
    *item = asset_trim((struct gw_slice){list->data, len});
    list->data += len + (comma != NULL);
    list->len -= len + (comma != NULL);
    return true;
}

/* `;q=0` and `;q=0.000` forbid. */
static bool asset_weighs(struct gw_slice parameters)
{
    const char *q = memchr(parameters.data, '=', parameters.len);
    if (!q)
        return true;
    for (const char *at = q + 1; at < parameters.data + parameters.len; at++) {
        if (*at >= '1' && *at <= '9')
            return true;
    }
    return false;
}

bool gw_asset_takes_gzip(struct gw_slice accept)
{
    struct gw_slice item;
    int named = -1, any = 0; /* -1: gzip is not named, so that `*` decides */
    while (asset_item(&accept, &item)) {
        const char *semicolon = memchr(item.data, ';', item.len);
        size_t len = semicolon ? (size_t)(semicolon - item.data) : item.len;
        struct gw_slice name = asset_trim((struct gw_slice){item.data, len});
        bool weighs = !semicolon || asset_weighs((struct gw_slice){semicolon, item.len - len});
        if ((name.len == 4 && !strncasecmp(name.data, "gzip", 4)) ||
            (name.len == 6 && !strncasecmp(name.data, "x-gzip", 6)))
            named = weighs;
        else if (name.len == 1 && *name.data == '*')
            any = weighs;
    }
    return named < 0 ? any : named;
}

bool gw_asset_is_known(struct gw_slice if_none_match, const char *etag)
{
    struct gw_slice item;
    while (asset_item(&if_none_match, &item)) {
        if (item.len == 1 && *item.data == '*')
            return true;
        if (item.len > 2 && !memcmp(item.data, "W/", 2)) /* compared weakly: proxies that compress mark it so */
            item.data += 2, item.len -= 2;
        if (item.len == strlen(etag) && !memcmp(item.data, etag, item.len))
            return true;
    }
    return false;
}

/* Kept, and asked for again each time, so that a new version is there at once. */
#define ASSET_CACHING "no-cache"

static void asset_headers(struct gw_buf *headers, const struct gw_cfg_web *web, const char *etag, bool gzip)
{
    gw_buf_printf(headers, "ETag: %s\r\nVary: Accept-Encoding\r\n%s", etag, gzip ? "Content-Encoding: gzip\r\n" : "");
    gw_buf_adds(headers, "Content-Security-Policy: default-src 'self'; img-src 'self' blob:; object-src 'none'; "
                         "base-uri 'none'; form-action 'self'; "
                         "frame-ancestors");
    for (size_t i = 0; i < web->frame_ancestors.count; i++) {
        const char *text = web->frame_ancestors.items[i];
        gw_buf_printf(headers, " %s", !strcmp(text, "self") ? "'self'" : text);
    }
    gw_buf_adds(headers, web->frame_ancestors.count ? "\r\n" : " 'none'\r\nX-Frame-Options: DENY\r\n");
    /* The client is for pages everywhere, also for isolated ones; what it may do is decided where it asks. */
    gw_buf_adds(headers, "Referrer-Policy: no-referrer\r\nCross-Origin-Opener-Policy: same-origin\r\n"
                         "Cross-Origin-Resource-Policy: cross-origin\r\nAccess-Control-Allow-Origin: *\r\n");
}

const struct gw_asset *gw_asset_find(const struct gw_request *request)
{
    for (const struct gw_asset *asset = gw_assets; asset->path; asset++) {
        if (gw_request_path_is(request, asset->path))
            return asset;
    }
    return NULL;
}

void gw_asset_reply(struct gw_conn *conn, const struct gw_request *request, const struct gw_asset *asset)
{
    if (request->method != GW_GET && request->method != GW_HEAD) {
        gw_http_error_headers(conn, GW_ERR_METHOD, NULL, "Allow: GET, HEAD\r\n");
        return;
    }
    bool gzip = asset->gzip_len && gw_asset_takes_gzip(gw_request_header(request, "accept-encoding"));
    const char *etag = gzip ? asset->gzip_etag : asset->etag;
    bool known = gw_asset_is_known(gw_request_header(request, "if-none-match"), etag);
    struct gw_buf headers = {0};
    asset_headers(&headers, &gw_hub_config(gw_conn_hub(conn))->web, etag, gzip && !known);
    if (known)
        gw_http_reply_cached(conn, 304, ASSET_CACHING, headers.data, NULL, NULL, 0);
    else
        gw_http_reply_cached(conn, 200, ASSET_CACHING, headers.data, asset->type,
                             (const char *)(gzip ? asset->gzip : asset->data), gzip ? asset->gzip_len : asset->len);
    gw_buf_fini(&headers);
}
