/* pending.c: publishes and requests that wait for the broker: their receipts and answers on the way back. */
#include "hub/publish/pending.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/codec.h"
#include "gateway/container.h"
#include "gateway/hub.h"
#include "gateway/identity.h"
#include "gateway/list.h"
#include "gateway/session_log.h"
#include "hub/hub_private.h"
#include "hub/publish/confirm.h"
#include "hub/publish/repeats.h"
#include "hub/stats.h"

/* The broker took the message and nobody gets it (MQTT 5.0 section 3.4.2.1). */
#define MQTT_NO_MATCHING_SUBSCRIBERS 0x10

/* One publish that the broker has not acknowledged yet. Its slot in hub->pending and a generation make the token. */
struct gw_pending {
    struct gw_timer timer;
    struct gw_hub *hub;
    struct gw_session *session;      /* NULL: it has ended, and `repeat` is for the next one */
    struct gw_pending *next, **link; /* of the same session */
    char *reference;
    const struct gw_codec *codec; /* of a request's answer; NULL: it is a publish */
    struct gw_confirm *confirm;   /* NULL: the broker's acknowledgement is all */
    bool acknowledged;            /* the broker has it, and it waits to be confirmed */
    struct gw_repeat *repeat;     /* NULL: its outcome is not remembered */
    uint32_t slot, generation;
};

uint64_t gw_pending_token(const struct gw_pending *pending)
{
    return (uint64_t)pending->generation << 32 | pending->slot;
}

static void pending_leave(struct gw_pending *pending)
{
    if (!pending->session)
        return;
    GW_LIST_REMOVE(pending, next, link);
    pending->session->pending_count--;
    pending->session = NULL;
}

void gw_pending_free(struct gw_pending *pending)
{
    struct gw_hub *hub = pending->hub;
    gw_timer_cancel(hub->timers, &pending->timer);
    pending_leave(pending);
    hub->pending[pending->slot] = NULL;
    hub->pending_count--;
    gw_confirm_free(pending->confirm);
    free(pending->reference);
    free(pending);
}

/* An error after which the broker may have it all the same is remembered: whether to try again is for people. */
static void pending_remember(const struct gw_pending *pending, enum gw_err err, int reason)
{
    struct gw_hub *hub = pending->hub;
    struct gw_repeat_outcome outcome = {.kind = err == GW_OK ? GW_REPEAT_PUBLISHED : GW_REPEAT_FAILED, .err = err};
    if (!pending->repeat)
        return;
    if (err == GW_OK || err == GW_ERR_TIMEOUT || err == GW_ERR_UPSTREAM_DOWN)
        gw_repeats_finish(hub->repeats, pending->repeat, &outcome, hub->now_ms, &hub->mail);
    else
        gw_repeats_forget(hub->repeats, pending->repeat, err, reason, &hub->mail);
}

static void pending_finish(struct gw_pending *pending, enum gw_err err, int reason)
{
    struct gw_session *session = pending->session;
    char *reference = pending->reference;
    pending->reference = NULL;
    gw_stats_publish(&pending->hub->stats, err);
    if (session)
        GW_SESSION_LOG(session, GW_LOG_DEBUG, "a publish ends: %s", err == GW_OK ? "published" : gw_err_code(err));
    pending_remember(pending, err, reason);
    gw_pending_free(pending);
    if (session && !session->kicked)
        session->ops->published(session, reference, err, reason);
    free(reference);
}

static void pending_remember_confirmed(const struct gw_pending *pending, const struct gw_confirmed *confirmed)
{
    struct gw_hub *hub = pending->hub;
    struct gw_repeat_outcome outcome = {.kind = confirmed->confirmed ? GW_REPEAT_CONFIRMED : GW_REPEAT_TIMEOUT};
    if (!pending->repeat)
        return;
    if (confirmed->cursor.len < sizeof outcome.cursor)
        memcpy(outcome.cursor, confirmed->cursor.data ? confirmed->cursor.data : "", confirmed->cursor.len);
    if (confirmed->data.data && confirmed->data.len <= GW_REPEAT_DATA_MAX)
        gw_buf_add(&outcome.data, confirmed->data.data, confirmed->data.len);
    if (!confirmed->confirmed && pending->session)
        outcome.seen_by = gw_identity_ref(pending->session->identity);
    gw_repeats_finish(hub->repeats, pending->repeat, &outcome, hub->now_ms, &hub->mail);
}

