/* packet.h: packets of Engine.IO 4 and Socket.IO 5, parsed and written. Pure functions; thread: any.
 *
 * An Engine.IO packet is a type digit and its data, or binary data alone. A Socket.IO packet is the data of an
 * Engine.IO message:
 *
 *   type [attachments "-"] [namespace ","] [id] [JSON]
 *
 * Specifications: docs/engine.io-protocol and docs/socket.io-protocol of socketio/socket.io. */
#ifndef GW_SOCKETIO_PACKET_H
#define GW_SOCKETIO_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/buf.h"

/* The first byte of an Engine.IO packet. */
enum gw_eio_type {
    GW_EIO_OPEN = '0',
    GW_EIO_CLOSE = '1',
    GW_EIO_PING = '2',
    GW_EIO_PONG = '3',
    GW_EIO_MESSAGE = '4',
    GW_EIO_UPGRADE = '5',
    GW_EIO_NOOP = '6',
    GW_EIO_BINARY = 'b' /* polling only: base64 follows */
};

/* Between the packets of one payload of polling. JSON text holds none: control characters are escaped there. */
#define GW_EIO_SEPARATOR '\x1e'

/* Steps through the packets of a payload: start with *at = 0. False at the end. A packet may be empty. */
bool gw_eio_next(const char *payload, size_t len, size_t *at, struct gw_slice *packet);

enum gw_sio_type {
    GW_SIO_CONNECT,
    GW_SIO_DISCONNECT,
    GW_SIO_EVENT,
    GW_SIO_ACK,
    GW_SIO_CONNECT_ERROR,
    GW_SIO_BINARY_EVENT,
    GW_SIO_BINARY_ACK
};

/* More attachments of one packet are refused, as the parser of socket.io does. */
#define GW_SIO_ATTACHMENTS_MAX 10

struct gw_sio_packet {
    enum gw_sio_type type;
    unsigned attachments;  /* binary frames that follow */
    struct gw_slice space; /* the namespace; "/" if the packet names none */
    bool has_id;           /* it wants an acknowledgement */
    uint64_t id;
    struct gw_slice json; /* inside the given text; data NULL: none */
};

/* Parses what a client sent, without the digit of Engine.IO. Returns NULL, or in a static phrase what is wrong. */
const char *gw_sio_parse(const char *text, size_t len, struct gw_sio_packet *out);

/* Appends the JSON with `{"base64":"..."}` in the place of each placeholder. False, and `out` of no use: there is a
 * placeholder without attachment. `json` is valid. */
bool gw_sio_fill(struct gw_slice json, const struct gw_buf *attachments, unsigned count, struct gw_buf *out);
/* Is the value a placeholder and nothing else? *num gets its number. */
bool gw_sio_placeholder(struct gw_slice value, unsigned *num);

/* Appends the head of a packet as an Engine.IO message: `4`, the type, the namespace unless it is "/", the id. */
void gw_sio_add_head(struct gw_buf *out, enum gw_sio_type type, const char *space);
void gw_sio_add_head_id(struct gw_buf *out, enum gw_sio_type type, const char *space, uint64_t id);

#endif
