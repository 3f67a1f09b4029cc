/* presence.h: the seam of presence: an extension that hears who subscribes to what, and when it ends.
 *
 * A presence is a constant table; add one in a file of its own, one line in builtins.c and one in CMakeLists.txt. The
 * hub calls it for each session of its worker, whatever the transport. Without a presence nothing is called. A filter
 * may have wildcards; what that means for a channel is for the presence to say.
 *
 * A long-poll client subscribes with each request and is closed with each answer, so it comes and goes. A client that
 * is cut off is closed when the gateway notices it (web.heartbeat).
 *
 * Thread: the loop of the session's hub; the workers call at the same time, so what they share must be guarded. The
 * calls must return soon, and must not change a session: not subscribe, unsubscribe, push or close. They may read
 * session->id, session->identity (NULL: not known, or the gateway has no auth:) and session->ops->transport. */
#ifndef GATEWAY_PRESENCE_H
#define GATEWAY_PRESENCE_H

#include <stddef.h>

#include "gateway/session.h"

struct gw_presence {
    const char *name;

    /* Its table in the configuration file. Without it there, at the start, nothing is called: what a reload brings
     * takes effect at the next start, since half of a count is none. NULL: it is always called. */
    const struct gw_options *options;

    /* The session has a subscription that it did not have. One that is only begun anew is not told. `filter` is not
     * NUL-terminated and borrowed. */
    void (*subscribed)(const struct gw_session *session, const char *filter, size_t len);

    /* The subscription is ending: the client has ended it, may no longer have it, or its session is closing. Exactly
     * once for each subscribed(). */
    void (*unsubscribed)(const struct gw_session *session, const char *filter, size_t len);

    /* The session is closing, and unsubscribed() was called for all that it had. Also called for sessions that never
     * subscribed. */
    void (*closed)(const struct gw_session *session);
};

/* What there is; NULL-terminated. */
extern const struct gw_presence *const *gw_presences;

/* Sets it: NULL-terminated and static. Thread: main, before any other one. */
void gw_presences_use(const struct gw_presence *const *list);

#endif
