/* form.h: what messages and gaps look like to a page: packets of Socket.IO, as frames or as parts of a payload.
 *
 * A shape is what of the configuration decides the bytes, and a namespace. Sessions of one shape get the same frames,
 * which are made once for each message and shared (gw_message_keep_variant()). */
#ifndef GW_SOCKETIO_FORM_H
#define GW_SOCKETIO_FORM_H

#include <stdbool.h>

#include "gateway/transport.h"
#include "socketio/options.h"

struct sio_shape;

/* The shape of a namespace. It lives as long as the process, since messages keep frames by its address: the same
 * configuration gives the same shape. Thread: any. */
const struct sio_shape *gw_sio_shape_get(const struct gw_sio_options *options, const char *space);
const char *gw_sio_shape_space(const struct sio_shape *shape);
/* For gw_conn_drain(): frames with offsets. NULL where there have been too many shapes: those sessions send what
 * gw_sio_add_message() makes. Thread: any. */
gw_encode gw_sio_shape_encode(const struct sio_shape *shape);

/* struct gw_transport: explain(). */
void gw_sio_explain(const struct gw_config *config, const char *channel, size_t len, struct gw_buf *out);

/* How packets get to the client. */
enum sio_carrier { SIO_FRAMES, SIO_PAYLOAD };

/* Each appends whole packets: frames of a WebSocket, or packets of a payload, with a separator where `out` has
 * something. */
void gw_sio_add_packet(struct gw_buf *out, enum sio_carrier carrier, const char *packet, size_t len);
/* Appends an object of protocol.h without its first member, the type: the event's name says that. */
void gw_sio_add_untyped(struct gw_buf *out, const struct gw_buf *json);
/* `offset`: the cursor is the last argument, with this text behind it, so that the client goes on from there; NULL:
 * it is not. Returns how many packets. */
unsigned gw_sio_add_message(struct gw_buf *out, enum sio_carrier carrier, const struct sio_shape *shape,
                            struct gw_message *msg, const char *offset);
void gw_sio_add_gap(struct gw_buf *out, enum sio_carrier carrier, const struct sio_shape *shape,
                    const struct gw_gap *gap);

#endif