static void pending_tell_confirmed(struct gw_pending *pending, const struct gw_confirmed *confirmed)
{
    struct gw_session *session = pending->session;
    char *reference = pending->reference;
    pending->reference = NULL;
    gw_pending_free(pending);
    if (session && !session->kicked)
        session->ops->confirmed(session, reference, confirmed);
    free(reference);
}

void gw_pending_confirm(struct gw_pending *pending, bool confirmed)
{
    struct gw_confirm *confirm = pending->confirm;
    pending->confirm = NULL;
    if (pending->session)
        GW_SESSION_LOG(pending->session, GW_LOG_DEBUG, "a publish is %s",
                       confirmed ? "confirmed" : "not confirmed in time");
    struct gw_confirmed outcome = gw_confirm_outcome(confirm, pending->session, confirmed);
    pending_remember_confirmed(pending, &outcome);
    pending_tell_confirmed(pending, &outcome);
    gw_confirm_free(confirm);
}

static void pending_timed_out(struct gw_timer *timer)
{
    struct gw_pending *pending = GW_CONTAINER_OF(timer, struct gw_pending, timer);
    if (pending->acknowledged && pending->confirm)
        gw_pending_confirm(pending, false);
    else
        pending_finish(pending, GW_ERR_TIMEOUT, 0);
}

struct gw_pending *gw_pending_create(struct gw_session *session, const struct gw_pending_spec *spec)
{
    struct gw_hub *hub = session->hub;
    if (hub->pending_count == hub->pending_slots) {
        uint32_t slots = hub->pending_slots ? hub->pending_slots * 2 : 16;
        hub->pending = gw_reallocarray(hub->pending, slots, sizeof *hub->pending);
        memset(hub->pending + hub->pending_slots, 0, (slots - hub->pending_slots) * sizeof *hub->pending);
        hub->pending_slots = slots;
    }
    uint32_t slot = hub->pending_generation++ % hub->pending_slots;
    while (hub->pending[slot])
        slot = (slot + 1) % hub->pending_slots;

    struct gw_pending *pending = gw_calloc(1, sizeof *pending);
    pending->hub = hub;
    pending->session = session;
    pending->codec = spec->codec;
    pending->reference = spec->reference;
    pending->repeat = spec->repeat;
    pending->slot = slot;
    pending->generation = hub->pending_generation;
    pending->timer.fire = pending_timed_out;
    hub->pending[slot] = pending;
    hub->pending_count++;
    GW_LIST_ADD(session->pending, pending, next, link);
    session->pending_count++;
    gw_timer_set(hub->timers, &pending->timer, hub->now_ms + spec->timeout_ms);
    pending->confirm = spec->confirm;
    pending->acknowledged = spec->acknowledged;
    if (pending->confirm)
        gw_confirm_begin(pending->confirm, pending, pending->acknowledged);
    return pending;
}

static struct gw_pending *pending_find(const struct gw_hub *hub, uint64_t token)
{
    uint32_t slot = (uint32_t)token;
    struct gw_pending *pending = slot < hub->pending_slots ? hub->pending[slot] : NULL;
    return pending && gw_pending_token(pending) == token ? pending : NULL;
}

/* The broker has it; what remains is its device. The receipt may end the session, and the publish with it. */
static void pending_acknowledged(struct gw_pending *pending)
{
    struct gw_hub *hub = pending->hub;
    struct gw_session *session = pending->session;
    uint64_t token = gw_pending_token(pending);
    bool shown = gw_confirm_acknowledged(pending->confirm);
    pending->acknowledged = true;
    gw_stats_publish(&hub->stats, GW_OUTCOME_PUBLISHED);
    gw_timer_set(hub->timers, &pending->timer, hub->now_ms + gw_confirm_within_ms(pending->confirm));
    if (session && session->ops->stages && !session->kicked)
        session->ops->published(session, pending->reference, GW_OK, 0);
    if (shown && (pending = pending_find(hub, token)))
        gw_pending_confirm(pending, true);
}

