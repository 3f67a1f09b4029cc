/* ingest_sink.c: what the engine hands back, and the way from there to every worker. */
#include <string.h>

#include "gateway/clock.h"
#include "gateway/message.h"
#include "mqtt/ingest.h"

void gw_ingest_post(struct gw_ingest *ingest, const struct gw_event *event)
{
    for (unsigned i = 0; i < ingest->workers; i++) {
        if (event->type == GW_EVENT_MESSAGE)
            gw_message_ref(event->u.message);
        if (event->type == GW_EVENT_RELOAD) {
            gw_config_ref(event->u.reload.config);
            gw_routes_ref(event->u.reload.routes);
            gw_auth_ref(event->u.reload.auth);
        }
        gw_inbox_put(ingest->inboxes[i], event);
    }
}

static void ingest_on_message(void *context, const struct gw_message_spec *spec)
{
    struct gw_ingest *ingest = context;
    struct gw_event event = {.type = GW_EVENT_MESSAGE, .u.message = gw_message_create(spec)};
    gw_ingest_post(ingest, &event);
    gw_message_unref(event.u.message);
    if (ingest->liveness && gw_liveness_watches(ingest->liveness))
        gw_liveness_message(ingest->liveness, spec, spec->born_ns / 1000000);
}

static void ingest_on_lost(void *context, uint64_t to)
{
    struct gw_ingest *ingest = context;
    const struct gw_event event = {.type = GW_EVENT_LOST, .u.lost = to};
    gw_ingest_post(ingest, &event);
    if (ingest->liveness)
        gw_liveness_lost(ingest->liveness);
}

static void ingest_on_epoch(void *context, const char *epoch)
{
    struct gw_ingest *ingest = context;
    struct gw_event event = {.type = GW_EVENT_EPOCH};
    strncpy(event.u.epoch, epoch, sizeof event.u.epoch - 1);
    gw_ingest_post(ingest, &event);
    if (ingest->liveness)
        gw_liveness_begin_anew(ingest->liveness);
}

static void ingest_on_safe(void *context)
{
    struct gw_ingest *ingest = context;
    ingest->wake(ingest->wake_context);
}

static void ingest_on_lead(void *context, uint64_t term)
{
    struct gw_ingest *ingest = context;
    atomic_store(&ingest->term, term);
    ingest->wake(ingest->wake_context);
}

static void ingest_on_upstream(void *context, bool up, int64_t since, bool by_engine)
{
    const struct gw_event event = {.type = GW_EVENT_UPSTREAM,
                                   .u.upstream = {.up = up, .since = since, .by_engine = by_engine}};
    struct gw_ingest *ingest = context;
    gw_ingest_post(ingest, &event);
    if (ingest->liveness)
        gw_liveness_up(ingest->liveness, up, false, true, gw_monotonic_ms());
}

void gw_ingest_share(struct gw_ingest *ingest, void (*wake)(void *context), void *context)
{
    ingest->wake = wake;
    ingest->wake_context = context;
}

struct gw_engine_sink gw_ingest_sink(struct gw_ingest *ingest)
{
    return (struct gw_engine_sink){
        .context = ingest,
        .message = ingest_on_message,
        .lost = ingest_on_lost,
        .epoch = ingest_on_epoch,
        .lead = ingest_on_lead,
        .safe = ingest_on_safe,
        .upstream = ingest_on_upstream,
    };
}
