/* origin.c: origins of web pages: which the configuration may list, and which match. */
#include "config/origin.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define LOWER  "abcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"

struct origin {
    struct gw_slice scheme, host, port; /* port.data NULL: none */
};

static bool origin_is(struct gw_slice slice, const char *text)
{
    return slice.len == strlen(text) && !memcmp(slice.data, text, slice.len);
}

/* False if there is no `://`. */
static bool origin_split(struct gw_slice text, struct origin *out)
{
    *out = (struct origin){0};
    const char *mark = memmem(text.data, text.len, "://", 3);
    if (!mark)
        return false;
    out->scheme = (struct gw_slice){text.data, (size_t)(mark - text.data)};
    const char *host = mark + 3;
    size_t len = text.len - out->scheme.len - 3;
    const char *bracket = memchr(host, ']', len);
    const char *colon = bracket ? memchr(bracket, ':', len - (size_t)(bracket - host)) : memrchr(host, ':', len);
    out->host = (struct gw_slice){host, colon ? (size_t)(colon - host) : len};
    if (colon)
        out->port = (struct gw_slice){colon + 1, len - out->host.len - 1};
    return true;
}

static bool origin_all_of(struct gw_slice slice, const char *set)
{
    for (size_t i = 0; i < slice.len; i++) {
        if (!slice.data[i] || !strchr(set, slice.data[i]))
            return false;
    }
    return slice.len > 0;
}

/* Labels with one dot between, none of them empty. */
static bool origin_labels(struct gw_slice host)
{
    if (!origin_all_of(host, LOWER DIGITS "-_.") || host.data[0] == '.' || host.data[host.len - 1] == '.')
        return false;
    return !memmem(host.data, host.len, "..", 2);
}

static bool origin_is_web(struct gw_slice scheme)
{
    return origin_is(scheme, "http") || origin_is(scheme, "https");
}

static bool origin_port_valid(const struct origin *origin)
{
    if (!origin->port.data || origin_is(origin->port, "*"))
        return true;
    if (!origin_all_of(origin->port, DIGITS) || origin->port.len > 5 || origin->port.data[0] == '0')
        return false;
    long port = strtol(origin->port.data, NULL, 10);
    /* Browsers leave out the scheme's own port. */
    return port <= 65535 && port != (origin_is(origin->scheme, "https") ? 443 : 80);
}

static bool origin_text_valid(const char *text)
{
    struct origin origin;
    if (!strcmp(text, "*") || !strcmp(text, "null"))
        return true;
    if (!origin_split((struct gw_slice){text, strlen(text)}, &origin) ||
        !origin_all_of(origin.scheme, LOWER DIGITS "+-.") || !islower((unsigned char)origin.scheme.data[0]) ||
        origin_is(origin.scheme, "ws") || origin_is(origin.scheme, "wss"))
        return false;
    struct gw_slice host = origin.host;
    if (!origin_is_web(origin.scheme)) /* apps have what they like for a host, and file:// has none */
        return !origin.port.data &&
               (!host.len || origin_all_of(host, LOWER "ABCDEFGHIJKLMNOPQRSTUVWXYZ" DIGITS "-_."));
    if (!origin_port_valid(&origin))
        return false;
    if (host.len > 2 && host.data[0] == '[')
        return host.data[host.len - 1] == ']' &&
               origin_all_of((struct gw_slice){host.data + 1, host.len - 2}, "abcdef:." DIGITS);
    if (host.len > 2 && !memcmp(host.data, "*.", 2))
        host = (struct gw_slice){host.data + 2, host.len - 2};
    return origin_labels(host);
}

bool gw_origin_valid(const char *text, struct gw_buf *hint)
{
    if (origin_text_valid(text))
        return true;
    /* What people write: an address with a path, in capitals, without a scheme, of a WebSocket, with port 443. */
    struct gw_buf guess = {0};
    const char *rest = strstr(text, "://");
    size_t scheme = rest ? (size_t)(rest - text) : 0;
    rest = rest ? rest + 3 : text;
    if (scheme == 2 && !strncasecmp(text, "ws", 2))
        gw_buf_adds(&guess, "http");
    else if (!scheme || (scheme == 3 && !strncasecmp(text, "wss", 3)))
        gw_buf_adds(&guess, "https");
    else
        gw_buf_add(&guess, text, scheme);
    gw_buf_adds(&guess, "://");
    size_t len = strcspn(rest, "/?#");
    const char *at = memchr(rest, '@', len);
    if (at) {
        len -= (size_t)(at + 1 - rest);
        rest = at + 1;
    }
    gw_buf_add(&guess, rest, len);
    for (size_t i = 0; i < guess.len; i++)
        guess.data[i] = (char)tolower((unsigned char)guess.data[i]);
    const char *port = !strncmp(guess.data, "https:", 6) ? ":443" : ":80";
    size_t port_len = strlen(port);
    if (guess.len > port_len && !strcmp(guess.data + guess.len - port_len, port))
        guess.data[guess.len -= port_len] = '\0';
    if (origin_text_valid(guess.data))
        gw_buf_add(hint, guess.data, guess.len);
    gw_buf_fini(&guess);
    return false;
}

enum gw_origin_match gw_origin_match(const char *listed, struct gw_slice origin)
{
    struct origin want, have;
    if (!strcmp(listed, "*"))
        return GW_ORIGIN_PATTERN;
    if (origin_is(origin, listed))
        return strcmp(listed, "null") != 0 && strcmp(listed, "file://") != 0 ? GW_ORIGIN_EXACT : GW_ORIGIN_PATTERN;
    if (!strchr(listed, '*') || !origin_split((struct gw_slice){listed, strlen(listed)}, &want) ||
        !origin_split(origin, &have) || want.scheme.len != have.scheme.len ||
        memcmp(want.scheme.data, have.scheme.data, want.scheme.len) != 0)
        return GW_ORIGIN_OTHER;
    bool port = want.port.data && origin_is(want.port, "*")
                    ? !have.port.data || (have.port.len <= 5 && origin_all_of(have.port, DIGITS))
                    : want.port.len == have.port.len && !want.port.data == !have.port.data &&
                          (!want.port.len || !memcmp(want.port.data, have.port.data, want.port.len));
    if (!port)
        return GW_ORIGIN_OTHER;
    bool same = want.host.len == have.host.len && !memcmp(want.host.data, have.host.data, want.host.len);
    if (want.host.len > 2 && want.host.data[0] == '*') {
        struct gw_slice end = {want.host.data + 1, want.host.len - 1}; /* with its dot */
        same = have.host.len > end.len && origin_labels(have.host) &&
               !memcmp(have.host.data + have.host.len - end.len, end.data, end.len);
    }
    return same ? GW_ORIGIN_PATTERN : GW_ORIGIN_OTHER;
}
