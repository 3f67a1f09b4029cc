/* disk_db.h: the database of the engine `disk`: the only file that speaks SQL.
 *
 *   state    one row: epoch, numbers, was the stop in order
 *   channel  what gw_engine_channel holds
 *   message  what the rings of worker 0 hold, and last values
 *   series   a field of a channel that is rolled up, and how far
 *   step     a length of its windows: since when they are whole, and what is to be done, disk_steps.h
 *   rollup   its windows
 *   gap      times in which messages may have been missed
 *
 * Functions return false or an error on failure, and gw_disk_db_error() then says why. Thread: one at a time. */
#ifndef GW_ENGINE_DISK_DB_H
#define GW_ENGINE_DISK_DB_H

#include <sqlite3.h>

#include "gateway/engine.h"

enum gw_disk_statement {
    DISK_BEGIN,
    DISK_COMMIT,
    DISK_ROLLBACK,
    DISK_STATE,
    DISK_CHANNEL,
    DISK_MESSAGE,
    DISK_PRUNE,
    DISK_WIPE_MESSAGES,
    DISK_WIPE_CHANNEL,
    DISK_WIPE_ROLLUP,
    DISK_WIPE_SERIES,
    DISK_SERIES,
    DISK_WINDOW,
    DISK_WINDOWS,
    DISK_OLD_WINDOWS,
    DISK_SERIES_GONE,
    DISK_STEPS,
    DISK_STEP,
    DISK_PUT_STEP,
    DISK_STEP_KEEP,
    DISK_STEP_LEAVES,
    DISK_STEPS_LEAVE,
    DISK_STEP_GONE,
    DISK_CHORE,
    DISK_CHORE_MESSAGES,
    DISK_CHORE_DELETE,
    DISK_GAP,
    DISK_OLD_GAP,
    DISK_STATEMENTS
};

/* message.flags */
#define DISK_FLAG_RETAINED 1
#define DISK_FLAG_CLEAR    2
#define DISK_FLAG_BINARY   4
#define DISK_FLAG_STORED   8
#define DISK_FLAG_QOS      16
/* Above the flags is when the message expires, ms since 1970: 41 bits until the year 2039, and room for more. */
#define DISK_FLAG_BITS 8

struct gw_disk_db {
    sqlite3 *handle;
    sqlite3_stmt *statements[DISK_STATEMENTS];
    bool old;    /* of an earlier release, until it is upgraded */
    int version; /* ... as it was found */
};

struct gw_disk_state {
    char epoch[32];
    bool clean;
    uint64_t seq;      /* last number given, if clean */
    uint64_t reserved; /* no number above it was given */
    uint64_t lost, forgotten;
    int64_t written; /* whatever came before, ms since 1970, is there; 0: it was never started */
};

/* Opens, or makes, the database; locks it against other processes. On failure nothing is left open. */
GW_MUST_CHECK enum gw_err gw_disk_db_open(struct gw_disk_db *db, const char *path, struct gw_disk_state *state,
                                          struct gw_buf *error);
void gw_disk_db_close(struct gw_disk_db *db);

/* disk_load.c. Every channel, with its number in the database, and its messages. */
GW_MUST_CHECK enum gw_err
gw_disk_db_load(struct gw_disk_db *db, const char *epoch,
                void (*number)(void *context, const struct gw_engine_channel *channel, int64_t id),
                void *number_context, const struct gw_engine_load *load, struct gw_buf *error);

/* Inside a transaction: begin, then these, then commit; rollback after a failure. */
bool gw_disk_db_begin(struct gw_disk_db *db);
bool gw_disk_db_put_state(struct gw_disk_db *db, const struct gw_disk_state *state);
bool gw_disk_db_put_channel(struct gw_disk_db *db, int64_t id, const struct gw_engine_channel *channel);
bool gw_disk_db_put_message(struct gw_disk_db *db, int64_t id, const struct gw_message *msg);
/* Removes messages up to `evicted`, but for the last value. */
bool gw_disk_db_prune(struct gw_disk_db *db, int64_t id, uint64_t evicted, uint64_t last);
bool gw_disk_db_wipe(struct gw_disk_db *db, int64_t id);
bool gw_disk_db_commit(struct gw_disk_db *db);
void gw_disk_db_rollback(struct gw_disk_db *db);

/* disk_rollup.c binds and steps the statements of its own tables. */
bool gw_disk_db_step(struct gw_disk_db *db, enum gw_disk_statement statement);

const char *gw_disk_db_error(struct gw_disk_db *db);

#endif
