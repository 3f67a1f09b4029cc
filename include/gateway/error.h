/* error.h: the one list of things that can go wrong, with the word that every transport uses for it.
 *
 * Thread: any. Nothing here allocates. */
#ifndef GATEWAY_ERROR_H
#define GATEWAY_ERROR_H

#define GW_MUST_CHECK __attribute__((warn_unused_result))

enum gw_err {
    GW_OK = 0,
    GW_ERR_BAD_REQUEST,
    GW_ERR_BAD_PAYLOAD, /* the same word to clients; MQTT tells the two apart */
    GW_ERR_UNKNOWN_CHANNEL,
    GW_ERR_NO_VALUE,
    GW_ERR_NOT_FOUND,
    GW_ERR_METHOD,
    GW_ERR_FORBIDDEN,
    GW_ERR_UNAUTHORIZED,
    GW_ERR_EXPIRED,
    GW_ERR_TOO_LARGE,
    GW_ERR_RANGE,
    GW_ERR_RATE_LIMITED,
    GW_ERR_LIMIT,
    GW_ERR_OVERLOADED,
    GW_ERR_UPSTREAM_DOWN,
    GW_ERR_REJECTED,
    GW_ERR_TIMEOUT,
    GW_ERR_NO_RESPONDER,
    GW_ERR_UNSUPPORTED,
    GW_ERR_NOT_JSON,
    GW_ERR_SLOW,
    GW_ERR_SHUTDOWN,
    GW_ERR_NO_MEMORY,
    GW_ERR_INTERNAL,
    GW_ERR_COUNT
};

/* The stable machine word, such as "upstream_down". Static storage. */
const char *gw_err_code(enum gw_err err);

/* The HTTP status that goes with it, such as 503. */
int gw_err_status(enum gw_err err);

/* The WebSocket close code (RFC 6455 section 7.4) for a session ended for this reason, such as 1013. */
int gw_err_close_code(enum gw_err err);

/* One plain sentence without a full stop, for the `message` field when there is nothing more precise to say. */
const char *gw_err_text(enum gw_err err);

/* The code and what happened, "forbidden: your role ...", cut to what a WebSocket close frame takes. */
struct gw_err_line {
    char text[124];
};
/* why: NULL: gw_err_text(). */
struct gw_err_line gw_err_line(enum gw_err err, const char *why);

#endif
