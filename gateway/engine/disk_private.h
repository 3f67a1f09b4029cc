/* disk_private.h: the state of the engine `disk`, for disk.c and disk_series.c. */
#ifndef GW_ENGINE_DISK_PRIVATE_H
#define GW_ENGINE_DISK_PRIVATE_H

#include <pthread.h>

#include "engine/disk_batch.h"

struct gw_engine_store {
    pthread_mutex_t lock;
    pthread_cond_t work;          /* {lock} for the writer */
    pthread_cond_t room;          /* {lock} for reserve() */
    struct gw_disk_queue queue;   /* {lock} */
    size_t bytes;                 /* {lock} of the queue and of the batch that is not written yet */
    bool closing;                 /* {lock} */
    uint64_t reserved, wanted;    /* {lock} numbers up to here are reserved, or are to be */
    uint64_t lost, forgotten;     /* {lock} */
    struct gw_engine_stats stats; /* {lock} */
    int64_t newest_ts;            /* {lock} of the messages that were put; 0: none yet. Any that is lost came later */
    int64_t dropped_from, dropped_to;            /* {lock} when messages came that were dropped; 0: none */
    struct gw_engine_series *asked, **asked_end; /* {lock} charts that are wanted */
    bool urgent;                                 /* {lock} the first of them needs what waits */

    pthread_t thread;
    bool started;
    int64_t flush_ms;
    size_t queue_bytes;
    uint64_t block;
    char epoch[GW_ENGINE_EPOCH_MAX + 1];
    struct gw_engine_sink sink;

    /* The MQTT thread's until it has ended. */
    uint64_t seq;    /* the last number given */
    uint64_t ask_at; /* numbers from here on must be asked for */

    /* Main's until start() and after the thread has ended, the writer's between. */
    struct gw_disk_db db;
    struct gw_disk_state state;
    struct gw_disk_batch batch;
    int64_t work_at; /* monotonic: windows are not to be filled or deleted before */
};

/* struct gw_engine's series(). */
enum gw_err gw_disk_series_ask(struct gw_engine_store *store, struct gw_engine_series *question);
/* Answers the first, unless what waits has to be written before. {lock}, which is given up meanwhile. False: there is
 * none, or it has to wait. Thread: the writer's. */
bool gw_disk_series_answer(struct gw_engine_store *store, bool written);

#endif
