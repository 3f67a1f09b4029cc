/* transform.h: the seam between one payload and the messages that it becomes.
 *
 * A route has a codec, which makes one value of one payload (codec.h), or a transform, which makes none, one or
 * several messages. A transform sees the topic with its captures, has a state that is made from its options when the
 * routes are built, and may add captures of its own: `channel: devices/{device}/{member}` is filled with {device}
 * from the topic and {member} from the transform, for each message. So everything that goes by a channel's name
 * (subscribing, roles, explain, publishing) works as for any other route.
 *
 * Each message gets its own number from the engine and its own place in the channel's history, in the order in which
 * it was emitted. What one payload makes is not one step for a client: a resume may begin between two of them.
 *
 * A transform is a constant table; add one in gateway/transform/NAME.c, one line in builtins.c and one in
 * CMakeLists.txt. `transform: NAME` is then valid in a route. */
#ifndef GATEWAY_TRANSFORM_H
#define GATEWAY_TRANSFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/buf.h"
#include "gateway/capture.h"
#include "gateway/codec.h"
#include "gateway/error.h"

struct gw_options;

/* What create() gets. Everything outlives the state. */
struct gw_transform_setup {
    const struct gw_codec *codec; /* of the route: what values and bare payloads are made with */
    const void *options;          /* the struct of the transform's options, filled; NULL if it has none */
    const char *channel;          /* template of the route, as written; NULL: the topic itself */
};

/* A payload. Everything is borrowed until apply() returns. */
struct gw_transform_input {
    const char *topic;
    size_t topic_len;
    const struct gw_captures *captures; /* of the topic */
    const char *payload;
    size_t payload_len; /* 0: the device has cleared what the broker stored */
    bool retained;      /* the broker sent it as a stored value */
    int64_t ts;         /* wall clock at arrival, ms since 1970 */
};

/* A message. Everything is borrowed until emit() returns. */
struct gw_transform_message {
    const struct gw_slice *values; /* of the transform's captures, in their order; NULL if it has none */
    const char *json;              /* `data`: one value, valid JSON text. NULL: `clear` must be set */
    size_t json_len;
    const char *payload; /* what raw sockets get; NULL: `json` */
    size_t payload_len;
    bool binary; /* `payload` isn't UTF-8 text */
    bool clear;  /* the channel has no last value from now on; `data` is null, and the payload empty */
};

struct gw_transform_output {
    void *context;
    /* False: the message was not taken (limits.payload_messages has been reached), nor will another one be. */
    bool (*emit)(void *context, const struct gw_transform_message *message);
};

struct gw_transform {
    const char *name; /* as in the route's `transform:` */

    /* Names of the captures that it adds, NULL-terminated; NULL: none. `channel` must use each of them. */
    const char *const *captures;

    /* Its options in the file, `transform: { NAME: { … } }`; NULL: none. Its key is the name. */
    const struct gw_options *options;

    /* Makes the state. On failure *why says in a phrase what is wrong and what was expected. Also called to check a
     * configuration: it must not change anything. NULL: the state is NULL. Thread: main. */
    GW_MUST_CHECK enum gw_err (*create)(const struct gw_transform_setup *setup, void **state, struct gw_buf *why);
    /* Frees it, when no thread can use these routes any more. A reload makes new states. Thread: any. NULL: there is
     * nothing to free. */
    void (*destroy)(void *state);

    /* Calls output->emit() for each message of the payload. `scratch` is empty on entry and the caller's.
     * Otherwise than GW_OK: the payload, or what had not been emitted yet, is counted and dropped. Thread: the MQTT
     * thread. It may change the state; what encode() reads of it must be guarded then. */
    GW_MUST_CHECK enum gw_err (*apply)(void *state, const struct gw_transform_input *input, struct gw_buf *scratch,
                                       const struct gw_transform_output *output);

    /* Appends a phrase for the log: why apply() has refused a payload, as codec.h's explain(). NULL: there is nothing
     * to add. Thread: the MQTT thread. */
    void (*explain)(void *state, const struct gw_transform_input *input, struct gw_buf *out);

    /* A client publishes `json` (one valid value without blanks around, `null` included) to a channel with these
     * captures: appends the payload for publish.topic. GW_ERR_BAD_PAYLOAD: *why says in a static sentence what was
     * expected. NULL: nothing can be published by a route with this transform, and `publish:` in it is an error of
     * the configuration. Thread: any. */
    GW_MUST_CHECK enum gw_err (*encode)(const void *state, const struct gw_captures *captures, const char *json,
                                        size_t len, struct gw_buf *out, const char **why);
};

/* What there is; NULL-terminated. */
extern const struct gw_transform *const *gw_transforms;

/* Sets it: NULL-terminated and static. Thread: main, before any other one. */
void gw_transforms_use(const struct gw_transform *const *list);

/* NULL if there is none of that name. */
const struct gw_transform *gw_transform_find(const char *name);

#endif
