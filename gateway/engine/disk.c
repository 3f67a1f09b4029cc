/* disk.c: history engine `disk`: the ring of memory.c, and a journal of it in a database for the next start.
 *
 * The loop only puts references into a bounded queue. One thread writes them, a transaction for each flush interval,
 * and leaves out what the rings have dropped again meanwhile; so the file holds what the rings hold, and last values.
 * A transaction that fails is tried again as a whole; what does not fit into the queue until then is given up, and
 * `lost` remembers how far. docs/decisions/0007-durable-history.md has the reasons. */
#include <stdlib.h>
#include <string.h>

#include "base/cond.h"
#include "engine/disk_options.h"
#include "engine/disk_private.h"
#include "engine/disk_steps.h"
#include "engine/memory.h"
#include "gateway/alloc.h"
#include "gateway/clock.h"
#include "gateway/log.h"

#define RETRY_MS      500   /* at least, after a failure */
#define DROPS_JOIN_MS 60000 /* dropped messages that are no further apart are one gap */

/* --- the queue -------------------------------------------------------------------------------------------------- */

/* Takes over what the entry refers to. */
static void store_put(struct gw_engine_store *store, struct gw_disk_entry *entry)
{
    size_t bytes = gw_disk_entry_bytes(entry);
    bool drop = false;
    pthread_mutex_lock(&store->lock);
    /* What routes roll up is told once for each channel that is rolled up: storage.series bounds them. */
    if (store->bytes && store->bytes + bytes > store->queue_bytes && !entry->channel.settle) {
        drop = true;
        store->stats.dropped++;
        /* What the database won't know of counts as missing; of a channel that is not kept, the next process won't
         * know that there was one. */
        uint64_t *mark = entry->msg ? &store->lost : entry->channel.kept ? NULL : &store->forgotten;
        if (mark && entry->channel.last_seq > *mark)
            *mark = entry->channel.last_seq;
        if (entry->msg && !store->dropped_from)
            store->dropped_from = entry->msg->ts;
        if (entry->msg)
            store->dropped_to = entry->msg->ts;
    } else {
        bool first = !store->queue.count, half = store->bytes <= store->queue_bytes / 2;
        store->bytes += bytes;
        if (entry->msg)
            store->newest_ts = entry->msg->ts;
        gw_disk_queue_add(&store->queue, entry);
        if (first || (half && store->bytes > store->queue_bytes / 2))
            pthread_cond_signal(&store->work);
    }
    pthread_mutex_unlock(&store->lock);
    if (!drop)
        return;
    GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "history",
                         "the disk is too slow: more than storage.queue waits, a message is not stored");
    gw_disk_entry_release(entry);
}

static void disk_keep(struct gw_engine_store *store, const struct gw_engine_channel *channel, struct gw_message *msg)
{
    struct gw_disk_entry entry = {.kind = DISK_APPEND,
                                  .msg = gw_message_ref(msg),
                                  .channel = *channel,
                                  .rollup = gw_rollup_ref(channel->rollup)};
    entry.channel.name = msg->channel.data;
    store_put(store, &entry);
}

static void disk_put_name(struct gw_engine_store *store, enum gw_disk_kind kind,
                          const struct gw_engine_channel *channel)
{
    struct gw_disk_entry entry = {
        .kind = kind, .channel = *channel, .rollup = channel->settle ? gw_rollup_ref(channel->rollup) : NULL};
    entry.channel.name = gw_strndup(channel->name, channel->len);
    store_put(store, &entry);
}

static void disk_update(struct gw_engine_store *store, const struct gw_engine_channel *channel)
{
    disk_put_name(store, DISK_UPDATE, channel);
}

static void disk_forget(struct gw_engine_store *store, const struct gw_engine_channel *channel, bool whole)
{
    if (whole) {
        pthread_mutex_lock(&store->lock);
        if (channel->last_seq > store->forgotten)
            store->forgotten = channel->last_seq;
        pthread_mutex_unlock(&store->lock);
    }
    disk_put_name(store, DISK_FORGET, channel);
}

/* `seq` is about to be given to a message. Returns the number at which to ask again. Waits if the block is used up
 * and the disk does not take the next one: a number must never be given twice. */
static uint64_t disk_reserve(struct gw_engine_store *store, uint64_t seq)
{
    pthread_mutex_lock(&store->lock);
    for (;;) {
        if (seq + store->block / 2 > store->reserved && store->wanted <= store->reserved) {
            store->wanted = store->reserved + store->block;
            pthread_cond_signal(&store->work);
        }
        if (seq <= store->reserved || store->closing)
            break;
        GW_LOG_ONCE_A_SECOND(GW_LOG_ERROR, "history",
                             "messages wait: the disk does not take the next block of numbers");
        pthread_cond_wait(&store->room, &store->lock);
    }
    uint64_t left = seq < store->reserved ? store->reserved - seq : 0;
    pthread_mutex_unlock(&store->lock);
    return seq + (left > store->block / 2 ? left - store->block / 2 : left / 2) + 1;
}

