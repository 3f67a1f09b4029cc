/* kept.c: sessions that outlive their connection (sections 3.1.2.11.2, 4.1).
 *
 * What is kept is a place in the sequence, the subscriptions, and the identifiers of what is on its way: no messages.
 * Those come from the histories of the channels when the client is back, as on /ws, and what is not there any more is
 * told by a gap. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/list.h"
#include "gateway/session_log.h"
#include "mqttd/client.h"

/* All filters of a kept session together. */
#define FILTERS_BYTES (64 * 1024)

/* --- wills with a delay (section 3.1.3.2.2) -------------------------------------------------------------------- */

/* Who comes back before it is due cancels it, on whichever worker that is. */
struct gw_mqttd_late {
    struct gw_timer timer; /* first member; of the worker that the client was on */
    struct gw_hub *hub;
    struct gw_identity *identity;
    struct gw_mqttd_will will;
    atomic_bool cancelled;
    atomic_uint refs; /* the timer's and the kept session's */
    struct gw_mqttd_late *next, **link;
};

/* All of them, so that they have an owner at the end of the process. mqtt.sessions bounds them. */
static struct {
    pthread_mutex_t mutex;
    struct gw_mqttd_late *first;
    uint32_t count;
} late_wills = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void late_unref(struct gw_mqttd_late *late)
{
    if (!late || atomic_fetch_sub(&late->refs, 1) != 1)
        return;
    pthread_mutex_lock(&late_wills.mutex);
    late_wills.count--;
    GW_LIST_REMOVE(late, next, link);
    pthread_mutex_unlock(&late_wills.mutex);
    gw_identity_unref(late->identity);
    gw_mqttd_forget_will(&late->will);
    free(late);
}

static void late_ignore_receipt(struct gw_session *session, const char *reference, enum gw_err err, int reason)
{
    (void)session;
    (void)reference;
    (void)err;
    (void)reason;
}

static void late_ignore_kick(struct gw_session *session, enum gw_err why)
{
    (void)session;
    (void)why;
}

static void late_ignore_ready(struct gw_session *session)
{
    (void)session;
}

static void late_fire(struct gw_timer *timer)
{
    static const struct gw_session_ops ops = {
        .transport = "mqtt", .ready = late_ignore_ready, .published = late_ignore_receipt, .kick = late_ignore_kick};
    struct gw_mqttd_late *late = (struct gw_mqttd_late *)timer;
    if (!atomic_load(&late->cancelled)) {
        struct gw_session session;
        gw_session_open(&session, late->hub, &ops);
        gw_session_identify(&session, late->identity);
        enum gw_err err = gw_mqttd_publish_will(&session, &late->will);
        if (err != GW_OK)
            GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "mqtt", "a will was not published: %s", gw_err_code(err));
        gw_session_close(&session);
    }
    late_unref(late);
}

/* NULL: there is none, or it is not to wait. */
static struct gw_mqttd_late *late_create(struct gw_mqttd_client *client, int64_t now_ms)
{
    struct gw_mqttd_will *will = &client->will;
    if (!will->wanted || !will->delay_ms)
        return NULL;
    struct gw_mqttd_late *late = gw_calloc(1, sizeof *late);
    pthread_mutex_lock(&late_wills.mutex);
    bool room = late_wills.count < gw_mqttd_config(client)->sessions;
    if (room) {
        late_wills.count++;
        GW_LIST_ADD(late_wills.first, late, next, link);
    }
    pthread_mutex_unlock(&late_wills.mutex);
    if (!room) {
        free(late);
        return NULL;
    }
    late->timer.fire = late_fire;
    late->hub = client->session.hub;
    late->identity = gw_identity_ref(client->session.identity);
    late->will = *will;
    *will = (struct gw_mqttd_will){0};
    atomic_init(&late->refs, 2);
    int64_t delay_ms = late->will.delay_ms < client->expiry_ms ? late->will.delay_ms : client->expiry_ms;
    gw_timer_set(gw_hub_timers(late->hub), &late->timer, now_ms + delay_ms);
    return late;
}

/* --- sessions -------------------------------------------------------------------------------------------------- */

int64_t gw_mqttd_kept_until(const struct gw_mqttd_kept *kept)
{
    return kept->until_ms;
}

void gw_mqttd_kept_free(struct gw_mqttd_kept *kept)
{
    if (!kept)
        return;
    for (uint32_t i = 0; i < kept->sub_count; i++) {
        free(kept->subs[i].filter);
        free(kept->subs[i].aggregate);
    }
    free(kept->subs);
    free(kept->inflight);
    free(kept->ids);
    gw_mqttd_forget_gaps(kept->gaps, kept->gap_count);
    late_unref(kept->late);
    free(kept);
}

