/* shared.h: what any of several gateways may take back, once, wherever its client comes to: tickets. It lies in the
 * engine that they share (engine.h); a gateway without such an engine has none of this. Thread: the hub's. */
#ifndef GATEWAY_SHARED_H
#define GATEWAY_SHARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/error.h"

struct gw_hub;

/* Does the hub's gateway share an engine with others? If not, the functions below must not be called. */
bool gw_hub_shares(const struct gw_hub *hub);

/* A question on its way. */
struct gw_shared_wait;

/* The answer, in a later turn of the loop. GW_OK: it has been put, or taken: `text` (NUL-terminated, borrowed) is
 * what it was. GW_ERR_NOT_FOUND: there is none such (any more). GW_ERR_OVERLOADED: the engine is away. */
typedef void (*gw_shared_done)(void *context, enum gw_err err, const char *text, size_t len);

/* Both copy what they are given. `done` NULL: nobody waits. The wait is over with done() or gw_shared_forget(). */
struct gw_shared_wait *gw_shared_put(struct gw_hub *hub, const char *key, const char *text, size_t len,
                                     int64_t ttl_ms, gw_shared_done done, void *context);
struct gw_shared_wait *gw_shared_take(struct gw_hub *hub, const char *key, gw_shared_done done, void *context);
/* done() will not be called. NULL is fine. */
void gw_shared_forget(struct gw_shared_wait *wait);

#endif
