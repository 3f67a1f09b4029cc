/* disk_series.c: charts out of the windows on the disk: questions wait in a list, and the writer answers them. */
#include "engine/disk_private.h"
#include "engine/disk_steps.h"
#include "gateway/clock.h"
#include "gateway/log.h"

enum gw_err gw_disk_series_ask(struct gw_engine_store *store, struct gw_engine_series *question)
{
    pthread_mutex_lock(&store->lock);
    enum gw_err err = store->closing ? GW_ERR_SHUTDOWN : GW_OK;
    if (err == GW_OK) {
        question->next = NULL;
        *store->asked_end = question;
        store->asked_end = &question->next;
        pthread_cond_signal(&store->work);
    }
    pthread_mutex_unlock(&store->lock);
    return err;
}

static const struct gw_disk_series *store_series(const struct gw_engine_store *store,
                                                 const struct gw_engine_series *question)
{
    const struct gw_disk_rolled *rolled = gw_disk_batch_rolled(&store->batch, question);
    return rolled ? gw_disk_rolled_find(rolled, question->field) : NULL;
}

bool gw_disk_series_answer(struct gw_engine_store *store, bool written)
{
    struct gw_engine_series *question = store->asked;
    if (!question)
        return false;
    const struct gw_disk_series *series = store_series(store, question);
    store->urgent = !written && question->every_ms && (series ? series->seq : 0) < question->need;
    if (store->urgent)
        return false;
    store->asked = question->next;
    if (!store->asked)
        store->asked_end = &store->asked;
    pthread_mutex_unlock(&store->lock);
    const struct gw_disk_gaps *gaps = &store->batch.gaps;
    for (uint32_t i = 0; i < gaps->count; i++)
        question->gap(question, gaps->items[i].from, gaps->items[i].to);
    int64_t since = INT64_MAX;
    bool there =
        series && question->every_ms && gw_disk_step_since(&store->db, series->id, question->every_ms, &since);
    bool good = !there || gw_disk_rolled_read(series, &store->db, question);
    if (!good)
        GW_LOG_ONCE_A_SECOND(GW_LOG_ERROR, "history", "can't read windows from the disk: %s",
                             gw_disk_db_error(&store->db));
    if (there)
        question->done(question, good ? GW_OK : GW_ERR_INTERNAL, series->seq, series->ts, since);
    else
        question->done(question, GW_OK, 0, 0, INT64_MAX);
    pthread_mutex_lock(&store->lock);
    return true;
}
