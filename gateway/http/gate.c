#include "http/gate.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/origin.h"
#include "gateway/alloc.h"
#include "gateway/auth.h"
#include "gateway/log.h"
#include "gateway/transport.h"
#include "http/conn.h"
#include "http/ticket.h"

/* --- names ------------------------------------------------------------------------------------------------------ */

/* DNS rebinding: a page's name may resolve to the gateway, and then page and gateway are of one origin. Its name is
 * not one of ours, though. An address in Host is none that a name server gives, and localhost is the browser's own
 * affair. */
static bool gate_host_is_ours(const struct gw_conn *conn, const struct gw_request *request)
{
    const struct gw_strings *hosts = &gw_conn_config(conn)->web.hosts;
    if (!hosts->count)
        return true;
    struct gw_slice host = gw_request_header(request, "host");
    char name[256];
    bool literal = host.len && *host.data == '[';
    const char *end = host.len ? memchr(host.data, literal ? ']' : ':', host.len) : NULL;
    size_t skip = literal, len = (end ? (size_t)(end - host.data) : host.len) - skip;
    if (literal && (!end || (end + 1 < host.data + host.len && end[1] != ':')))
        return false;
    if (len && !literal && host.data[len - 1] == '.')
        len--; /* `dash.example.` is the same */
    if (!len || len >= sizeof name)
        return false;
    memcpy(name, host.data + skip, len);
    name[len] = '\0';
    unsigned char address[16];
    if (literal)
        return inet_pton(AF_INET6, name, address) == 1;
    if (inet_pton(AF_INET, name, address) == 1 || !strcasecmp(name, "localhost"))
        return true;
    for (size_t i = 0; i < hosts->count; i++) {
        if (!strcasecmp(hosts->items[i], name))
            return true;
    }
    return false;
}

/* --- origins ---------------------------------------------------------------------------------------------------- */

/* The host and port of an origin as a Host header has them: without the port where it is the scheme's own. */
static struct gw_slice gate_authority(struct gw_slice text, bool secure)
{
    const char *port = secure ? ":443" : ":80";
    size_t len = strlen(port);
    if (text.len > len && !memcmp(text.data + text.len - len, port, len))
        text.len -= len;
    return text;
}

/* Browsers know the address by which the page was reached, and we know it from Host; TLS may end at a proxy, so the
 * scheme is the origin's own affair. */
static bool gate_same_origin(const struct gw_request *request, struct gw_slice origin)
{
    /* The browser's own word, which no script can give (W3C Fetch Metadata): it knows the page's address also where a
     * proxy has put another name into Host. */
    struct gw_slice site = gw_request_header(request, "sec-fetch-site");
    if (site.len == 11 && !memcmp(site.data, "same-origin", 11))
        return true;
    bool secure = origin.len > 8 && !strncasecmp(origin.data, "https://", 8);
    size_t skip = secure ? 8 : 7;
    if (!secure && !(origin.len > 7 && !strncasecmp(origin.data, "http://", 7)))
        return false; /* `null`, files, extensions */
    struct gw_slice host = gate_authority(gw_request_header(request, "host"), secure);
    struct gw_slice page = gate_authority((struct gw_slice){origin.data + skip, origin.len - skip}, secure);
    return host.data && page.len == host.len && !strncasecmp(page.data, host.data, host.len);
}

enum gate_origin { GATE_NONE, GATE_SAME, GATE_LISTED, GATE_ANY, GATE_FOREIGN };

static enum gate_origin gate_origin(const struct gw_conn *conn, const struct gw_request *request,
                                    struct gw_slice *origin)
{
    *origin = gw_request_header(request, "origin");
    if (!origin->data)
        return GATE_NONE; /* no browser, or one that asks for its own page */
    if (gate_same_origin(request, *origin))
        return GATE_SAME;
    const struct gw_strings *listed = &gw_conn_config(conn)->web.origins;
    enum gate_origin kind = GATE_FOREIGN;
    for (size_t i = 0; i < listed->count; i++) {
        enum gw_origin_match match = gw_origin_match(listed->items[i], *origin);
        if (match == GW_ORIGIN_EXACT)
            return GATE_LISTED;
        if (match == GW_ORIGIN_PATTERN)
            kind = GATE_ANY;
    }
    return kind;
}

