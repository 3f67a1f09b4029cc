#include "http/http1.h"

#include <ctype.h>
#include <limits.h>
#include <string.h>
#include <strings.h>

bool gw_http_is_token(unsigned char c)
{
    /* RFC 9110 section 5.6.2 */
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool http_slice_is(struct gw_slice slice, const char *text)
{
    return slice.len == strlen(text) && !strncasecmp(slice.data, text, slice.len);
}

/* Is `word` an element of the comma-separated list? */
static bool http_list_has(struct gw_slice list, const char *word)
{
    if (!list.data)
        return false;
    const char *at = list.data, *end = list.data + list.len;
    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *stop = comma ? comma : end;
        struct gw_slice element = {at, (size_t)(stop - at)};
        while (element.len && (*element.data == ' ' || *element.data == '\t'))
            element.data++, element.len--;
        while (element.len && (element.data[element.len - 1] == ' ' || element.data[element.len - 1] == '\t'))
            element.len--;
        if (http_slice_is(element, word))
            return true;
        at = comma ? comma + 1 : end;
    }
    return false;
}

/* The same over all lines of that name: they are one list (RFC 9110 section 5.3). */
static bool http_header_has(const struct gw_request *request, const char *name, const char *word)
{
    for (unsigned i = 0; i < request->header_count; i++) {
        if (http_slice_is(request->headers[i].name, name) && http_list_has(request->headers[i].value, word))
            return true;
    }
    return false;
}

struct gw_slice gw_request_header(const struct gw_request *request, const char *name)
{
    for (unsigned i = 0; i < request->header_count; i++) {
        if (http_slice_is(request->headers[i].name, name))
            return request->headers[i].value;
    }
    return (struct gw_slice){NULL, 0};
}

static enum gw_method http_method(struct gw_slice name)
{
    static const struct {
        const char *name;
        enum gw_method method;
    } methods[] = {{"GET", GW_GET}, {"HEAD", GW_HEAD}, {"POST", GW_POST}, {"OPTIONS", GW_OPTIONS}};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (name.len == strlen(methods[i].name) && !memcmp(name.data, methods[i].name, name.len))
            return methods[i].method;
    }
    return GW_OTHER_METHOD;
}

/* uri-host [ ":" port ] (RFC 9112 section 3.2, RFC 3986 section 3.2.2). Empty is valid: a target without authority.
 */
static bool http_host_valid(struct gw_slice host)
{
    size_t i = 0;
    if (host.len && host.data[0] == '[') {
        const char *end = memchr(host.data, ']', host.len);
        if (!end || end == host.data + 1)
            return false;
        for (i = 1; host.data + i < end; i++) {
            char c = host.data[i];
            if (!(gw_http_hex(c) >= 0 || c == ':' || c == '.'))
                return false;
        }
        i++;
    } else {
        for (; i < host.len && host.data[i] != ':'; i++) {
            char c = host.data[i];
            if (c == '%') {
                if (host.len - i < 3 || gw_http_hex(host.data[i + 1]) < 0 || gw_http_hex(host.data[i + 2]) < 0)
                    return false;
                i += 2;
            } else if (!isalnum((unsigned char)c) && !memchr("-._~!$&'()*+,;=", c, 15)) {
                return false;
            }
        }
    }
    if (i == host.len)
        return true;
    if (host.data[i] != ':' || (i == 0 && host.len > 0))
        return false;
    size_t digits = host.len - i - 1;
    if (digits > 5)
        return false;
    for (i++; i < host.len; i++) {
        if (host.data[i] < '0' || host.data[i] > '9')
            return false;
    }
    return true;
}