static enum gw_err disk_append(struct gw_engine_store *store, struct gw_message_spec *draft)
{
    if (++store->seq >= store->ask_at)
        store->ask_at = disk_reserve(store, store->seq);
    draft->epoch = store->epoch;
    draft->seq = store->seq;
    store->sink.message(store->sink.context, draft);
    return GW_OK;
}

static struct gw_engine_stats disk_stats(struct gw_engine_store *store)
{
    pthread_mutex_lock(&store->lock);
    struct gw_engine_stats stats = store->stats;
    stats.waiting = store->bytes;
    pthread_mutex_unlock(&store->lock);
    return stats;
}

/* --- the writer ------------------------------------------------------------------------------------------------- */

/* One transaction. The lock is not held; `state` is what the row shall say. */
static bool store_write(struct gw_engine_store *store, const struct gw_disk_state *state)
{
    uint64_t written;
    bool good = gw_disk_batch_write(&store->batch, &store->db, state, &written);
    if (!good) {
        GW_LOG_ONCE_A_SECOND(GW_LOG_ERROR, "history", "can't write to the disk, trying again: %s",
                             gw_disk_db_error(&store->db));
        gw_disk_db_rollback(&store->db);
    }
    size_t bytes = good ? gw_disk_batch_done(&store->batch) : 0;
    pthread_mutex_lock(&store->lock);
    store->bytes -= bytes;
    store->stats.written += good ? written : 0;
    store->stats.errors += !good;
    if (good) {
        store->state = *state;
        store->stats.series = store->batch.series.now;
        store->stats.series_refused = store->batch.series.refused;
        store->reserved = state->reserved;
        pthread_cond_broadcast(&store->room);
    }
    pthread_mutex_unlock(&store->lock);
    return good;
}

/* A slice of what a changed configuration left to be done. The lock is not held. */
static void store_work(struct gw_engine_store *store)
{
    if (!gw_disk_steps_work(&store->db, &store->batch.chores)) {
        GW_LOG_ONCE_A_SECOND(GW_LOG_ERROR, "history", "can't fill or delete windows on the disk, trying again: %s",
                             gw_disk_db_error(&store->db));
        store->work_at = gw_monotonic_ms() + RETRY_MS;
    }
}

/* Moves what waits into the batch and says what is to be written of the state. {lock} */
static struct gw_disk_state store_take(struct gw_engine_store *store)
{
    gw_disk_batch_take(&store->batch, &store->queue);
    struct gw_disk_state state = store->state;
    state.reserved = store->wanted > store->reserved ? store->wanted : store->reserved;
    state.lost = store->lost;
    state.forgotten = store->forgotten;
    if (store->newest_ts)
        state.written = store->newest_ts;
    if (store->dropped_from)
        gw_disk_gaps_add(&store->batch.gaps, store->dropped_from, store->dropped_to + 1, DROPS_JOIN_MS);
    store->dropped_from = 0;
    return state;
}

/* Waits until it is time to write, and answers questions meanwhile. {lock} */
static void store_collect(struct gw_engine_store *store, bool failed)
{
    int64_t due = gw_monotonic_ms() + (failed && store->flush_ms < RETRY_MS ? RETRY_MS : store->flush_ms);
    while (!store->closing && gw_monotonic_ms() < due &&
           (failed || (store->bytes <= store->queue_bytes / 2 && store->wanted <= store->reserved))) {
        if (gw_disk_series_answer(store, failed))
            continue;
        if (store->urgent)
            return;
        gw_cond_wait_until(&store->work, &store->lock, due);
    }
}

static void *store_run(void *context)
{
    struct gw_engine_store *store = context;
    bool failed = false;
    pthread_mutex_lock(&store->lock);
    while (!store->closing) {
        if (!store->queue.count && !store->batch.queue.count && store->wanted <= store->reserved) {
            if (gw_disk_series_answer(store, true))
                continue;
            if (store->batch.chores && gw_monotonic_ms() >= store->work_at) {
                pthread_mutex_unlock(&store->lock);
                store_work(store);
                pthread_mutex_lock(&store->lock);
            } else if (store->batch.chores) {
                gw_cond_wait_until(&store->work, &store->lock, store->work_at);
            } else {
                pthread_cond_wait(&store->work, &store->lock);
            }
            continue;
        }
        store_collect(store, failed);
        struct gw_disk_state state = store_take(store);
        pthread_mutex_unlock(&store->lock);
        failed = !store_write(store, &state);
        if (store->batch.chores && !failed)
            store_work(store);
        pthread_mutex_lock(&store->lock);
        if (store->urgent)
            gw_disk_series_answer(store, true);
    }
    while (gw_disk_series_answer(store, true))
        ;
    pthread_mutex_unlock(&store->lock);
    return NULL;
}

/* --- start and stop --------------------------------------------------------------------------------------------- */