/* A page at another address meets this first, and the browser does not say why. The log does, once a minute for each
 * origin; the table has a fixed size. */
#define GATE_TOLD          32
#define GATE_TOLD_BYTES    128
#define GATE_TOLD_AFTER_MS (60 * 1000)

static void gate_tell(const struct gw_conn *conn, struct gw_slice origin)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static struct told {
        char origin[GATE_TOLD_BYTES];
        int64_t at_ms;
    } table[GATE_TOLD];
    char text[GATE_TOLD_BYTES];
    int64_t now = gw_hub_now(gw_conn_hub(conn));
    struct gw_buf hint = {0};
    if (!origin.len || origin.len >= sizeof text)
        return;
    memcpy(text, origin.data, origin.len);
    text[origin.len] = '\0';
    bool valid = gw_origin_valid(text, &hint); /* what can't be listed is no browser's */
    gw_buf_fini(&hint);
    if (!valid || strchr(text, '*'))
        return;
    struct told *slot = NULL;
    pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < GATE_TOLD; i++) {
        bool due = !table[i].origin[0] || now - table[i].at_ms >= GATE_TOLD_AFTER_MS;
        if (!strcmp(table[i].origin, text)) {
            slot = due ? &table[i] : NULL;
            break;
        }
        if (due && !slot)
            slot = &table[i];
    }
    if (slot) {
        memcpy(slot->origin, text, origin.len + 1);
        slot->at_ms = now;
    }
    pthread_mutex_unlock(&mutex);
    if (slot)
        gw_log(GW_LOG_WARN, "web",
               "a page of %s was refused; to let it in, add web: { origins: [\"%s\"] } to %s. If it is the gateway's "
               "own page, let the proxy pass the browser's Host on",
               text, text, gw_conn_config(conn)->file);
}