/* `GET /path?query HTTP/1.1`, without the line end. Returns 0 or the status. */
static int http_request_line(const char *line, size_t len, struct gw_request *out, bool *http10, const char **why)
{
    const char *end = line + len, *space = memchr(line, ' ', len);
    *why = "the request line is malformed (METHOD TARGET HTTP/1.1 expected)";
    if (!space || space == line)
        return 400;
    for (const char *c = line; c < space; c++) {
        if (!gw_http_is_token((unsigned char)*c))
            return 400;
    }
    out->method = http_method((struct gw_slice){line, (size_t)(space - line)});
    const char *target = space + 1, *version = memchr(target, ' ', (size_t)(end - target));
    if (!version)
        return 400;
    size_t target_len = (size_t)(version - target);
    version++;
    if (end - version != 8 || memcmp(version, "HTTP/", 5) != 0 || version[6] != '.')
        return 400;
    *why = "the HTTP version is not supported (HTTP/1.1 expected)";
    if (version[5] != '1' || (version[7] != '0' && version[7] != '1'))
        return 505;
    *http10 = version[7] == '0';

    *why = "the request target is malformed (a path beginning with / expected)";
    /* RFC 9112 section 3.2.2: the absolute form must be understood, for requests through proxies. */
    static const char root[] = "/";
    size_t scheme = target_len > 7 && !strncasecmp(target, "http://", 7)    ? 7
                    : target_len > 8 && !strncasecmp(target, "https://", 8) ? 8
                                                                            : 0;
    if (scheme) {
        size_t host = scheme;
        while (host < target_len && target[host] != '/' && target[host] != '?')
            host++;
        if (host == scheme || !http_host_valid((struct gw_slice){target + scheme, host - scheme}))
            return 400;
        out->authority = (struct gw_slice){target + scheme, host - scheme};
        target += host;
        target_len -= host;
        if (!target_len) { /* an empty path is `/` (RFC 9110 section 4.2.3) */
            target = root;
            target_len = 1;
        } else if (*target == '?') {
            for (size_t i = 0; i < target_len; i++) {
                if ((unsigned char)target[i] <= 0x20 || target[i] == 0x7f || target[i] == '#')
                    return 400;
            }
            out->path = (struct gw_slice){root, 1};
            out->query = (struct gw_slice){target + 1, target_len - 1};
            return 0;
        }
    }
    if (out->method == GW_OPTIONS && target_len == 1 && *target == '*') {
        out->path = (struct gw_slice){target, 1}; /* the server as a whole (RFC 9110 section 9.3.7) */
        return 0;
    }
    if (!target_len || target[0] != '/')
        return 400;
    for (size_t i = 0; i < target_len; i++) {
        if ((unsigned char)target[i] <= 0x20 || target[i] == 0x7f || target[i] == '#')
            return 400;
    }
    const char *question = memchr(target, '?', target_len);
    out->path = (struct gw_slice){target, question ? (size_t)(question - target) : target_len};
    out->query =
        question ? (struct gw_slice){question + 1, target_len - out->path.len - 1} : (struct gw_slice){"", 0};
    return 0;
}

static int http_header_line(const char *line, size_t len, struct gw_request *out, const char **why)
{
    *why = "a header line is malformed (Name: value expected)";
    const char *colon = memchr(line, ':', len);
    if (!colon || colon == line)
        return 400; /* also a folded line: it begins with a blank, which is no token */
    for (const char *c = line; c < colon; c++) {
        if (!gw_http_is_token((unsigned char)*c))
            return 400;
    }
    struct gw_slice value = {colon + 1, len - (size_t)(colon + 1 - line)};
    while (value.len && (*value.data == ' ' || *value.data == '\t'))
        value.data++, value.len--;
    while (value.len && (value.data[value.len - 1] == ' ' || value.data[value.len - 1] == '\t'))
        value.len--;
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.data[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return 400;
    }
    if (out->header_count == GW_HEADERS_MAX) {
        *why = "too many header lines (at most 64)";
        return 431;
    }
    out->headers[out->header_count].name = (struct gw_slice){line, (size_t)(colon - line)};
    out->headers[out->header_count++].value = value;
    return 0;
}

/* Headers of which two would leave open whose word counts: the proxy's or the client's. Returns 0 or the status. */
static int http_single(const struct gw_request *request, const char **why)
{
    static const char *const names[] = {"authorization", "origin", "sec-websocket-key", "sec-websocket-version",
                                        "last-event-id"};
    *why = "a header that may come only once comes twice (Authorization, Origin, Last-Event-ID, Sec-WebSocket-Key "
           "and Sec-WebSocket-Version)";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        unsigned count = 0;
        for (unsigned j = 0; j < request->header_count; j++)
            count += http_slice_is(request->headers[j].name, names[i]);
        if (count > 1)
            return 400;
    }
    return 0;
}

