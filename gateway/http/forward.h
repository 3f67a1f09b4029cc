/* forward.h: what proxies in front of the gateway say about their clients: X-Forwarded-For, X-Forwarded-Proto and the
 * PROXY header (HAProxy's proxy-protocol.txt, versions 1 and 2). Pure functions; thread: any. */
#ifndef GW_HTTP_FORWARD_H
#define GW_HTTP_FORWARD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#include "gateway/config.h"
#include "gateway/transport.h"

/* IPv4 is mapped, in6addr_any is no address at all: a Unix socket. */
bool gw_forward_trusted(const struct gw_strings *trusted, const struct in6_addr *address);

/* Goes through the hops from the nearest one: the first that is not trusted is the client; *address is then that.
 * Leaves *address alone if there is no such header. */
void gw_forward_address(const struct gw_request *request, const struct gw_strings *trusted, struct in6_addr *address);
/* Does X-Forwarded-Proto of the nearest hop say https? */
bool gw_forward_secure(const struct gw_request *request);

#define GW_PROXY_HEADER_MAX 4096

struct gw_proxy_header {
    bool has_address; /* false: a check of the proxy's own, or of a kind that has none */
    struct in6_addr address;
    bool secure; /* the client speaks TLS with the proxy */
};

/* Returns the header's length with *out filled; 0 if more is needed; -1 if it is none. */
int gw_proxy_parse(const char *data, size_t len, struct gw_proxy_header *out);

/* Numeric, IPv4 or IPv6. */
bool gw_address_parse(const char *text, size_t len, struct in6_addr *out);

#endif
