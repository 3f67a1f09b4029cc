/* forward.h: what proxies in front of the gateway say about their clients in X-Forwarded-For and X-Forwarded-Proto.
 * Pure functions; thread: any. */
#ifndef GW_HTTP_FORWARD_H
#define GW_HTTP_FORWARD_H

#include <netinet/in.h>
#include <stdbool.h>

#include "gateway/config.h"
#include "gateway/transport.h"

/* Goes through the hops from the nearest one: the first that is not trusted is the client; *address is then that.
 * Leaves *address alone if there is no such header. */
void gw_forward_address(const struct gw_request *request, const struct gw_strings *trusted, struct in6_addr *address);
/* Does X-Forwarded-Proto of the nearest hop say https? */
bool gw_forward_secure(const struct gw_request *request);

#endif
