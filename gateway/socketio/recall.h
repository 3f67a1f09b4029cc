/* recall.h: sessions that may be recovered: what they subscribe to, by the private id (pid) that only their client
 * knows. One table for all workers, under a lock: a client comes back to any of them. Thread: any, except where it
 * says so. */
#ifndef GW_SOCKETIO_RECALL_H
#define GW_SOCKETIO_RECALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/identity.h"

/* Longer ones are no pids. */
#define SIO_PID_MAX 64

struct gw_hub;
struct sio;
struct sio_filter;
struct sio_owner; /* the session that an entry belongs to; it moves with it */

bool gw_sio_pid_valid(const char *pid, size_t len);

/* Whose session it was, and where. `identity` NULL: of nobody in particular. */
struct sio_claim {
    const char *pid, *space;
    const struct gw_identity *identity;
};

/* Takes what is remembered: *filters is the caller's (gw_sio_filters_free()). A session that still seems to live is
 * ended without a word, on its own worker. False: nothing is remembered for this client. Thread: a hub's. */
bool gw_sio_recall_take(struct gw_hub *hub, const struct sio_claim *claim, struct sio_filter **filters);
/* The entry is this session's from now on. */
struct sio_owner *gw_sio_recall_begin(const struct sio_claim *claim, struct sio *sio, unsigned worker);
const char *gw_sio_owner_pid(const struct sio_owner *owner);
/* Notes what the session subscribes to now. */
void gw_sio_recall_note(struct sio_owner *owner, const struct sio_filter *filters);
/* The session has moved to another worker. `sio` NULL: it is on its way. */
void gw_sio_recall_move(struct sio_owner *owner, struct sio *sio, unsigned worker);
/* The session is over. It is remembered for keep_ms (0: not), one of `most`. Takes the owner; NULL is fine. */
void gw_sio_recall_end(struct sio_owner *owner, int64_t keep_ms, size_t most);

void gw_sio_filters_free(struct sio_filter *filters);

#endif
