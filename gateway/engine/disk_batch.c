#include "engine/disk_batch.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"

#define ENTRY_BYTES 128 /* what an entry costs besides its message */

/* A channel as the database knows it, or will after this batch. */
struct gw_disk_record {
    struct gw_table_item item; /* first member */
    struct gw_disk_record *next_dirty;
    struct gw_engine_channel channel; /* the name is malloc'd */
    int64_t id;
    size_t since; /* entries of the batch before this one are void: the channel was forgotten there */
    bool dirty, wipe, gone;
    struct gw_disk_rolled *rolled; /* NULL: nothing of it is rolled up */
};

/* --- the queue -------------------------------------------------------------------------------------------------- */

void gw_disk_queue_add(struct gw_disk_queue *queue, const struct gw_disk_entry *entry)
{
    GW_GROW(queue->entries, queue->count, queue->allocated, 64);
    queue->entries[queue->count++] = *entry;
}

size_t gw_disk_entry_bytes(const struct gw_disk_entry *entry)
{
    return ENTRY_BYTES + (entry->msg ? gw_message_size(entry->msg) : entry->channel.len);
}

void gw_disk_entry_release(struct gw_disk_entry *entry)
{
    if (!entry->msg)
        free((char *)(uintptr_t)entry->channel.name);
    gw_message_unref(entry->msg);
    gw_rollup_unref(entry->rollup);
}

void gw_disk_queue_fini(struct gw_disk_queue *queue)
{
    for (size_t i = 0; i < queue->count; i++)
        gw_disk_entry_release(&queue->entries[i]);
    free(queue->entries);
    *queue = (struct gw_disk_queue){.entries = NULL};
}

/* --- records ---------------------------------------------------------------------------------------------------- */

/* NULL: there is none of that name. */
static struct gw_disk_record *record_find(const struct gw_disk_batch *batch, const struct gw_engine_channel *channel)
{
    struct gw_table_item *item = gw_table_first(&batch->records, channel->hash);
    for (; item; item = gw_table_next(item)) {
        struct gw_disk_record *known = (struct gw_disk_record *)item;
        if (known->channel.len == channel->len && !memcmp(known->channel.name, channel->name, channel->len))
            return known;
    }
    return NULL;
}

static struct gw_disk_record *record_of(struct gw_disk_batch *batch, const struct gw_engine_channel *channel)
{
    struct gw_disk_record *record = record_find(batch, channel);
    if (record)
        return record;
    record = gw_calloc(1, sizeof *record);
    record->channel = *channel;
    record->channel.name = gw_strndup(channel->name, channel->len);
    record->id = batch->next_id++;
    gw_table_add(&batch->records, &record->item, channel->hash);
    return record;
}

static void record_forget_series(struct gw_disk_batch *batch, struct gw_disk_record *record)
{
    if (record->rolled)
        gw_disk_rolled_forget(record->rolled, &batch->series);
    free(record->rolled);
    record->rolled = NULL;
}

static void record_free(struct gw_disk_batch *batch, struct gw_disk_record *record)
{
    record_forget_series(batch, record);
    free((char *)(uintptr_t)record->channel.name);
    free(record);
}

void gw_disk_batch_know(void *context, const struct gw_engine_channel *channel, int64_t id)
{
    struct gw_disk_batch *batch = context;
    struct gw_disk_record *record = record_of(batch, channel);
    record->id = id;
    if (batch->next_id <= id)
        batch->next_id = id + 1;
    record->gone = !channel->kept; /* only that process knew it; gw_disk_batch_drop_unkept() */
}

void gw_disk_batch_know_series(void *context, const char *channel, size_t len, const struct gw_disk_series *series)
{
    struct gw_disk_batch *batch = context;
    const struct gw_engine_channel name = {.name = channel, .len = len, .hash = gw_hash(channel, len)};
    struct gw_disk_record *record = record_find(batch, &name);
    if (!record)
        return;
    if (!record->rolled)
        record->rolled = gw_calloc(1, sizeof *record->rolled);
    gw_disk_rolled_know(record->rolled, &batch->series, series);
}

const struct gw_disk_rolled *gw_disk_batch_rolled(const struct gw_disk_batch *batch,
                                                  const struct gw_engine_series *question)
{
    const struct gw_engine_channel channel = {
        .name = question->channel, .len = question->len, .hash = question->hash};
    const struct gw_disk_record *record = record_find(batch, &channel);
    return record ? record->rolled : NULL;
}

void gw_disk_batch_init(struct gw_disk_batch *batch)
{
    *batch = (struct gw_disk_batch){.next_id = 1, .series = {.next_id = 1}, .gaps = {.next_id = 1}};
}

void gw_disk_batch_fini(struct gw_disk_batch *batch)
{
    gw_disk_queue_fini(&batch->queue);
    for (struct gw_table_item *item = gw_table_empty(&batch->records), *next; item; item = next) {
        next = item->next;
        record_free(batch, (struct gw_disk_record *)item);
    }
}

void gw_disk_batch_drop_unkept(struct gw_disk_batch *batch)
{
    for (size_t i = 0; i < batch->records.size; i++) {
        for (struct gw_table_item *item = batch->records.buckets[i]; item; item = item->next) {
            struct gw_disk_record *record = (struct gw_disk_record *)item;
            if (record->gone && !record->dirty) {
                record->dirty = record->wipe = true;
                record->next_dirty = batch->dirty;
                batch->dirty = record;
            }
        }
    }
}

