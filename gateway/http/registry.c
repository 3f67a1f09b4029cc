/* registry.c: the transports there are, as app/builtins.c lists them. */
#include <stddef.h>

#include "gateway/transport.h"

static const struct gw_transport *const none[] = {NULL};
const struct gw_transport *const *gw_transports = none;

void gw_transports_use(const struct gw_transport *const *list)
{
    gw_transports = list;
}
