/* deflate.h: permessage-deflate (RFC 7692), without context takeover in either direction (docs/decisions/0013).
 *
 * So a message's compressed frame is the same for every session: it is made the first time that a session wants it
 * and kept with the message as a variant, for all workers. It is kept only if it is smaller than what it stands for,
 * so all of them together are bounded by the messages that are alive; besides, there is a bound on their bytes. */
#ifndef GW_WEBSOCKET_DEFLATE_H
#define GW_WEBSOCKET_DEFLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/buf.h"
#include "gateway/config.h"
#include "gateway/message.h"
#include "gateway/transport.h"

#define GW_DEFLATE_ANSWER_MAX 192

/* Reads the value of one Sec-WebSocket-Extensions header. True if an offer in it can be met (the first that can):
 * `answer` is then the header line for the 101, with CRLF. An offer with anything that RFC 7692 section 7.1 does not
 * know is passed over. Thread: any. */
bool gw_deflate_negotiate(struct gw_slice offers, char answer[GW_DEFLATE_ANSWER_MAX]);

/* --- down. Of the process, since messages belong to all workers. Thread: any. ----------------------------------- */

/* Takes over web.compression_min and limits.history, for what is compressed from now on. */
void gw_deflate_configure(const struct gw_config *config);
/* Frees what is kept for compressing. Nobody may be compressing. */
void gw_deflate_end(void);

/* A whole WebSocket frame in place of that form of the message, borrowed from it. Data NULL: send the message as it
 * is, because it is small, or compressing does not make it smaller, or the bound on compressed frames is reached. */
struct gw_slice gw_deflate_message(struct gw_message *msg, enum gw_ws_form form);

size_t gw_deflate_bytes(void);   /* of compressed frames now, with what it takes to keep them */
uint64_t gw_deflate_count(void); /* times that a message was compressed, or tried to */

/* --- up --------------------------------------------------------------------------------------------------------- */

/* zlib's state, 40 KiB. It remembers nothing between messages, so that one is enough for a worker. Thread: whoever
 * owns it. */
struct gw_inflater;

/* NULL: this zlib is not what we were built for. */
struct gw_inflater *gw_inflater_create(void);
/* NULL is fine. */
void gw_inflater_destroy(struct gw_inflater *inflater);

/* Inflates the payload of a whole message (all fragments). `out` must be empty, is never allocated for more than max
 * bytes, and is to be freed in any case. Returns 0, or the close code: 1007, it is no compressed data; 1009, it is
 * more than max bytes. */
int gw_inflate(struct gw_inflater *inflater, const char *data, size_t len, size_t max, struct gw_buf *out);

#endif
