/* wsconn.h: what the WebSocket side keeps for each worker, and for the process. Connections are reached through
 * include/gateway/transport.h. */
#ifndef GW_WEBSOCKET_WSCONN_H
#define GW_WEBSOCKET_WSCONN_H

struct gw_worker;

/* For struct gw_service. Thread: the worker's. */
void gw_ws_configure(struct gw_worker *worker);
void gw_ws_leave(struct gw_worker *worker);

#endif
