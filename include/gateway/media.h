/* media.h: what kind of bytes a payload is (RFC 2046, WHATWG MIME Sniffing), and the tag by which it is cached.
 * Thread: any. */
#ifndef GATEWAY_MEDIA_H
#define GATEWAY_MEDIA_H

#include <stdbool.h>
#include <stddef.h>

#include "gateway/buf.h"
#include "gateway/message.h"

/* A tag as a text, with its NUL: 96 bits of SHA-256 as base64url. */
#define GW_MEDIA_TAG 17

/* May a payload be served under this type? It has the form of a media type, with parameters that are tokens, and it
 * is one that browsers run nothing of: pictures, audio and video except those in XML, and a short list of data. */
bool gw_media_type_allowed(const char *text, size_t len);
/* The type by the payload's first bytes, or by what all of them are: a short list, at its end
 * application/octet-stream. Never one that a browser runs: HTML, SVG and scripts are text/plain. Static storage. */
const char *gw_media_sniff(const char *payload, size_t len);

/* The type of a payload: what its route says (NULL: nothing), else what came along with it in `properties` (a block
 * of properties.h) and is allowed, else what it looks like. Borrowed from those; of 1 to 127 visible characters and
 * blanks. */
struct gw_slice gw_media_type(const char *of_route, struct gw_slice properties, const char *payload, size_t len);
bool gw_media_is_picture(struct gw_slice type);

/* Equal payloads have equal tags, in every gateway. */
void gw_media_tag(const char *payload, size_t len, char tag[GW_MEDIA_TAG]);
/* That of a message's payload, made once. Borrowed from the message. */
const char *gw_media_tag_of(struct gw_message *msg);

/* Appends the address of a channel's payload with this tag, below the gateway's own: channels/NAME/raw?v=TAG. */
void gw_media_address(struct gw_buf *out, const char *channel, size_t len, const char *tag);

#endif
