/* disk_rollup.h: what the numbers of channels were, in windows, for longer than their messages are kept.
 *
 * A message is rolled up in the transaction that stores it, so a kill tears nothing apart; and once, since each
 * series knows the number of the last one it has. Thread: the writer's, or main's before it starts. */
#ifndef GW_ENGINE_DISK_ROLLUP_H
#define GW_ENGINE_DISK_ROLLUP_H

#include "engine/disk_db.h"
#include "gateway/series.h"

/* A field of a channel. */
struct gw_disk_series {
    int64_t id;
    char *field;
    uint64_t seq; /* of the last message that is in its windows, whatever the field held */
    int64_t ts;   /* ... when it came */
    struct {
        uint64_t seq;
        int64_t ts;
        bool dirty;
        struct gw_window open[GW_ROLLUP_STEPS_MAX]; /* empty: none */
    } now;                                          /* of the transaction that is being made */
    bool stored;                                    /* the database has it */
    bool leaves;                                    /* nobody wants it any more: with this transaction */
};

/* Of one channel. */
struct gw_disk_rolled {
    struct gw_rollup *rollup; /* a reference; NULL: not known yet */
    struct gw_disk_series *series[GW_ROLLUP_FIELDS_MAX];
    uint32_t count;
    int64_t pruned_ms; /* monotonic */
    bool settled;      /* in the transaction that is being made */
};

/* How many there may be, in all channels. */
struct gw_disk_series_count {
    uint64_t now, most, refused;
    int64_t next_id;
};

/* The database has it. */
void gw_disk_rolled_know(struct gw_disk_rolled *rolled, struct gw_disk_series_count *all,
                         const struct gw_disk_series *series);
/* Inside a transaction. `first`: the channel had no message before it. */
bool gw_disk_rolled_add(struct gw_disk_rolled *rolled, struct gw_disk_series_count *all, struct gw_disk_db *db,
                        int64_t channel, struct gw_rollup *rollup, const struct gw_message *msg, bool first);
/* Inside a transaction: the channel's route wants this from now on; NULL: nothing. */
bool gw_disk_rolled_settle(struct gw_disk_rolled *rolled, struct gw_disk_db *db, int64_t channel,
                           struct gw_rollup *rollup);
bool gw_disk_rolled_put(struct gw_disk_rolled *rolled, struct gw_disk_db *db, int64_t channel);
/* It was committed, or not. */
void gw_disk_rolled_done(struct gw_disk_rolled *rolled, struct gw_disk_series_count *all, bool good);
/* The channel is gone. */
void gw_disk_rolled_forget(struct gw_disk_rolled *rolled, struct gw_disk_series_count *all);
/* NULL: there is none. */
const struct gw_disk_series *gw_disk_rolled_find(const struct gw_disk_rolled *rolled, const char *field);
bool gw_disk_rolled_read(const struct gw_disk_series *series, struct gw_disk_db *db,
                         struct gw_engine_series *question);

/* Inside a transaction: adds what the window has to what the database has, and empties it. */
bool gw_disk_window_put(struct gw_disk_db *db, int64_t series, int64_t every_ms, struct gw_window *window);

/* Times in which messages may have been missed, of all channels: the process did not run, or the disk was too slow.
 */
#define GW_DISK_GAPS 512

struct gw_disk_gap {
    int64_t id, from, to;
    bool dirty;
};

struct gw_disk_gaps {
    struct gw_disk_gap items[GW_DISK_GAPS]; /* the first begins with time itself */
    uint32_t count;
    int64_t next_id;
};

bool gw_disk_gaps_load(struct gw_disk_gaps *gaps, struct gw_disk_db *db);
/* `join_ms`: one that begins so soon after the last one continues it. */
void gw_disk_gaps_add(struct gw_disk_gaps *gaps, int64_t from, int64_t to, int64_t join_ms);
/* Inside a transaction. */
bool gw_disk_gaps_put(struct gw_disk_gaps *gaps, struct gw_disk_db *db);
void gw_disk_gaps_done(struct gw_disk_gaps *gaps);

/* Every series, with the name of its channel. `*next_id` becomes larger than all numbers. */
bool gw_disk_series_load(struct gw_disk_db *db,
                         void (*know)(void *context, const char *channel, size_t len,
                                      const struct gw_disk_series *series),
                         void *context, int64_t *next_id);

#endif
