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
}

void gw_disk_queue_fini(struct gw_disk_queue *queue)
{
    for (size_t i = 0; i < queue->count; i++)
        gw_disk_entry_release(&queue->entries[i]);
    free(queue->entries);
    *queue = (struct gw_disk_queue){.entries = NULL};
}

/* --- records ---------------------------------------------------------------------------------------------------- */

static struct gw_disk_record *record_of(struct gw_disk_batch *batch, const struct gw_engine_channel *channel)
{
    struct gw_table_item *item = gw_table_first(&batch->records, channel->hash);
    for (; item; item = gw_table_next(item)) {
        struct gw_disk_record *known = (struct gw_disk_record *)item;
        if (known->channel.len == channel->len && !memcmp(known->channel.name, channel->name, channel->len))
            return known;
    }
    struct gw_disk_record *record = gw_calloc(1, sizeof *record);
    record->channel = *channel;
    record->channel.name = gw_strndup(channel->name, channel->len);
    record->id = batch->next_id++;
    gw_table_add(&batch->records, &record->item, channel->hash);
    return record;
}

static void record_free(struct gw_disk_record *record)
{
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

void gw_disk_batch_init(struct gw_disk_batch *batch)
{
    *batch = (struct gw_disk_batch){.next_id = 1};
}

void gw_disk_batch_fini(struct gw_disk_batch *batch)
{
    gw_disk_queue_fini(&batch->queue);
    for (struct gw_table_item *item = gw_table_empty(&batch->records), *next; item; item = next) {
        next = item->next;
        record_free((struct gw_disk_record *)item);
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
        }
    }
}

static bool batch_put_messages(struct gw_disk_batch *batch, struct gw_disk_db *db, uint64_t *written)
{
    for (size_t i = 0; i < batch->queue.count; i++) {
        const struct gw_disk_entry *entry = &batch->queue.entries[i];
        const struct gw_disk_record *record = entry->record;
        if (!entry->msg || i < record->since ||
            (entry->msg->seq <= record->channel.evicted && entry->msg->seq != record->channel.last))
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
    for (const struct gw_disk_record *record = batch->dirty; record; record = record->next_dirty) {
        if (record->wipe && !gw_disk_db_wipe(db, record->id))
            return false;
    }
    if (!batch_put_messages(batch, db, written))
        return false;
    for (const struct gw_disk_record *record = batch->dirty; record; record = record->next_dirty) {
        if (!record->gone && (!gw_disk_db_put_channel(db, record->id, &record->channel) ||
                              !gw_disk_db_prune(db, record->id, record->channel.evicted, record->channel.last)))
            return false;
    }
    return gw_disk_db_put_state(db, state) && gw_disk_db_commit(db);
}

bool gw_disk_batch_write(struct gw_disk_batch *batch, struct gw_disk_db *db, const struct gw_disk_state *state,
                         uint64_t *written)
{
    *written = 0;
    batch_apply(batch);
    return batch_put(batch, db, state, written);
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
            record_free(record);
        }
    }
    batch->dirty = NULL;
    return bytes;
}
