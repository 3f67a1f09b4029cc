/* disk_batch.h: changes on their way to the database, and which channels it knows.
 *
 * A batch is written in one transaction, and leaves out what the rings have dropped again by its end. It stays until
 * it is written: after a failure it is tried again as a whole, with what came since. Thread: the queue: whoever holds
 * the store's lock; the batch: the writer's. */
#ifndef GW_ENGINE_DISK_BATCH_H
#define GW_ENGINE_DISK_BATCH_H

#include "engine/disk_db.h"
#include "engine/disk_rollup.h"
#include "gateway/table.h"

enum gw_disk_kind { DISK_APPEND, DISK_UPDATE, DISK_FORGET };

struct gw_disk_record;

struct gw_disk_entry {
    enum gw_disk_kind kind;
    struct gw_message *msg;           /* of DISK_APPEND; its name is the channel's */
    struct gw_engine_channel channel; /* otherwise the name is malloc'd */
    struct gw_disk_record *record;    /* the batch's */
    struct gw_rollup *rollup;         /* a reference; NULL: none */
};

struct gw_disk_queue {
    struct gw_disk_entry *entries;
    size_t count, allocated;
};

void gw_disk_queue_add(struct gw_disk_queue *queue, const struct gw_disk_entry *entry);
/* What an entry counts for in storage.queue. */
size_t gw_disk_entry_bytes(const struct gw_disk_entry *entry);
void gw_disk_entry_release(struct gw_disk_entry *entry);
/* Releases all. */
void gw_disk_queue_fini(struct gw_disk_queue *queue);

struct gw_disk_batch {
    struct gw_disk_queue queue;
    struct gw_table records; /* by hash of the channel's name */
    struct gw_disk_record *dirty;
    int64_t next_id;
    struct gw_disk_series_count series;
    struct gw_disk_gaps gaps;
    bool chores; /* there may be work for gw_disk_steps_work() */
};

void gw_disk_batch_init(struct gw_disk_batch *batch);
void gw_disk_batch_fini(struct gw_disk_batch *batch);
/* The database has this channel, under this number. */
void gw_disk_batch_know(void *batch, const struct gw_engine_channel *channel, int64_t id);
/* ... and has rolled up this field of it; after all channels. */
void gw_disk_batch_know_series(void *batch, const char *channel, size_t len, const struct gw_disk_series *series);
/* What is rolled up of the channel; NULL: nothing. */
const struct gw_disk_rolled *gw_disk_batch_rolled(const struct gw_disk_batch *batch,
                                                  const struct gw_engine_series *question);
/* Channels that only the last process knew leave with the next batch. */
void gw_disk_batch_drop_unkept(struct gw_disk_batch *batch);
/* Moves everything out of the queue. */
void gw_disk_batch_take(struct gw_disk_batch *batch, struct gw_disk_queue *queue);
/* One transaction; false: nothing of it was written. */
GW_MUST_CHECK bool gw_disk_batch_write(struct gw_disk_batch *batch, struct gw_disk_db *db,
                                       const struct gw_disk_state *state, uint64_t *written);
/* It was written. Returns the gw_disk_entry_bytes() of all. */
size_t gw_disk_batch_done(struct gw_disk_batch *batch);

#endif
