/* arguments.h: the arguments of events, in every spelling that pages use (docs/protocol.md). Thread: any. */
#ifndef GW_SOCKETIO_ARGUMENTS_H
#define GW_SOCKETIO_ARGUMENTS_H

#include <stdbool.h>

#include "gateway/buf.h"
#include "gateway/error.h"

struct sio_arguments {
    struct gw_buf channels;  /* names or filters, each followed by a NUL */
    struct gw_buf aggregate; /* FIELD:EVERY, valid; data NULL: messages are wanted */
    unsigned channel_count;
    bool listed;                                             /* they came as a list */
    struct gw_buf cursor, since, token, ticket, pid, offset; /* data NULL: not given */
    int64_t interval_ms;
    int64_t timeout_ms; /* -1: not given */
    bool confirm;
    struct gw_buf key;    /* an idempotency key; data NULL: not given */
    struct gw_slice data; /* JSON text, inside the packet's; data NULL: not given */
    struct gw_buf text;   /* JSON text of an object that came as a string; `data` may point into it */
};

/* Reads the arguments behind the event's name: `json` is the array. `positional`: what follows the channel is its
 * value. On error *why says in a static sentence what was expected. Always call gw_sio_arguments_fini(). */
GW_MUST_CHECK enum gw_err gw_sio_arguments_read(struct sio_arguments *arguments, struct gw_slice json,
                                                bool positional, const char **why);
/* Reads the object of CONNECT; json.data NULL: there is none. */
GW_MUST_CHECK enum gw_err gw_sio_arguments_read_auth(struct sio_arguments *arguments, struct gw_slice json,
                                                     const char **why);
void gw_sio_arguments_fini(struct sio_arguments *arguments);

#endif