void gw_hub_settle(struct gw_hub *hub, const struct gw_publish_result *result)
{
    struct gw_pending *pending = pending_find(hub, result->token);
    bool waits = pending && (pending->codec || pending->confirm); /* for a device */
    if (!pending || pending->acknowledged)
        GW_STAT_ADD(&hub->stats, publish_late, 1);
    else if (waits && result->err == GW_OK && result->reason == MQTT_NO_MATCHING_SUBSCRIBERS)
        pending_finish(pending, GW_ERR_NO_RESPONDER, 0);
    else if (pending->confirm && result->err == GW_OK)
        pending_acknowledged(pending);
    else if (!pending->codec || result->err != GW_OK)
        pending_finish(pending, result->err, result->err == GW_OK ? 0 : result->reason);
    /* A request that the broker has taken waits for its answer. */
}

/* An answer need not have the shape of the channel's values: what the route's codec refuses, `auto` takes. */
static struct gw_slice response_decode(const struct gw_codec *codec, const struct gw_response *response,
                                       struct gw_buf *scratch)
{
    struct gw_decoded decoded = {.json = "null", .len = 4};
    if (response->len && codec->decode(response->payload, response->len, scratch, &decoded) != GW_OK) {
        gw_buf_clear(scratch);
        if (gw_codecs[0]->decode(response->payload, response->len, scratch, &decoded) != GW_OK)
            decoded = (struct gw_decoded){.json = "null", .len = 4};
    }
    return (struct gw_slice){decoded.json, decoded.len};
}

void gw_hub_respond(struct gw_hub *hub, struct gw_response *response)
{
    struct gw_pending *pending = pending_find(hub, response->token);
    if (!pending || !pending->codec) {
        GW_STAT_ADD(&hub->stats, responses_late, 1);
    } else {
        struct gw_session *session = pending->session;
        struct gw_buf scratch = {0};
        struct gw_slice json = response_decode(pending->codec, response, &scratch);
        char *reference = pending->reference;
        pending->reference = NULL;
        gw_pending_free(pending);
        gw_stats_publish(&hub->stats, GW_OUTCOME_ANSWERED);
        if (!session->kicked)
            session->ops->response(session, reference, json);
        free(reference);
        gw_buf_fini(&scratch);
    }
    free(response->payload);
}

/* One that a repeat will ask about goes on without its session. */
void gw_pending_drop(struct gw_session *session)
{
    while (session->pending) {
        struct gw_pending *pending = session->pending;
        if (!pending->acknowledged && !pending->repeat)
            gw_stats_publish(&session->hub->stats, GW_OUTCOME_ABANDONED);
        if (pending->repeat)
            pending_leave(pending);
        else
            gw_pending_free(pending);
    }
}

void gw_pending_fini(struct gw_hub *hub)
{
    for (uint32_t slot = 0; slot < hub->pending_slots; slot++) {
        if (hub->pending[slot])
            gw_pending_free(hub->pending[slot]);
    }
    free(hub->pending);
}

/* A receipt may end the session, and the publish with it. */
void gw_hub_repeated(struct gw_hub *hub, uint64_t token, const struct gw_repeat_outcome *outcome)
{
    struct gw_pending *pending = pending_find(hub, token);
    if (!pending)
        return; /* its client has left */
    if (outcome->kind == GW_REPEAT_FAILED || outcome->kind == GW_REPEAT_PUBLISHED ||
        outcome->kind == GW_REPEAT_ACCEPTED) {
        pending_finish(pending, outcome->err, outcome->reason);
        return;
    }
    struct gw_session *session = pending->session;
    if (!pending->acknowledged && session->ops->stages && !session->kicked)
        session->ops->published(session, pending->reference, GW_OK, 0);
    struct gw_confirmed confirmed = {.confirmed = outcome->kind == GW_REPEAT_CONFIRMED,
                                     .cursor = {outcome->cursor, strlen(outcome->cursor)},
                                     .data = {outcome->data.data, outcome->data.len}};
    const struct gw_grants *seen_with = outcome->seen_by ? outcome->seen_by->grants : NULL;
    if (!confirmed.confirmed && session->grants != seen_with)
        confirmed = (struct gw_confirmed){.confirmed = false};
    if ((pending = pending_find(hub, token)))
        pending_tell_confirmed(pending, &confirmed);
}
