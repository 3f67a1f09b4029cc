/* protocols.c: what a listener may speak. */
#include "config/protocols.h"

static const char *const none[] = {NULL};
static const char *const *protocols = none;

void gw_protocols_use(const char *const *names)
{
    protocols = names;
}

const char *gw_protocol_name(size_t i)
{
    return i ? protocols[i - 1] : GW_PROTOCOL_HTTP;
}
