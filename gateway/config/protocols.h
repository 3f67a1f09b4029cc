/* protocols.h: what a listener may speak beside HTTP. The transports above say it (http/registry.c). Thread: any. */
#ifndef GW_CONFIG_PROTOCOLS_H
#define GW_CONFIG_PROTOCOLS_H

#include <stddef.h>

#define GW_PROTOCOL_HTTP "http"

/* The names, without GW_PROTOCOL_HTTP: NULL-terminated and static. Thread: main, before any other one. */
void gw_protocols_use(const char *const *names);
/* The name at that place, GW_PROTOCOL_HTTP first; NULL after the last. */
const char *gw_protocol_name(size_t i);

#endif