/* A session that was ended has lost its queue, and with it the hub's idea of where it was. */
static void keep_place(struct gw_mqttd_client *client, struct gw_mqttd_kept *kept)
{
    struct gw_hub *hub = client->session.hub;
    if (client->session.kicked)
        gw_hub_format_cursor(hub, client->handed, kept->cursor);
    else
        gw_session_cursor(&client->session, false, kept->cursor);
    if (gw_hub_check_cursor(hub, kept->cursor, strlen(kept->cursor), &kept->place) != GW_CURSOR_OK)
        kept->place = client->handed;
}

/* What was to be sent again and was not yet is still under way. */
static void keep_inflight(struct gw_mqttd_client *client, struct gw_mqttd_kept *kept)
{
    uint32_t again = client->replay ? client->replay_count : 0;
    kept->inflight = gw_calloc((size_t)client->inflight_count + again + 1, sizeof *kept->inflight);
    for (uint32_t i = 0; i < client->inflight_count; i++)
        kept->inflight[kept->inflight_count++] = *gw_mqttd_window_at(client, i);
    for (uint32_t i = 0; i < again; i++)
        kept->inflight[kept->inflight_count++] = client->replay[i];
    if (again && client->replay_to > kept->place)
        kept->place = client->replay_to;
    kept->last_id = client->last_id;
    memcpy(kept->origin, client->origin, sizeof kept->origin);
}

struct gw_mqttd_kept *gw_mqttd_keep(struct gw_mqttd_client *client, int64_t now_ms)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < client->sub_count; i++)
        bytes += client->subs[i].len;
    if (bytes > FILTERS_BYTES)
        GW_SESSION_LOG_ONCE_A_SECOND(&client->session, GW_LOG_WARN, "the session is not kept: %zu bytes of filters",
                                     bytes);
    if (client->expiry_ms <= 0 || bytes > FILTERS_BYTES)
        return NULL;
    struct gw_mqttd_kept *kept = gw_calloc(1, sizeof *kept);
    kept->until_ms = now_ms + client->expiry_ms;
    keep_place(client, kept);
    kept->windows_waited = client->session.window_count && gw_session_waiting(&client->session);
    keep_inflight(client, kept);
    kept->subs = client->subs;
    kept->sub_count = client->sub_count;
    client->subs = NULL;
    client->sub_count = client->sub_allocated = client->exact = 0;
    kept->ids = client->ids;
    client->ids = NULL;
    kept->gaps = client->gaps;
    kept->gap_count = client->gap_count;
    client->gaps = NULL;
    client->gap_count = client->gaps_waiting = 0;
    kept->late = late_create(client, now_ms);
    return kept;
}

static uint64_t restore_place(const struct gw_mqttd_kept *kept, const struct gw_mqttd_sub *sub, uint64_t from)
{
    if (sub->aggregate)
        return kept->windows_waited ? sub->from : kept->place;
    return from < kept->place || from > sub->from ? from : sub->from;
}

/* Where a subscription goes on: after what was handed out, or before what is to be sent again; or from the beginning,
 * if it was still at its last values. */
static struct gw_start restore_start(const struct gw_mqttd_kept *kept, const struct gw_mqttd_sub *sub, uint64_t from,
                                     struct gw_hub *hub, char cursor[64])
{
    if (kept->place < sub->fresh_to)
        return (struct gw_start){.at = GW_START_LAST};
    uint64_t seq;
    if (gw_hub_check_cursor(hub, kept->cursor, strlen(kept->cursor), &seq) == GW_CURSOR_OK)
        gw_hub_format_cursor(hub, restore_place(kept, sub, from), cursor);
    else
        memcpy(cursor, kept->cursor, 64); /* numbers begin anew; the hub tells the gap */
    return (struct gw_start){.at = GW_START_CURSOR, .cursor = cursor, .cursor_len = strlen(cursor)};
}

void gw_mqttd_restore(struct gw_mqttd_client *client, struct gw_mqttd_kept *kept)
{
    struct gw_hub *hub = client->session.hub;
    uint64_t from = kept->place, seq;
    for (uint32_t i = 0; i < kept->inflight_count; i++) {
        if (kept->inflight[i].seq - 1 < from)
            from = kept->inflight[i].seq - 1;
    }
    for (uint32_t i = 0; i < kept->sub_count; i++) {
        char cursor[64];
        struct gw_start start = restore_start(kept, &kept->subs[i], from, hub, cursor);
        gw_mqttd_restore_sub(client, &kept->subs[i], &start);
    }
    client->handed = kept->place;
    client->last_id = kept->last_id;
    memcpy(client->origin, kept->origin, sizeof client->origin);
    client->ids = kept->ids;
    kept->ids = NULL;
    gw_mqttd_restore_gaps(client, kept);
    if (kept->inflight_count && gw_hub_check_cursor(hub, kept->cursor, strlen(kept->cursor), &seq) == GW_CURSOR_OK) {
        client->replay = kept->inflight;
        client->replay_count = kept->inflight_count;
        client->replay_to = kept->place;
        kept->inflight = NULL;
    }
    if (kept->late)
        atomic_store(&kept->late->cancelled, true);
    gw_session_catch_up(&client->session);
}