/* Pages send headers of their own to other servers (extraHeaders of Socket.IO), and here they change nothing. */
static void gate_add_asked(const struct gw_request *preflight, struct gw_buf *headers)
{
    static const char names[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_, ";
    struct gw_slice asked = gw_request_header(preflight, "access-control-request-headers");
    for (size_t i = 0; i < asked.len; i++) {
        if (!memchr(names, asked.data[i], sizeof names - 1))
            return;
    }
    if (asked.len)
        gw_buf_printf(headers, ", %.*s", (int)asked.len, asked.data);
}

/* What a page on another origin may read of the answer. Where the page is one of many (`*`, a wildcard, `null`),
 * credentials of the browser's own (cookies) don't count. */
static void gate_allow(struct gw_conn *conn, enum gate_origin kind, struct gw_slice origin,
                       const struct gw_request *preflight)
{
    if (kind != GATE_LISTED && kind != GATE_ANY)
        return;
    struct gw_buf headers = {0};
    if (kind == GATE_LISTED)
        gw_buf_printf(
            &headers,
            "Access-Control-Allow-Origin: %.*s\r\nAccess-Control-Allow-Credentials: true\r\nVary: Origin\r\n",
            (int)origin.len, origin.data);
    else
        gw_buf_adds(&headers, "Access-Control-Allow-Origin: *\r\n");
    if (preflight) {
        gw_buf_adds(&headers,
                    "Access-Control-Allow-Methods: GET, HEAD, POST\r\n"
                    "Access-Control-Allow-Headers: Authorization, Content-Type, Last-Event-ID, Cache-Control");
        gate_add_asked(preflight, &headers);
        gw_buf_adds(&headers, "\r\nAccess-Control-Max-Age: 600\r\n");
    } else {
        gw_buf_adds(&headers, "Access-Control-Expose-Headers: Sluice-Cursor, Sluice-Upstream, Retry-After, ETag, "
                              "Content-Range\r\n");
    }
    free(conn->headers);
    conn->headers = gw_buf_take(&headers);
}

/* Pictures are asked for without Origin, and with Referer as the page's policy says; one that does not say who it is
 * can only ask as fetch() does (crossorigin="anonymous"). */
const char *gw_http_resource_policy(const struct gw_conn *conn, const struct gw_request *request)
{
    const struct gw_strings *listed = &gw_conn_config(conn)->web.origins;
    struct gw_slice page = gw_request_header(request, "origin"), referer = gw_request_header(request, "referer");
    if (!page.data && referer.len) {
        const char *host = memmem(referer.data, referer.len, "://", 3);
        size_t skip = host ? (size_t)(host - referer.data) + 3 : 0;
        const char *path = memchr(referer.data + skip, '/', referer.len - skip);
        page = (struct gw_slice){referer.data, path ? (size_t)(path - referer.data) : referer.len};
    }
    for (size_t i = 0; i < listed->count; i++) {
        if (gw_origin_match(listed->items[i], page.data ? page : (struct gw_slice){"null", 4}) != GW_ORIGIN_OTHER)
            return "cross-origin";
    }
    return "same-origin";
}

/* --- credentials ------------------------------------------------------------------------------------------------ */

static bool gate_bearer(const struct gw_request *request, struct gw_slice *token)
{
    *token = gw_request_header(request, "authorization");
    if (!token->data || token->len < 7 || strncasecmp(token->data, "Bearer ", 7) != 0)
        return false;
    token->data += 7;
    token->len -= 7;
    while (token->len && *token->data == ' ')
        token->data++, token->len--;
    return true;
}

/* RFC 6265 section 4.2.1: name=value pairs with `; ` between them. */
static bool gate_cookie(const struct gw_request *request, const char *name, struct gw_slice *value)
{
    struct gw_slice cookies = gw_request_header(request, "cookie");
    size_t name_len = strlen(name);
    for (size_t at = 0; at < cookies.len;) {
        const char *start = cookies.data + at, *end = memchr(start, ';', cookies.len - at);
        size_t len = end ? (size_t)(end - start) : cookies.len - at;
        at += len + 1;
        while (len && *start == ' ')
            start++, len--;
        if (len > name_len && start[name_len] == '=' && !memcmp(start, name, name_len)) {
            *value = (struct gw_slice){start + name_len + 1, len - name_len - 1};
            return value->len > 0;
        }
    }
    return false;
}

/* Browsers send cookies along whatever page asks. Where that does something, the request must say that the page is
 * one of ours: Origin has been checked by now, and Sec-Fetch-Site is the browser's word. */
static bool gate_cookie_counts(const struct gw_request *request, enum gate_origin kind)
{
    if (kind == GATE_ANY)
        return false;
    if (kind != GATE_NONE || request->method == GW_GET || request->method == GW_HEAD)
        return true;
    struct gw_slice site = gw_request_header(request, "sec-fetch-site");
    return site.len == 11 && !memcmp(site.data, "same-origin", 11);
}

static void gate_failed(struct gw_conn *conn, const char *what, const char *why)
{
    char address[INET6_ADDRSTRLEN] = "";
    inet_ntop(AF_INET6, &conn->address, address, sizeof address);
    GW_STAT_ADD(gw_hub_stats(gw_conn_hub(conn)), auth_failures, 1);
    GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "auth", "%s from %s was refused: %s", what, address, why);
}

/* *why: NULL, or what was wrong with the credentials that came. */
static enum gw_err gate_identify(struct gw_conn *conn, const struct gw_request *request, enum gate_origin kind,
                                 const char **why)
{
    struct gw_hub *hub = gw_conn_hub(conn);
    struct gw_auth *auth = gw_hub_auth(hub);
    const char *cookie = gw_hub_config(hub)->auth.cookie;
    struct gw_slice token;
    struct gw_buf ticket = {0};
    enum gw_err err = GW_OK;
    *why = NULL;
    if (gate_bearer(request, &token)) {
        err = gw_auth_token(auth, token.data, token.len, gw_hub_wall(hub), &conn->identity, why);
        if (err != GW_OK)
            gate_failed(conn, "a token", *why);
    } else if (gw_ticket_of_query(request, &ticket)) {
        err = gw_ticket_redeem(conn, &ticket, &conn->identity, why);
        if (err == GW_ERR_OVERLOADED)
            *why = GW_TICKET_AWAY;
        if (err != GW_OK && !conn->ticket.wait)
            gate_failed(conn, "a ticket", *why);
    } else {
        bool has_cookie = cookie && gate_cookie_counts(request, kind) && gate_cookie(request, cookie, &token);
        if (has_cookie)
            err = gw_auth_token(auth, token.data, token.len, gw_hub_wall(hub), &conn->identity, why);
        if (has_cookie && err != GW_OK)
            gate_failed(conn, "a cookie", *why);
        if (!conn->identity) /* a stale cookie is no reason to shut out who needs none */
            conn->identity = gw_auth_anonymous(auth);
        if (conn->identity)
            err = GW_OK;
    }
    gw_buf_fini(&ticket);
    return err;
}

