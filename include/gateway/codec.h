/* codec.h: the seam between what a device sent and what `data` is in a message object.
 *
 * A codec is a constant table of functions without state; add one in gateway/codec/NAME.c, one line in
 * builtins.c and one in CMakeLists.txt. Thread: any, all functions are pure. */
#ifndef GATEWAY_CODEC_H
#define GATEWAY_CODEC_H

#include <stdbool.h>
#include <stddef.h>

#include "gateway/buf.h"
#include "gateway/error.h"

struct gw_decoded {
    /* JSON text of `data`: either inside the payload itself (nothing was copied) or inside the scratch buffer. */
    const char *json;
    size_t len;
    bool binary;   /* the payload isn't UTF-8 text: raw sockets send it as a binary frame */
    bool replaces; /* raw sockets send `json`, not the payload */
};

/* The message that a payload becomes. */
struct gw_codec_place {
    const char *channel;
    size_t channel_len;
    const char *content_type;   /* that its route says; NULL: none */
    struct gw_slice properties; /* that came along with it, a block of properties.h; len 0: none */
};

struct gw_codec {
    const char *name; /* as in the route's `codec:` */

    /* MQTT payload -> JSON text. len is 1 or more (an empty payload is `null`, and clears the last value, for
     * every codec; it never gets here).
     * `scratch` is empty on entry, owned by the caller, and must outlive *out.
     * GW_ERR_NOT_JSON (or GW_ERR_BAD_PAYLOAD for a number that is none): the message is counted and dropped. */
    GW_MUST_CHECK enum gw_err (*decode)(const char *payload, size_t len, struct gw_buf *scratch,
                                        struct gw_decoded *out);

    /* In place of decode() where a message is made of the payload, for a codec whose JSON depends on the message.
     * NULL: decode(). */
    GW_MUST_CHECK enum gw_err (*decode_at)(const char *payload, size_t len, const struct gw_codec_place *place,
                                           struct gw_buf *scratch, struct gw_decoded *out);

    /* Appends a phrase for the log: what is wrong with a payload that decode() has refused, at which byte (from 1),
     * and what to do. It may be slow. It quotes nothing of the payload beyond a single character. */
    void (*explain)(const char *payload, size_t len, struct gw_buf *out);

    /* May a client publish this payload, byte for byte? len is 1 or more. NULL: whatever decode() takes. */
    bool (*publishable)(const char *payload, size_t len);

    /* JSON text of a client's `data` (already validated, one JSON value, maybe with blanks around) -> MQTT payload,
     * appended to out. `null` never gets here: it is the empty payload for every codec. GW_ERR_BAD_PAYLOAD: *why
     * names in a static sentence what was expected. */
    GW_MUST_CHECK enum gw_err (*encode)(const char *json, size_t len, struct gw_buf *out, const char **why);
};

/* What there is; NULL-terminated. The first is the default. */
extern const struct gw_codec *const *gw_codecs;

/* Sets it: NULL-terminated and static. Thread: main, before any other one. */
void gw_codecs_use(const struct gw_codec *const *list);

/* NULL if there is none of that name. */
const struct gw_codec *gw_codec_find(const char *name);

#endif
