/* address.h: numeric addresses of clients. IPv4 is mapped into IPv6 (RFC 4291 section 2.5.5.2); in6addr_any is no
 * address at all: a Unix socket. Pure functions; thread: any. */
#ifndef GW_NET_ADDRESS_H
#define GW_NET_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#include "gateway/config.h"

bool gw_address_parse(const char *text, size_t len, struct in6_addr *out);
/* IPv4 as people write it. */
void gw_address_format(const struct in6_addr *address, char out[INET6_ADDRSTRLEN]);
/* Is it in one of the networks of that list (web.trusted_proxies)? */
bool gw_address_trusted(const struct gw_strings *trusted, const struct in6_addr *address);

#endif
