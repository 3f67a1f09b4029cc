/* access.c: who a session is, and what it therefore gets.
 *
 * A subscription is let in only if a grant contains its filter whole, and what is delivered is asked about again,
 * channel by channel (channel/views.c): grants change under a live session (a new hello, a reload). */
#include "hub/access.h"

#include <stdlib.h>
#include <string.h>

#include "auth/projection.h"
#include "gateway/alloc.h"
#include "gateway/auth.h"
#include "gateway/hub.h"
#include "gateway/session_log.h"
#include "hub/channel/channel.h"
#include "hub/hub_private.h"
#include "hub/session/pace.h"
#include "hub/session/queue.h"
#include "hub/session/subscription.h"
#include "hub/windows/windows.h"

/* What waits in a queue has been made for the grants of before. */
static struct gw_message *access_show_again(struct gw_session *session, struct gw_message *msg)
{
    struct gw_projection *projection;
    if (!gw_grants_allow(session->grants, GW_RIGHT_SUBSCRIBE, msg->channel.data, msg->channel.len, &projection))
        return NULL;
    if (projection && msg->window) {
        gw_windows_again(session, msg); /* whether the field is among those that it sees is asked when it is made */
        return NULL;
    }
    return projection && !msg->state ? gw_projection_of(projection, msg, session->hub->epoch) : msg;
}

/* --- expiry ----------------------------------------------------------------------------------------------------- */

struct gw_expiry {
    struct gw_timer timer; /* first member */
    struct gw_session *session;
    bool warned;
};

/* Timers run on the monotonic clock, tokens on the wall's, which may be set: so it looks again at least once a
 * minute. */
#define EXPIRY_LOOK_MS 60000

static void expiry_look(struct gw_expiry *expiry)
{
    struct gw_session *session = expiry->session;
    struct gw_hub *hub = session->hub;
    int64_t expires_ms = session->identity->expires_ms, left_ms = expires_ms - hub->wall_ms;
    if (left_ms <= 0) {
        gw_session_kick(session, GW_ERR_EXPIRED); /* may free the session, and this with it */
        return;
    }
    int64_t warning_ms = hub->config->auth.expiry_warning_ms, wait_ms = left_ms;
    if (!expiry->warned && left_ms <= warning_ms) {
        expiry->warned = true;
        if (session->ops->expiring)
            session->ops->expiring(session, expires_ms);
    } else if (!expiry->warned) {
        wait_ms = left_ms - warning_ms;
    }
    gw_timer_set(hub->timers, &expiry->timer, hub->now_ms + (wait_ms < EXPIRY_LOOK_MS ? wait_ms : EXPIRY_LOOK_MS));
}

static void expiry_fire(struct gw_timer *timer)
{
    expiry_look((struct gw_expiry *)timer);
}

static void expiry_cancel(struct gw_session *session)
{
    if (!session->expiry)
        return;
    gw_timer_cancel(session->hub->timers, &session->expiry->timer);
    free(session->expiry);
    session->expiry = NULL;
}

static void expiry_begin(struct gw_session *session)
{
    session->expiry = gw_calloc(1, sizeof *session->expiry);
    session->expiry->timer.fire = expiry_fire;
    session->expiry->session = session;
    /* Not at once: a transport may not have said its first word yet. */
    gw_timer_set(session->hub->timers, &session->expiry->timer, session->hub->now_ms);
}

/* --- who it is -------------------------------------------------------------------------------------------------- */

enum gw_err gw_session_check(const struct gw_session *session, enum gw_right right, const char *filter, size_t len)
{
    if (gw_grants_contain(session->grants, right, filter, len))
        return GW_OK;
    return session->identity ? GW_ERR_FORBIDDEN : GW_ERR_UNAUTHORIZED;
}

void gw_session_forget_identity(struct gw_session *session)
{
    expiry_cancel(session);
    gw_identity_unref(session->identity);
    session->identity = NULL;
}

