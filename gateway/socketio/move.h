/* move.h: a connection of Engine.IO on its way to the worker that has its WebSocket. */
#ifndef GW_SOCKETIO_MOVE_H
#define GW_SOCKETIO_MOVE_H

#include "socketio/engine.h"

struct moved;

/* A connection of Engine.IO on its way. */
struct eio_package {
    bool taken; /* there is one */
    struct gw_identity *identity;
    enum gw_err refused;
    struct gw_config *config;
    struct gw_bucket packets;
    int64_t ping_due_ms, pong_by_ms, connect_by_ms;
    struct gw_buf frames; /* what waited for the client */
    struct moved *sockets;
};

/* Takes everything of `eio`, of which nothing may wait but its frames. Its sessions go, or only wait for receipts,
 * which they send to `worker`. Thread: of `eio`. */
void gw_eio_pack(struct eio *eio, unsigned worker, struct eio_package *package);
/* Makes it go on with this WebSocket. Thread: of `conn`. */
struct eio *gw_eio_unpack(struct eio_package *package, struct gw_conn *conn, const char *sid);
/* Thread: any. */
void gw_eio_package_fini(struct eio_package *package);

#endif