static enum gw_err disk_open(const void *options, struct gw_engine_found *found, struct gw_engine_store **out,
                             struct gw_buf *error)
{
    const struct gw_disk_options *own = options;
    struct gw_engine_store *store = gw_calloc(1, sizeof *store);
    enum gw_err err = gw_disk_db_open(&store->db, own->path, &store->state, error);
    if (err != GW_OK) {
        free(store);
        return err;
    }
    gw_cond_init(&store->work);
    gw_cond_init(&store->room);
    pthread_mutex_init(&store->lock, NULL);
    store->flush_ms = own->flush_ms;
    store->queue_bytes = own->queue_bytes;
    store->block = own->block;
    gw_disk_batch_init(&store->batch);
    store->batch.series.most = own->series;
    store->asked_end = &store->asked;

    const struct gw_disk_state *state = &store->state;
    *found = (struct gw_engine_found){
        .clean = state->clean,
        .seq = state->clean ? state->seq : state->reserved,
        .lost = state->clean ? state->lost : state->reserved,
        .forgotten = state->clean ? state->forgotten : state->reserved,
    };
    memcpy(found->epoch, state->epoch, sizeof found->epoch);
    memcpy(store->epoch, state->epoch, sizeof store->epoch);
    store->seq = found->seq;
    store->ask_at = found->seq + 1;
    *out = store;
    return GW_OK;
}

static enum gw_err disk_load(struct gw_engine_store *store, const struct gw_engine_load *load, struct gw_buf *error)
{
    enum gw_err err = gw_disk_db_load(&store->db, store->state.epoch, gw_disk_batch_know, &store->batch, load, error);
    if (err == GW_OK &&
        (!gw_disk_series_load(&store->db, gw_disk_batch_know_series, &store->batch, &store->batch.series.next_id) ||
         !gw_disk_gaps_load(&store->batch.gaps, &store->db))) {
        gw_buf_printf(error, "storage.path: can't read '%s': %s", sqlite3_db_filename(store->db.handle, "main"),
                      gw_disk_db_error(&store->db));
        err = GW_ERR_INTERNAL;
    }
    return err;
}

static enum gw_err disk_start(struct gw_engine_store *store, const struct gw_engine_sink *sink, struct gw_buf *error)
{
    store->sink = *sink;
    struct gw_disk_state state = store->state;
    uint64_t seq = state.clean ? state.seq : state.reserved;
    if (!state.clean)
        state.lost = state.forgotten = state.reserved;
    state.clean = false;
    state.reserved = seq + store->block;
    gw_disk_batch_drop_unkept(&store->batch);
    store->batch.chores = true;
    store->lost = state.lost;
    store->forgotten = state.forgotten;
    store->wanted = state.reserved;
    state.written = gw_wall_ms();
    gw_disk_gaps_add(&store->batch.gaps, store->state.written, state.written, 0); /* it was not running */
    if (!store_write(store, &state)) {
        gw_buf_printf(error, "storage.path: can't write to '%s': %s", sqlite3_db_filename(store->db.handle, "main"),
                      gw_disk_db_error(&store->db));
        return GW_ERR_INTERNAL;
    }
    if (pthread_create(&store->thread, NULL, store_run, store)) {
        gw_buf_adds(error, "can't start the thread that writes the history");
        return GW_ERR_INTERNAL;
    }
    pthread_setname_np(store->thread, "history"); /* for top -H and the benchmark */
    store->started = true;
    return GW_OK;
}

static void store_free(struct gw_engine_store *store)
{
    gw_disk_queue_fini(&store->queue);
    gw_disk_batch_fini(&store->batch);
    gw_disk_db_close(&store->db);
    pthread_cond_destroy(&store->work);
    pthread_cond_destroy(&store->room);
    pthread_mutex_destroy(&store->lock);
    free(store);
}

static void disk_close(struct gw_engine_store *store, bool in_order, uint64_t forgotten)
{
    if (store->started) {
        pthread_mutex_lock(&store->lock);
        store->closing = true;
        pthread_cond_signal(&store->work);
        pthread_cond_broadcast(&store->room);
        pthread_mutex_unlock(&store->lock);
        pthread_join(store->thread, NULL);

        pthread_mutex_lock(&store->lock);
        struct gw_disk_state state = store_take(store);
        pthread_mutex_unlock(&store->lock);
        state.clean = in_order;
        if (in_order) {
            state.seq = store->seq;
            state.written = gw_wall_ms();
            state.forgotten = forgotten > state.forgotten ? forgotten : state.forgotten;
        }
        if (!store_write(store, &state))
            gw_log(GW_LOG_ERROR, "history", "what was not written is lost; the next start tells clients of a gap");
    }
    store_free(store);
}

const struct gw_engine gw_engine_disk = {
    .name = "disk",
    .options = &gw_disk_options,
    .open = disk_open,
    .load = disk_load,
    .start = disk_start,
    .append = disk_append,
    .keep = disk_keep,
    .update = disk_update,
    .forget = disk_forget,
    .series = gw_disk_series_ask,
    .close = disk_close,
    .stats = disk_stats,
};

const struct gw_history_engine gw_history_disk = {.name = "disk", .kept = true, GW_MEMORY_RING};
