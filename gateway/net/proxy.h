/* proxy.h: the PROXY header (HAProxy's proxy-protocol.txt, versions 1 and 2), by which a proxy in front of the
 * gateway names its client before anything else is sent. */
#ifndef GW_NET_PROXY_H
#define GW_NET_PROXY_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

struct gw_sock;

#define GW_PROXY_HEADER_MAX 4096

struct gw_proxy_header {
    bool has_address; /* false: a check of the proxy's own, or of a kind that has none */
    struct in6_addr address;
    bool secure; /* the client speaks TLS with the proxy */
};

/* Returns the header's length with *out filled; 0 if more is needed; -1 if it is none. Pure; thread: any. */
int gw_proxy_parse(const char *data, size_t len, struct gw_proxy_header *out);

/* There is something to read and the header is not complete. Thread: the worker's. */
void gw_proxy_read(struct gw_sock *sock);
/* None is expected any more. Thread: the worker's. */
void gw_proxy_end(struct gw_sock *sock);

#endif
