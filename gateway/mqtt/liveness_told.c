/* liveness_told.c: what is to be told of the states, and how many channels are in each. */
#include <stdatomic.h>

#include "gateway/hash.h"
#include "gateway/list.h"
#include "mqtt/liveness_private.h"

#define RETRY_MS 100 /* what could not be told is told again after this */

void gw_watched_note(struct gw_liveness *liveness, struct gw_watched *watched)
{
    if (watched->changed_link || (watched->state == watched->told && !watched->leaving))
        return;
    GW_QUEUE_ADD(liveness->changed_end, watched, changed_next, changed_link);
}

void gw_watched_unnote(struct gw_liveness *liveness, struct gw_watched *watched)
{
    if (!watched->changed_link)
        return;
    GW_QUEUE_REMOVE(liveness->changed_end, watched, changed_next, changed_link);
    watched->changed_link = NULL;
}

bool gw_liveness_next(struct gw_liveness *liveness, struct gw_liveness_change *change, int64_t now_ms)
{
    bool found = false;
    pthread_mutex_lock(&liveness->lock);
    struct gw_watched *watched;
    while (!found && now_ms >= liveness->quiet_ms && (watched = liveness->changed)) {
        gw_watched_unnote(liveness, watched);
        found = watched->state != watched->told;
        if (found) {
            gw_buf_clear(&change->channel);
            gw_buf_add(&change->channel, watched->name, watched->len);
            change->route = watched->route;
            change->state = (enum gw_state)watched->state;
            change->since_ms = watched->since_ms;
            change->seen_ms = watched->seen_ms;
            watched->told = watched->state;
            watched->underway++;
        }
        if (watched->leaving)
            gw_watched_remove(liveness, watched);
    }
    pthread_mutex_unlock(&liveness->lock);
    return found;
}

void gw_liveness_untold(struct gw_liveness *liveness, const struct gw_liveness_change *change, int64_t now_ms)
{
    pthread_mutex_lock(&liveness->lock);
    struct gw_watched *watched = gw_watched_find(liveness, change->channel.data, change->channel.len,
                                                 gw_hash(change->channel.data, change->channel.len));
    if (watched) {
        watched->underway = 0;
        watched->told = GW_STATE_NONE;
        gw_watched_note(liveness, watched);
    }
    if (liveness->quiet_ms < now_ms + RETRY_MS)
        liveness->quiet_ms = now_ms + RETRY_MS;
    pthread_mutex_unlock(&liveness->lock);
}

bool gw_liveness_watches(const struct gw_liveness *liveness)
{
    return atomic_load_explicit(&liveness->watches, memory_order_relaxed);
}

void gw_liveness_count(const struct gw_liveness *liveness, uint64_t out[GW_STATE_COUNT])
{
    for (size_t i = 0; i < GW_STATE_COUNT; i++)
        out[i] = atomic_load_explicit(&liveness->counts[i], memory_order_relaxed);
}
