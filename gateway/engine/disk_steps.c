/* disk_steps.c: lengths of windows that come and go. */
#include "engine/disk_steps.h"

#include <stdlib.h>
#include <string.h>

#include "engine/disk_rollup.h"
#include "gateway/alloc.h"
#include "gateway/clock.h"

/* Of a slice: rows at a time, and how long it goes on. */
#define SLICE_ROWS 1000
#define SLICE_NS   5000000

enum step_state { STEP_READY, STEP_FILLS, STEP_LEAVES };

struct step {
    int64_t series, every_ms, keep_ms;
    int64_t since; /* what came from then on is in the windows */
    uint64_t next; /* while it fills: messages below are yet to be read */
    int64_t bound; /* ... and those in windows that begin later are in them already */
    enum step_state state;
};

static bool step_put(struct gw_disk_db *db, const struct step *step)
{
    sqlite3_stmt *put = db->statements[DISK_PUT_STEP];
    sqlite3_bind_int64(put, 1, step->series);
    sqlite3_bind_int64(put, 2, step->every_ms);
    sqlite3_bind_int64(put, 3, step->keep_ms);
    sqlite3_bind_int64(put, 4, step->since);
    sqlite3_bind_int64(put, 5, (int64_t)step->next);
    sqlite3_bind_int64(put, 6, step->bound);
    sqlite3_bind_int(put, 7, (int)step->state);
    return gw_disk_db_step(db, DISK_PUT_STEP);
}

static bool step_do(struct gw_disk_db *db, enum gw_disk_statement what, int64_t series, int64_t every_ms)
{
    sqlite3_stmt *statement = db->statements[what];
    sqlite3_bind_int64(statement, 1, series);
    if (what != DISK_STEPS_LEAVE)
        sqlite3_bind_int64(statement, 2, every_ms);
    return gw_disk_db_step(db, what);
}

static bool step_delete_before(struct gw_disk_db *db, int64_t series, int64_t every_ms, int64_t t)
{
    sqlite3_bind_int64(db->statements[DISK_OLD_WINDOWS], 3, t);
    return step_do(db, DISK_OLD_WINDOWS, series, every_ms);
}

/* --- what the configuration wants ------------------------------------------------------------------------------- */

bool gw_disk_steps_begin(struct gw_disk_db *db, int64_t series, const struct gw_rollup *rollup, uint64_t seq,
                         int64_t since)
{
    for (uint32_t i = 0; i < rollup->step_count; i++) {
        const struct step step = {.series = series,
                                  .every_ms = rollup->steps[i].every_ms,
                                  .keep_ms = rollup->steps[i].keep_ms,
                                  .since = since,
                                  .next = seq,
                                  .bound = INT64_MAX,
                                  .state = since ? STEP_FILLS : STEP_READY};
        if (!step_put(db, &step))
            return false;
    }
    return true;
}

/* The rows of a series. Returns how many, or -1. */
static int steps_read(struct gw_disk_db *db, int64_t series, struct step **steps)
{
    sqlite3_stmt *rows = db->statements[DISK_STEPS];
    size_t count = 0, allocated = 0;
    int rc;
    *steps = NULL;
    sqlite3_bind_int64(rows, 1, series);
    while ((rc = sqlite3_step(rows)) == SQLITE_ROW) {
        GW_GROW(*steps, count, allocated, 8);
        (*steps)[count++] = (struct step){
            .series = series,
            .every_ms = sqlite3_column_int64(rows, 0),
            .keep_ms = sqlite3_column_type(rows, 1) == SQLITE_NULL ? -1 : sqlite3_column_int64(rows, 1),
            .since = sqlite3_column_int64(rows, 2),
            .state = (enum step_state)sqlite3_column_int(rows, 3),
        };
    }
    sqlite3_reset(rows);
    return rc == SQLITE_DONE ? (int)count : -1;
}