/* Ends a subscription, or one to windows. False: the session itself was ended, and may be gone. */
static bool session_revoke(struct gw_session *session, const struct gw_filter *filter, struct gw_window_sub *windows)
{
    if (!session->ops->revoked) {
        gw_session_kick(session, session->identity ? GW_ERR_FORBIDDEN : GW_ERR_UNAUTHORIZED);
        return false;
    }
    char *text = gw_strndup(filter->text, filter->len);
    size_t len = filter->len;
    if (windows)
        gw_window_sub_free(windows);
    else
        gw_session_unsubscribe(session, text, len);
    session->ops->revoked(session, text, len);
    free(text);
    return true;
}

/* Ends those that the grants no longer contain. */
static bool session_revoke_all(struct gw_session *session)
{
    for (uint32_t i = 0; i < session->sub_count;) {
        const struct gw_filter *filter = session->subs[i]->filter;
        if (gw_grants_contain(session->grants, GW_RIGHT_SUBSCRIBE, filter->text, filter->len))
            i++;
        else if (!session_revoke(session, filter, NULL))
            return false;
    }
    for (struct gw_window_sub *sub = session->windows, *next; sub; sub = next) {
        next = sub->next;
        if (!gw_windows_allowed(sub) && !session_revoke(session, sub->set->filter, sub))
            return false;
    }
    return true;
}

bool gw_session_identify(struct gw_session *session, struct gw_identity *identity)
{
    struct gw_hub *hub = session->hub;
    GW_ASSERT_LOOP(hub);
    if (!session->open || session->kicked)
        return false;
    struct gw_identity *before = session->identity;
    session->identity = gw_identity_ref(identity);
    session->grants = identity ? identity->grants : hub->auth ? hub->nothing : NULL;
    expiry_cancel(session);
    if (identity && identity->expires_ms != INT64_MAX)
        expiry_begin(session);
    gw_session_review(session, access_show_again);
    gw_pace_review(session, access_show_again);
    bool alive = session_revoke_all(session);
    gw_identity_unref(before); /* last: its grants were in use */
    return alive;
}

enum gw_err gw_session_hello(const struct gw_session *session, const char *token, size_t len,
                             struct gw_identity **out, const char **why)
{
    struct gw_hub *hub = session->hub;
    GW_ASSERT_LOOP(hub);
    enum gw_err err = GW_OK;
    *why = NULL;
    *out = NULL;
    if (token) {
        err = gw_auth_token(hub->auth, token, len, hub->wall_ms, out, why);
    } else if (session->identity) {
        *out = gw_identity_ref(session->identity);
    } else {
        err = GW_ERR_UNAUTHORIZED;
        *why = "hello has no token";
    }
    if (err != GW_OK) {
        GW_STAT_ADD(&hub->stats, auth_failures, 1);
        GW_SESSION_LOG_ONCE_A_SECOND(session, GW_LOG_WARN, "hello was refused: %s", *why ? *why : gw_err_code(err));
    }
    return err;
}

/* Whoever came with a token or key keeps it; whoever came with nothing is what such a client is now. Who was
 * somebody, or needed to be nobody, and would not be let in any more is ended; who is still to say hello may do so.
 */
static void session_identify_again(struct gw_session *session)
{
    struct gw_hub *hub = session->hub;
    struct gw_identity *identity = NULL;
    bool known = session->identity && session->identity->kind != GW_ANONYMOUS;
    if (hub->auth)
        identity = known ? gw_auth_again(hub->auth, session->identity) : gw_auth_anonymous(hub->auth);
    if (hub->auth && !identity && (session->identity || !session->grants)) {
        gw_session_kick(session, GW_ERR_UNAUTHORIZED);
        return;
    }
    gw_session_identify(session, identity);
    gw_identity_unref(identity);
}

void gw_hub_identify_again(struct gw_hub *hub)
{
    for (struct gw_session *session = hub->sessions, *next; session; session = next) {
        next = session->next; /* ending a session ends no other */
        if (!session->kicked)
            session_identify_again(session);
    }
}