/* What the headers mean for framing (RFC 9112 section 6). Anything ambiguous is refused: that is where request
 * smuggling lives. */
static int http_framing(struct gw_request *out, bool http10, const char **why)
{
    unsigned lengths = 0, encodings = 0, hosts = 0;
    for (unsigned i = 0; i < out->header_count; i++) {
        struct gw_slice name = out->headers[i].name, value = out->headers[i].value;
        if (http_slice_is(name, "content-length")) {
            *why = "Content-Length is malformed (one decimal number expected)";
            if (lengths++ || !value.len || value.len > 15)
                return 400;
            for (size_t j = 0; j < value.len; j++) {
                if (value.data[j] < '0' || value.data[j] > '9')
                    return 400;
                out->content_length = out->content_length * 10 + (size_t)(value.data[j] - '0');
            }
        } else if (http_slice_is(name, "transfer-encoding")) {
            *why = "this Transfer-Encoding is not supported (chunked expected)";
            if (encodings++ || !http_slice_is(value, "chunked"))
                return 501;
            out->chunked = true;
        } else if (http_slice_is(name, "host")) {
            hosts++;
            *why = "Host is malformed (a name or an address, and perhaps a port, expected)";
            if (!http_host_valid(value))
                return 400;
            if (out->authority.data) /* it counts, and not the header (RFC 9112 section 3.2.2) */
                out->headers[i].value = out->authority;
        } else if (http_slice_is(name, "expect")) {
            out->expect_continue = http_slice_is(value, "100-continue");
        }
    }
    *why = "Content-Length and Transfer-Encoding exclude each other";
    if (lengths && encodings)
        return 400;
    *why = "exactly one Host header expected";
    if (hosts > 1 || (!hosts && !http10))
        return 400;
    *why = "Transfer-Encoding needs HTTP/1.1";
    if (http10 && encodings)
        return 400;

    /* `close` wins over whatever else is there (RFC 9112 section 9.3). */
    out->keep_alive =
        !http_header_has(out, "connection", "close") && (!http10 || http_header_has(out, "connection", "keep-alive"));
    /* RFC 9110 section 7.8: Upgrade means nothing in HTTP/1.0. */
    out->upgrade = !http10 && out->method == GW_GET && http_header_has(out, "connection", "upgrade") &&
                   http_header_has(out, "upgrade", "websocket");
    out->http10 = http10;
    return http_single(out, why);
}

int gw_http_parse(const char *data, size_t len, size_t max, struct gw_request *out, const char **why)
{
    *why = "the request line and headers are too large";
    /* RFC 9112 section 2.2: empty lines before a request are ignored. */
    size_t at = 0;
    while (at < len && (data[at] == '\r' || data[at] == '\n'))
        at++;
    size_t start = at;
    bool first = true, http10 = false;
    *out = (struct gw_request){.query = {"", 0}, .body = {"", 0}};
    for (;;) {
        const char *newline = memchr(data + at, '\n', len - at);
        if (!newline) {
            if (len - start > max)
                return -431;
            if (first && len > start) { /* refuse what can't become a request before its line ends */
                for (size_t i = start; i < len && data[i] != ' ' && i < start + 32; i++) {
                    if (!gw_http_is_token((unsigned char)data[i])) {
                        *why = "this is not HTTP (METHOD TARGET HTTP/1.1 expected)";
                        return -400;
                    }
                }
            }
            return 0;
        }
        size_t line_len = (size_t)(newline - (data + at));
        const char *line = data + at;
        at += line_len + 1;
        if (at - start > max)
            return -431;
        if (line_len && line[line_len - 1] == '\r')
            line_len--;
        if (!first && !line_len)
            break;
        int status =
            first ? http_request_line(line, line_len, out, &http10, why) : http_header_line(line, line_len, out, why);
        if (status)
            return -status;
        first = false;
    }
    int status = http_framing(out, http10, why);
    if (status)
        return -status;
    return at <= INT_MAX ? (int)at : -431;
}

const char *gw_http_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {304, "Not Modified"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {413, "Content Too Large"},
        {416, "Range Not Satisfiable"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if (reasons[i].status == status)
            return reasons[i].reason;
    }
    return "Unknown";
}
