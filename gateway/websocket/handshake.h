/* handshake.h: what a client's handshake says, as pure functions (RFC 6455 section 4.2). Thread: any. */
#ifndef GW_WEBSOCKET_HANDSHAKE_H
#define GW_WEBSOCKET_HANDSHAKE_H

#include "gateway/transport.h"

/* The value of Sec-WebSocket-Accept, NUL-terminated. False: Sec-WebSocket-Key is missing, malformed or there twice.
 */
bool gw_ws_accept_key(const struct gw_request *request, char out[32]);

#endif
