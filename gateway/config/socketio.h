/* socketio.h: what the table of `socketio:` can't say. Thread: any. */
#ifndef GW_CONFIG_SOCKETIO_H
#define GW_CONFIG_SOCKETIO_H

#include "config/tree.h"
#include "gateway/config.h"

/* Completes config->socketio, whose fields have been read, and checks it. `node` is that of `socketio:`, or NULL. */
void gw_socketio_read(struct gw_config *config, const struct gw_node *node, struct gw_problems *problems);

/* Events of the client library itself: no packet may have such a name. */
bool gw_socketio_event_reserved(const char *name, size_t len);

#endif
