/* registry.c: the transports there are, as app/builtins.c lists them. */
#include <stddef.h>
#include <string.h>

#include "config/protocols.h"
#include "gateway/transport.h"

static const struct gw_transport *const none[] = {NULL};
const struct gw_transport *const *gw_transports = none;

void gw_transports_use(const struct gw_transport *const *list)
{
    static const char *protocols[GW_STREAM_PROTOCOLS_MAX + 1];
    size_t count = 0;
    for (size_t i = 0; list[i]; i++) {
        if (list[i]->stream_protocol && count < GW_STREAM_PROTOCOLS_MAX)
            protocols[count++] = list[i]->stream_protocol;
    }
    protocols[count] = NULL;
    gw_transports = list;
    gw_protocols_use(protocols);
}

const struct gw_transport *gw_transport_of_stream(const char *protocol)
{
    for (size_t i = 0; gw_transports[i]; i++) {
        if (gw_transports[i]->stream_protocol && !strcmp(gw_transports[i]->stream_protocol, protocol))
            return gw_transports[i];
    }
    return NULL;
}
