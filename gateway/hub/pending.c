/* pending.c: publishes and requests that wait for the broker: their receipts and answers on the way back. */
#include "hub/pending.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/codec.h"
#include "gateway/container.h"
#include "gateway/hub.h"
#include "gateway/list.h"
#include "gateway/session_log.h"
#include "hub/hub_private.h"
#include "hub/stats.h"

/* The broker took the message and nobody gets it (MQTT 5.0 section 3.4.2.1). */
#define MQTT_NO_MATCHING_SUBSCRIBERS 0x10

/* One publish that the broker has not acknowledged yet. Its slot in hub->pending and a generation make the token. */
struct gw_pending {
    struct gw_timer timer;
    struct gw_hub *hub;
    struct gw_session *session;
    struct gw_pending *next, **link; /* of the same session */
    char *reference;
    const struct gw_codec *codec; /* of a request's answer; NULL: it is a publish */
    uint32_t slot, generation;
};

uint64_t gw_pending_token(const struct gw_pending *pending)
{
    return (uint64_t)pending->generation << 32 | pending->slot;
}

void gw_pending_free(struct gw_pending *pending)
{
    struct gw_hub *hub = pending->hub;
    gw_timer_cancel(hub->timers, &pending->timer);
    GW_LIST_REMOVE(pending, next, link);
    pending->session->pending_count--;
    hub->pending[pending->slot] = NULL;
    hub->pending_count--;
    free(pending->reference);
    free(pending);
}

static void pending_finish(struct gw_pending *pending, enum gw_err err, int reason)
{
    struct gw_session *session = pending->session;
    char *reference = pending->reference;
    pending->reference = NULL;
    gw_stats_publish(&pending->hub->stats, err);
    GW_SESSION_LOG(session, GW_LOG_DEBUG, "a publish ends: %s", err == GW_OK ? "published" : gw_err_code(err));
    gw_pending_free(pending);
    if (!session->kicked)
        session->ops->published(session, reference, err, reason);
    free(reference);
}

static void pending_timed_out(struct gw_timer *timer)
{
    pending_finish(GW_CONTAINER_OF(timer, struct gw_pending, timer), GW_ERR_TIMEOUT, 0);
}

struct gw_pending *gw_pending_create(struct gw_session *session, const struct gw_codec *codec, int64_t timeout_ms,
                                     char *reference)
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
    pending->codec = codec;
    pending->reference = reference;
    pending->slot = slot;
    pending->generation = hub->pending_generation;
    pending->timer.fire = pending_timed_out;
    hub->pending[slot] = pending;
    hub->pending_count++;
    GW_LIST_ADD(session->pending, pending, next, link);
    session->pending_count++;
    gw_timer_set(hub->timers, &pending->timer, hub->now_ms + timeout_ms);
    return pending;
}

static struct gw_pending *pending_find(const struct gw_hub *hub, uint64_t token)
{
    uint32_t slot = (uint32_t)token;
    struct gw_pending *pending = slot < hub->pending_slots ? hub->pending[slot] : NULL;
    return pending && gw_pending_token(pending) == token ? pending : NULL;
}

void gw_hub_settle(struct gw_hub *hub, const struct gw_publish_result *result)
{
    struct gw_pending *pending = pending_find(hub, result->token);
    if (!pending)
        GW_STAT_ADD(&hub->stats, publish_late, 1);
    else if (pending->codec && result->err == GW_OK && result->reason == MQTT_NO_MATCHING_SUBSCRIBERS)
        pending_finish(pending, GW_ERR_NO_RESPONDER, 0);
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

void gw_pending_drop(struct gw_session *session)
{
    while (session->pending) {
        gw_stats_publish(&session->hub->stats, GW_OUTCOME_ABANDONED);
        gw_pending_free(session->pending);
    }
}