/* --- all together ----------------------------------------------------------------------------------------------- */

bool gw_gate_pass(struct gw_conn *conn, const struct gw_request *request, bool open, enum gw_late_identity late)
{
    struct gw_slice origin;
    enum gate_origin kind = gate_origin(conn, request, &origin);
    /* Load balancers ask for health by HTTP/1.0 and without Host, which no page can do. */
    bool probe = request->http10 && !gw_request_header(request, "host").data &&
                 (gw_request_path_is(request, "/healthz") || gw_request_path_is(request, "/readyz"));
    if (!probe && !gate_host_is_ours(conn, request)) {
        GW_STAT_ADD(gw_hub_stats(gw_conn_hub(conn)), forbidden, 1);
        gw_http_error(conn, GW_ERR_FORBIDDEN,
                      "the gateway is not to be asked by this name (web.hosts lists those that it has)");
        return false;
    }
    /* A client with nothing to listen to yet asks /healthz whether anybody is there, and its page must be able to
     * read the answer. */
    bool listed = kind == GATE_LISTED || kind == GATE_ANY;
    if (open && !(listed && gw_request_path_is(request, "/healthz")))
        return true;
    bool preflight = request->method == GW_OPTIONS && origin.data &&
                     gw_request_header(request, "access-control-request-method").data;
    if (kind == GATE_FOREIGN) {
        GW_STAT_ADD(gw_hub_stats(gw_conn_hub(conn)), forbidden, 1);
        gate_tell(conn, origin);
        gw_http_error(conn, GW_ERR_FORBIDDEN,
                      "pages of this origin may not use the gateway (web.origins lists those that may)");
        return false;
    }
    gate_allow(conn, kind, origin, preflight ? request : NULL);
    if (preflight) {
        gw_http_reply(conn, 204, NULL, NULL, NULL, 0);
        return false;
    }
    if (open || !gw_hub_auth(gw_conn_hub(conn)))
        return true;
    const char *why;
    enum gw_err err = gate_identify(conn, request, kind, &why);
    if (conn->identity)
        return true;
    if (conn->ticket.wait) /* the request comes again */
        return false;
    if (err == GW_ERR_OVERLOADED) { /* what it brought may be good */
        gw_http_error_headers(conn, err, why, "Retry-After: 1\r\n");
        return false;
    }
    /* A WebSocket may still say hello; and a browser learns why it was refused only from a close code. */
    struct gw_slice token;
    bool by_websocket = late == GW_LATE_ON_WEBSOCKET && request->upgrade && !gate_bearer(request, &token);
    if (late == GW_LATE_ALWAYS || by_websocket) {
        conn->refused = err;
        return true;
    }
    gw_http_error_headers(conn, err == GW_OK ? GW_ERR_UNAUTHORIZED : err, why,
                          "WWW-Authenticate: Bearer realm=\"sluice\"\r\n");
    return false;
}

void gw_gate_done(struct gw_conn *conn)
{
    gw_identity_unref(conn->identity);
    conn->identity = NULL;
    conn->refused = GW_OK;
}

struct gw_identity *gw_conn_identity(const struct gw_conn *conn)
{
    return conn->identity;
}

enum gw_err gw_conn_refused(const struct gw_conn *conn)
{
    return conn->refused;
}