/* What is older than it was kept before is not there, or leaves now and comes again. */
static bool step_keeps_longer(struct gw_disk_db *db, struct step *step, int64_t keep_ms, uint64_t next)
{
    step->bound = gw_window_begin(gw_wall_ms() - step->keep_ms, step->every_ms);
    step->keep_ms = keep_ms;
    step->since = step->since > step->bound ? step->since : step->bound;
    step->next = next;
    step->state = STEP_FILLS;
    return step_delete_before(db, step->series, step->every_ms, step->bound) && step_put(db, step);
}

static bool step_settle(struct gw_disk_db *db, struct step *known, const struct gw_rollup_step *wanted,
                        const struct gw_disk_series *series)
{
    if (known && known->state != STEP_LEAVES) {
        /* One that is being filled goes on until the new end. */
        if (known->keep_ms >= 0 && known->keep_ms < wanted->keep_ms && known->state == STEP_READY)
            return step_keeps_longer(db, known, wanted->keep_ms, series->now.seq + 1);
        if (known->keep_ms == wanted->keep_ms)
            return true;
        sqlite3_bind_int64(db->statements[DISK_STEP_KEEP], 3, wanted->keep_ms);
        return step_do(db, DISK_STEP_KEEP, known->series, known->every_ms);
    }
    const struct step step = {.series = series->id,
                              .every_ms = wanted->every_ms,
                              .keep_ms = wanted->keep_ms,
                              .since = series->now.ts + 1,
                              .next = series->now.seq + 1,
                              .bound = INT64_MAX,
                              .state = STEP_FILLS};
    return (!known || step_delete_before(db, series->id, wanted->every_ms, INT64_MAX)) && step_put(db, &step);
}

bool gw_disk_steps_settle(struct gw_disk_db *db, const struct gw_disk_series *series, const struct gw_rollup *rollup)
{
    struct step *steps;
    int count = steps_read(db, series->id, &steps);
    bool good = count >= 0;
    for (uint32_t i = 0; good && i < rollup->step_count; i++) {
        struct step *known = NULL;
        for (int j = 0; j < count; j++) {
            if (steps[j].every_ms == rollup->steps[i].every_ms)
                known = &steps[j];
        }
        good = step_settle(db, known, &rollup->steps[i], series);
        if (known)
            known->series = 0; /* it stays */
    }
    for (int j = 0; good && j < count; j++)
        good = !steps[j].series || step_do(db, DISK_STEP_LEAVES, series->id, steps[j].every_ms);
    free(steps);
    return good;
}

bool gw_disk_steps_leave(struct gw_disk_db *db, int64_t series)
{
    sqlite3_bind_int64(db->statements[DISK_SERIES_GONE], 1, series);
    return step_do(db, DISK_STEPS_LEAVE, series, 0) && gw_disk_db_step(db, DISK_SERIES_GONE);
}

bool gw_disk_step_since(struct gw_disk_db *db, int64_t series, int64_t every_ms, int64_t *since)
{
    sqlite3_stmt *row = db->statements[DISK_STEP];
    sqlite3_bind_int64(row, 1, series);
    sqlite3_bind_int64(row, 2, every_ms);
    bool there = sqlite3_step(row) == SQLITE_ROW;
    if (there)
        *since = sqlite3_column_int64(row, 0);
    sqlite3_reset(row);
    return there;
}

/* --- slices ----------------------------------------------------------------------------------------------------- */

struct chore {
    struct step step;
    int64_t channel;
    char *field; /* NULL: the series is gone */
    uint64_t evicted, last_seq;
};

/* False: there is none, or `*good` is false. */
static bool chore_find(struct gw_disk_db *db, struct chore *chore, bool *good)
{
    sqlite3_stmt *row = db->statements[DISK_CHORE];
    int rc = sqlite3_step(row);
    *good = rc == SQLITE_ROW || rc == SQLITE_DONE;
    if (rc == SQLITE_ROW) {
        const char *field = (const char *)sqlite3_column_text(row, 8);
        *chore = (struct chore){
            .step = {.series = sqlite3_column_int64(row, 0),
                     .every_ms = sqlite3_column_int64(row, 1),
                     .keep_ms = sqlite3_column_int64(row, 2),
                     .since = sqlite3_column_int64(row, 3),
                     .next = (uint64_t)sqlite3_column_int64(row, 4),
                     .bound = sqlite3_column_int64(row, 5),
                     .state = (enum step_state)sqlite3_column_int(row, 6)},
            .channel = sqlite3_column_int64(row, 7),
            .field = field ? gw_strdup(field) : NULL,
            .evicted = (uint64_t)sqlite3_column_int64(row, 9),
            .last_seq = (uint64_t)sqlite3_column_int64(row, 10),
        };
    }
    sqlite3_reset(row);
    return rc == SQLITE_ROW;
}