/* --- the batch -------------------------------------------------------------------------------------------------- */

void gw_disk_batch_take(struct gw_disk_batch *batch, struct gw_disk_queue *queue)
{
    if (!batch->queue.count) {
        struct gw_disk_queue taken = *queue;
        *queue = batch->queue;
        batch->queue = taken;
        return;
    }
    for (size_t i = 0; i < queue->count; i++)
        gw_disk_queue_add(&batch->queue, &queue->entries[i]);
    queue->count = 0;
}

/* What the batch makes of the channels. Done again from the start where a transaction failed. */
static void batch_apply(struct gw_disk_batch *batch)
{
    for (size_t i = 0; i < batch->queue.count; i++) {
        struct gw_disk_entry *entry = &batch->queue.entries[i];
        struct gw_disk_record *record = entry->record = record_of(batch, &entry->channel);
        if (!record->dirty) {
            record->dirty = true;
            record->next_dirty = batch->dirty;
            batch->dirty = record;
        }
        const char *name = record->channel.name;
        record->gone = entry->kind == DISK_FORGET;
        if (record->gone) {
            record->wipe = true;
            record->since = i + 1;
        } else {
            record->channel = entry->channel;
            record->channel.name = name;
            record->channel.rollup = NULL;
        }
    }
}

static bool batch_roll_up(struct gw_disk_batch *batch, struct gw_disk_db *db, struct gw_disk_record *record,
                          const struct gw_disk_entry *entry)
{
    if (!entry->rollup && !record->rolled)
        return true;
    if (!record->rolled)
        record->rolled = gw_calloc(1, sizeof *record->rolled);
    batch->chores |= record->rolled->rollup != entry->rollup;
    bool first = !entry->channel.before_last && entry->channel.last_seq == entry->msg->seq;
    return gw_disk_rolled_add(record->rolled, &batch->series, db, record->id, entry->rollup, entry->msg, first);
}

static bool batch_settle(struct gw_disk_batch *batch, struct gw_disk_db *db, struct gw_disk_record *record,
                         struct gw_rollup *rollup)
{
    batch->chores = true;
    if (!record->rolled)
        return true;
    return gw_disk_rolled_settle(record->rolled, db, record->id, rollup);
}

static bool batch_put_messages(struct gw_disk_batch *batch, struct gw_disk_db *db, uint64_t *written)
{
    for (size_t i = 0; i < batch->queue.count; i++) {
        const struct gw_disk_entry *entry = &batch->queue.entries[i];
        struct gw_disk_record *record = entry->record;
        if (i < record->since)
            continue;
        if (entry->channel.settle && !batch_settle(batch, db, record, entry->rollup))
            return false;
        if (!entry->msg)
            continue;
        if (!batch_roll_up(batch, db, record, entry))
            return false;
        if (entry->msg->seq <= record->channel.evicted && entry->msg->seq != record->channel.last)
            continue; /* gone again, or will be */
        if (!gw_disk_db_put_message(db, record->id, entry->msg))
            return false;
        ++*written;
    }
    return true;
}

static bool batch_put(struct gw_disk_batch *batch, struct gw_disk_db *db, const struct gw_disk_state *state,
                      uint64_t *written)
{
    if (!gw_disk_db_begin(db))
        return false;
    for (struct gw_disk_record *record = batch->dirty; record; record = record->next_dirty) {
        if (!record->wipe)
            continue;
        if (!gw_disk_db_wipe(db, record->id))
            return false;
        batch->chores = true;
        record_forget_series(batch, record);
    }
    if (!batch_put_messages(batch, db, written))
        return false;
    for (const struct gw_disk_record *record = batch->dirty; record; record = record->next_dirty) {
        if (!record->gone && ((record->rolled && !gw_disk_rolled_put(record->rolled, db, record->id)) ||
                              !gw_disk_db_put_channel(db, record->id, &record->channel) ||
                              !gw_disk_db_prune(db, record->id, record->channel.evicted, record->channel.last)))
            return false;
    }
    return gw_disk_gaps_put(&batch->gaps, db) && gw_disk_db_put_state(db, state) && gw_disk_db_commit(db);
}

bool gw_disk_batch_write(struct gw_disk_batch *batch, struct gw_disk_db *db, const struct gw_disk_state *state,
                         uint64_t *written)
{
    *written = 0;
    batch_apply(batch);
    bool good = batch_put(batch, db, state, written);
    for (const struct gw_disk_record *record = batch->dirty; record; record = record->next_dirty) {
        if (record->rolled)
            gw_disk_rolled_done(record->rolled, &batch->series, good);
    }
    if (good)
        gw_disk_gaps_done(&batch->gaps);
    return good;
}

size_t gw_disk_batch_done(struct gw_disk_batch *batch)
{
    size_t bytes = 0;
    for (size_t i = 0; i < batch->queue.count; i++) {
        bytes += gw_disk_entry_bytes(&batch->queue.entries[i]);
        gw_disk_entry_release(&batch->queue.entries[i]);
    }
    batch->queue.count = 0;
    for (struct gw_disk_record *record = batch->dirty, *next; record; record = next) {
        next = record->next_dirty;
        record->dirty = record->wipe = false;
        record->since = 0;
        if (record->gone) {
            gw_table_remove(&batch->records, &record->item);
            record_free(batch, record);
        }
    }
    batch->dirty = NULL;
    return bytes;
}
