/* protocol.h: the JSON frames of /ws (docs/protocol.md) and the pieces of them that other transports share.
 * Thread: any; nothing here has state. */
#ifndef GATEWAY_PROTOCOL_H
#define GATEWAY_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/buf.h"
#include "gateway/error.h"
#include "gateway/session.h"

struct gw_upstream_state;

enum gw_frame_type {
    GW_FRAME_HELLO,
    GW_FRAME_SUBSCRIBE,
    GW_FRAME_UNSUBSCRIBE,
    GW_FRAME_PUBLISH,
    GW_FRAME_REQUEST,
    GW_FRAME_PING,
    GW_FRAME_UNKNOWN
};

/* A frame from a client. */
struct gw_frame {
    enum gw_frame_type type;
    char *id;      /* JSON text of `id`, an integer or a string; NULL if there is none */
    char *channel; /* NULL if there is none */
    size_t channel_len;
    char *cursor; /* NULL if there is none */
    size_t cursor_len;
    char *since; /* of subscribe; NULL if there is none */
    size_t since_len;
    char *token; /* of hello; NULL if there is none */
    size_t token_len;
    int64_t interval_ms;            /* of subscribe; 0: none */
    struct gw_aggregate *aggregate; /* of subscribe and unsubscribe; NULL: none */
    int64_t timeout_ms;             /* of request; -1: none given */
    bool confirm;                   /* of publish */
    char *key;                      /* of publish: an idempotency key; NULL if there is none */
    size_t key_len;
    struct gw_slice data; /* JSON text, inside the given text; data NULL if there is none */
    char *type_name;
};

/* On error *why says in a static sentence what was expected; *out is then filled as far as it goes, so that the
 * answer can name the id. Always call gw_frame_fini(). */
GW_MUST_CHECK enum gw_err gw_frame_parse(const char *text, size_t len, struct gw_frame *out, const char **why);
void gw_frame_fini(struct gw_frame *frame);

/* Why a subscription is a bad request. */
#define GW_SUBSCRIBE_EXPECTED                                                                                        \
    "the channel is no valid name or filter, or the cursor is none of this gateway's (<epoch>.<number> expected)"

/* Each appends one JSON object. `id` is JSON text or NULL. */
void gw_json_welcome(struct gw_buf *out, uint64_t session, unsigned worker, const char *cursor);
void gw_json_subscribed(struct gw_buf *out, const char *id, const char *channel, size_t len,
                        const struct gw_subscribed *subscribed);
/* `expires_ms` INT64_MAX: never. */
void gw_json_hello(struct gw_buf *out, const char *id, const char *subject, int64_t expires_ms);
void gw_json_expiring(struct gw_buf *out, int64_t expires_ms);
/* The gateway itself has ended a subscription. `type`: unsubscribed, or error where that is what clients listen for.
 */
void gw_json_revoked(struct gw_buf *out, const char *type, const char *channel, size_t len);
void gw_json_simple(struct gw_buf *out, const char *type, const char *id);
void gw_json_response(struct gw_buf *out, const char *id, struct gw_slice data);
/* `confirmed` or `timeout`. */
void gw_json_confirmed(struct gw_buf *out, const char *id, const struct gw_confirmed *confirmed);
/* Adds one of these objects with `status` in the place of `type`, as POST and the acknowledgements of Socket.IO have
 * it. */
void gw_json_add_status(struct gw_buf *out, const struct gw_buf *json);
void gw_json_gap(struct gw_buf *out, const struct gw_gap *gap);
void gw_json_upstream(struct gw_buf *out, const struct gw_upstream_state *state);
/* `reason`: MQTT 5 reason code of a refusal by the broker, else 0. `message` NULL: gw_err_text(). */
void gw_json_error(struct gw_buf *out, const char *id, enum gw_err err, const char *message, int reason);

#endif