static bool chore_delete(struct gw_disk_db *db, const struct step *step)
{
    sqlite3_bind_int64(db->statements[DISK_CHORE_DELETE], 3, SLICE_ROWS);
    return step_do(db, DISK_CHORE_DELETE, step->series, step->every_ms) &&
           (sqlite3_changes(db->handle) || step_do(db, DISK_STEP_GONE, step->series, step->every_ms));
}

/* A row of the messages, into the window that is open. False: it could not be written. */
static bool chore_take(struct gw_disk_db *db, struct chore *chore, sqlite3_stmt *row, struct gw_window *open)
{
    struct step *step = &chore->step;
    step->next = (uint64_t)sqlite3_column_int64(row, 0);
    int64_t ts = sqlite3_column_int64(row, 1), t = gw_window_begin(ts, step->every_ms);
    step->since = ts < step->since ? ts + 1 : step->since; /* another one of the same millisecond is yet to be read */
    if (t >= step->bound)
        return true;
    if (open->t != t) {
        if (!gw_disk_window_put(db, step->series, step->every_ms, open))
            return false;
        open->t = t;
    }
    double sample;
    const char *json = sqlite3_column_blob(row, 2);
    bool any = json && gw_sample_of(json, (size_t)sqlite3_column_bytes(row, 2), chore->field, &sample);
    gw_window_add(open, step->next, any ? &sample : NULL);
    return true;
}

static bool chore_fill(struct gw_disk_db *db, struct chore *chore)
{
    struct step *step = &chore->step;
    struct gw_window open = {.t = INT64_MIN};
    sqlite3_stmt *rows = db->statements[DISK_CHORE_MESSAGES];
    int64_t oldest = gw_wall_ms() - step->keep_ms;
    /* Up to `evicted` only the last value is still there, and it belongs to the rest if it is the newest message. */
    uint64_t gone = chore->evicted >= chore->last_seq ? chore->last_seq - 1 : chore->evicted;
    int rc, read = 0;
    bool good = true;
    sqlite3_bind_int64(rows, 1, chore->channel);
    sqlite3_bind_int64(rows, 2, (int64_t)step->next);
    sqlite3_bind_int64(rows, 3, (int64_t)gone);
    sqlite3_bind_int(rows, 4, SLICE_ROWS);
    while ((rc = sqlite3_step(rows)) == SQLITE_ROW && good) {
        read++;
        good = chore_take(db, chore, rows, &open);
        if (step->since < oldest)
            break;
    }
    sqlite3_reset(rows);
    if (rc == SQLITE_DONE && read < SLICE_ROWS) {
        step->state = STEP_READY;
        step->since = chore->evicted ? step->since : 0;
    } else if (step->since < oldest) {
        step->state = STEP_READY;
    }
    return good && (rc == SQLITE_DONE || rc == SQLITE_ROW) &&
           gw_disk_window_put(db, step->series, step->every_ms, &open) && step_put(db, step);
}

bool gw_disk_steps_work(struct gw_disk_db *db, bool *more)
{
    int64_t end_ns = gw_monotonic_ns() + SLICE_NS;
    bool good = gw_disk_db_begin(db);
    *more = true;
    while (good && *more && gw_monotonic_ns() < end_ns) {
        struct chore chore;
        *more = chore_find(db, &chore, &good);
        if (!*more)
            break;
        good = chore.step.state == STEP_FILLS && chore.field ? chore_fill(db, &chore) : chore_delete(db, &chore.step);
        free(chore.field);
    }
    good = good && gw_disk_db_commit(db);
    if (!good)
        gw_disk_db_rollback(db);
    *more |= !good;
    return good;
}
