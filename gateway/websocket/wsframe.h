/* wsframe.h: WebSocket frames from clients (RFC 6455 section 5). Pure functions; thread: any.
 *
 * libwebsockets 4.1 takes frames that a server must refuse, unmasked ones for example (docs/decisions/0001). */
#ifndef GW_WEBSOCKET_WSFRAME_H
#define GW_WEBSOCKET_WSFRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum gw_ws_opcode {
    GW_WS_CONTINUATION = 0,
    GW_WS_TEXT = 1,
    GW_WS_BINARY = 2,
    GW_WS_CLOSE = 8,
    GW_WS_PING = 9,
    GW_WS_PONG = 10
};

struct gw_ws_frame {
    bool fin;
    bool deflated; /* RSV1: the message that begins here is compressed */
    enum gw_ws_opcode opcode;
    uint8_t mask[4];
    size_t header_len;
    size_t payload_len;
};

/* Reads a frame header. `deflate`: permessage-deflate was negotiated. Returns 1 with *out filled (the payload may not
 * be there yet), 0 if more bytes are needed, or minus the close code: -1002 for a protocol error, -1009 if the
 * payload is longer than max. *why is a static phrase. */
int gw_ws_read_header(const uint8_t *data, size_t len, size_t max, bool deflate, struct gw_ws_frame *out,
                      const char **why);

/* Section 5.3; the same operation masks and unmasks. */
void gw_ws_unmask(char *data, size_t len, const uint8_t mask[4]);

/* May a peer send this close code (section 7.4)? */
bool gw_ws_close_code_valid(unsigned code);

#endif
