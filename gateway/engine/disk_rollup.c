#include "engine/disk_rollup.h"

#include <stdlib.h>
#include <string.h>

#include "engine/disk_steps.h"
#include "gateway/alloc.h"
#include "gateway/clock.h"
#include "gateway/log.h"

/* Windows that are too old go so often. */
#define PRUNE_MS 60000

static void bind_double(sqlite3_stmt *statement, int column, bool there, double value)
{
    if (there)
        sqlite3_bind_double(statement, column, value);
    else
        sqlite3_bind_null(statement, column);
}

/* --- series ----------------------------------------------------------------------------------------------------- */

const struct gw_disk_series *gw_disk_rolled_find(const struct gw_disk_rolled *rolled, const char *field)
{
    for (uint32_t i = 0; i < rolled->count; i++) {
        if (!rolled->series[i]->leaves && !strcmp(rolled->series[i]->field, field))
            return rolled->series[i];
    }
    return NULL;
}

static struct gw_disk_series *rolled_make(struct gw_disk_rolled *rolled, struct gw_disk_series_count *all,
                                          const char *field)
{
    struct gw_disk_series *series = gw_calloc(1, sizeof *series);
    series->field = gw_strdup(field);
    rolled->series[rolled->count++] = series;
    all->now++;
    return series;
}

void gw_disk_rolled_know(struct gw_disk_rolled *rolled, struct gw_disk_series_count *all,
                         const struct gw_disk_series *known)
{
    if (all->next_id <= known->id)
        all->next_id = known->id + 1;
    if (rolled->count == GW_ROLLUP_FIELDS_MAX)
        return;
    struct gw_disk_series *series = rolled_make(rolled, all, known->field);
    series->id = known->id;
    series->seq = series->now.seq = known->seq;
    series->ts = series->now.ts = known->ts;
    series->stored = true;
}

void gw_disk_rolled_forget(struct gw_disk_rolled *rolled, struct gw_disk_series_count *all)
{
    for (uint32_t i = 0; i < rolled->count; i++) {
        free(rolled->series[i]->field);
        free(rolled->series[i]);
    }
    all->now -= rolled->count;
    gw_rollup_unref(rolled->rollup);
    *rolled = (struct gw_disk_rolled){.rollup = NULL};
}

/* --- windows ---------------------------------------------------------------------------------------------------- */

bool gw_disk_window_put(struct gw_disk_db *db, int64_t series, int64_t every_ms, struct gw_window *window)
{
    if (gw_window_is_empty(window))
        return true;
    sqlite3_stmt *put = db->statements[DISK_WINDOW];
    bool any = window->count > 0;
    sqlite3_bind_int64(put, 1, series);
    sqlite3_bind_int64(put, 2, every_ms);
    sqlite3_bind_int64(put, 3, window->t);
    bind_double(put, 4, any, window->min);
    bind_double(put, 5, any, window->max);
    sqlite3_bind_double(put, 6, window->sum);
    bind_double(put, 7, any, window->last);
    sqlite3_bind_int64(put, 8, (int64_t)window->last_seq);
    sqlite3_bind_int64(put, 9, (int64_t)window->count);
    sqlite3_bind_int64(put, 10, (int64_t)window->skipped);
    *window = (struct gw_window){.t = 0};
    return gw_disk_db_step(db, DISK_WINDOW);
}

static bool series_put_windows(struct gw_disk_db *db, struct gw_disk_series *series, const struct gw_rollup *rollup)
{
    for (uint32_t i = 0; rollup && i < rollup->step_count; i++) {
        if (!gw_disk_window_put(db, series->id, rollup->steps[i].every_ms, &series->now.open[i]))
            return false;
    }
    return true;
}

/* Into the window of each length. One that another window is begun instead of is put at once. */
static bool series_add(struct gw_disk_db *db, struct gw_disk_series *series, const struct gw_rollup *rollup,
                       const struct gw_message *msg)
{
    double sample;
    bool any = gw_sample_of(msg->data.data, msg->data.len, series->field, &sample);
    for (uint32_t i = 0; i < rollup->step_count; i++) {
        struct gw_window *open = &series->now.open[i];
        int64_t t = gw_window_begin(msg->ts, rollup->steps[i].every_ms);
        if (open->t != t && !gw_disk_window_put(db, series->id, rollup->steps[i].every_ms, open))
            return false;
        open->t = t;
        gw_window_add(open, msg->seq, any ? &sample : NULL);
    }
    series->now.seq = msg->seq;
    series->now.ts = msg->ts;
    series->now.dirty = true;
    return true;
}

/* `*good` false: it could not be written. NULL otherwise: there are too many. */
static struct gw_disk_series *rolled_series(struct gw_disk_rolled *rolled, struct gw_disk_series_count *all,
                                            struct gw_disk_db *db, const char *field, const struct gw_message *msg,
                                            bool first, bool *good)
{
    struct gw_disk_series *series = (struct gw_disk_series *)(uintptr_t)gw_disk_rolled_find(rolled, field);
    if (series)
        return series;
    if (all->now >= all->most || rolled->count == GW_ROLLUP_FIELDS_MAX) {
        all->refused++;
        GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "history", "storage.series (%llu) reached: '%s' of '%s' is not rolled up",
                             (unsigned long long)all->most, field, msg->channel.data);
        return NULL;
    }
    series = rolled_make(rolled, all, field);
    series->id = all->next_id++;
    *good = gw_disk_steps_begin(db, series->id, rolled->rollup, msg->seq, first ? 0 : msg->ts);
    return *good ? series : NULL;
}

bool gw_disk_rolled_settle(struct gw_disk_rolled *rolled, struct gw_disk_db *db, int64_t channel,
                           struct gw_rollup *rollup)
{
    if (rolled->rollup == rollup && (rollup || !rolled->count))
        return true;
    if (!gw_disk_rolled_put(rolled, db, channel))
        return false;
    for (uint32_t i = 0; i < rolled->count; i++) {
        struct gw_disk_series *series = rolled->series[i];
        if (series->leaves)
            continue;
        series->leaves = !rollup || !gw_rollup_has(rollup, series->field);
        if (series->leaves ? !gw_disk_steps_leave(db, series->id) : !gw_disk_steps_settle(db, series, rollup))
            return false;
    }
    gw_rollup_unref(rolled->rollup);
    rolled->rollup = gw_rollup_ref(rollup);
    rolled->settled = true;
    return true;
}

bool gw_disk_rolled_add(struct gw_disk_rolled *rolled, struct gw_disk_series_count *all, struct gw_disk_db *db,
                        int64_t channel, struct gw_rollup *rollup, const struct gw_message *msg, bool first)
{
    bool good = gw_disk_rolled_settle(rolled, db, channel, rollup);
    for (uint32_t i = 0; good && rollup && i < rollup->field_count; i++) {
        struct gw_disk_series *series = rolled_series(rolled, all, db, rollup->fields[i], msg, first, &good);
        /* After a reload the hub tells of all that it has once more. */
        if (series && msg->seq > series->now.seq)
            good = series_add(db, series, rollup, msg);
    }
    return good;
}

static bool rolled_prune(const struct gw_disk_rolled *rolled, struct gw_disk_db *db)
{
    int64_t now_ms = gw_wall_ms();
    for (uint32_t i = 0; i < rolled->count; i++) {
        for (uint32_t j = 0; !rolled->series[i]->leaves && j < rolled->rollup->step_count; j++) {
            const struct gw_rollup_step *step = &rolled->rollup->steps[j];
            sqlite3_stmt *prune = db->statements[DISK_OLD_WINDOWS];
            sqlite3_bind_int64(prune, 1, rolled->series[i]->id);
            sqlite3_bind_int64(prune, 2, step->every_ms);
            sqlite3_bind_int64(prune, 3, gw_window_begin(now_ms - step->keep_ms, step->every_ms));
            if (!gw_disk_db_step(db, DISK_OLD_WINDOWS))
                return false;
        }
    }
    return true;
}

bool gw_disk_rolled_put(struct gw_disk_rolled *rolled, struct gw_disk_db *db, int64_t channel)
{
    if (!rolled->rollup)
        return true;
    for (uint32_t i = 0; i < rolled->count; i++) {
        struct gw_disk_series *series = rolled->series[i];
        if (!series->now.dirty || series->leaves)
            continue;
        sqlite3_stmt *put = db->statements[DISK_SERIES];
        sqlite3_bind_int64(put, 1, series->id);
        sqlite3_bind_int64(put, 2, channel);
        sqlite3_bind_text(put, 3, series->field, -1, SQLITE_STATIC);
        sqlite3_bind_int64(put, 4, (int64_t)series->now.seq);
        sqlite3_bind_int64(put, 5, series->now.ts);
        if (!gw_disk_db_step(db, DISK_SERIES) || !series_put_windows(db, series, rolled->rollup))
            return false;
    }
    int64_t now_ms = gw_monotonic_ms();
    if (rolled->pruned_ms && now_ms - rolled->pruned_ms < PRUNE_MS)
        return true;
    rolled->pruned_ms = now_ms;
    return rolled_prune(rolled, db);
}

/* One that the database does not have, or not any more. */
static void rolled_drop(struct gw_disk_rolled *rolled, uint32_t i, struct gw_disk_series_count *all)
{
    free(rolled->series[i]->field);
    free(rolled->series[i]);
    rolled->series[i] = rolled->series[--rolled->count];
    all->now--;
}

void gw_disk_rolled_done(struct gw_disk_rolled *rolled, struct gw_disk_series_count *all, bool good)
{
    for (uint32_t i = rolled->count; i-- > 0;) {
        struct gw_disk_series *series = rolled->series[i];
        if (good ? series->leaves : !series->stored) {
            rolled_drop(rolled, i, all);
            continue;
        }
        series->leaves = false;
        if (!series->now.dirty)
            continue;
        series->now.dirty = false;
        memset(series->now.open, 0, sizeof series->now.open);
        if (good) {
            series->seq = series->now.seq;
            series->ts = series->now.ts;
            series->stored = true;
        } else {
            series->now.seq = series->seq;
            series->now.ts = series->ts;
        }
    }
    if (!good && rolled->settled) { /* what was settled is undone */
        gw_rollup_unref(rolled->rollup);
        rolled->rollup = NULL;
    }
    rolled->settled = false;
}

bool gw_disk_rolled_read(const struct gw_disk_series *series, struct gw_disk_db *db,
                         struct gw_engine_series *question)
{
    sqlite3_stmt *rows = db->statements[DISK_WINDOWS];
    sqlite3_bind_int64(rows, 1, series->id);
    sqlite3_bind_int64(rows, 2, question->every_ms);
    sqlite3_bind_int64(rows, 3, question->from);
    sqlite3_bind_int64(rows, 4, question->to);
    int rc;
    while ((rc = sqlite3_step(rows)) == SQLITE_ROW) {
        const struct gw_window window = {
            .t = sqlite3_column_int64(rows, 0),
            .min = sqlite3_column_double(rows, 1),
            .max = sqlite3_column_double(rows, 2),
            .sum = sqlite3_column_double(rows, 3),
            .last = sqlite3_column_double(rows, 4),
            .last_seq = (uint64_t)sqlite3_column_int64(rows, 5),
            .count = (uint64_t)sqlite3_column_int64(rows, 6),
            .skipped = (uint64_t)sqlite3_column_int64(rows, 7),
        };
        question->window(question, &window);
    }
    sqlite3_reset(rows);
    return rc == SQLITE_DONE;
}

bool gw_disk_series_load(struct gw_disk_db *db,
                         void (*know)(void *context, const char *channel, size_t len,
                                      const struct gw_disk_series *series),
                         void *context, int64_t *next_id)
{
    sqlite3_stmt *rows;
    if (sqlite3_prepare_v2(db->handle,
                           "SELECT series.id,name,field,seq,ts FROM series JOIN channel ON channel.id=series.channel"
                           " UNION ALL SELECT max(series),NULL,NULL,0,0 FROM step",
                           -1, &rows, NULL) != SQLITE_OK)
        return false;
    int rc;
    while ((rc = sqlite3_step(rows)) == SQLITE_ROW) {
        const struct gw_disk_series series = {
            .id = sqlite3_column_int64(rows, 0),
            .field = (char *)(uintptr_t)sqlite3_column_text(rows, 2),
            .seq = (uint64_t)sqlite3_column_int64(rows, 3),
            .ts = sqlite3_column_int64(rows, 4),
        };
        /* Windows of one that is gone may still be there under its number. */
        if (*next_id <= series.id)
            *next_id = series.id + 1;
        const char *name = (const char *)sqlite3_column_text(rows, 1);
        if (series.field && name)
            know(context, name, (size_t)sqlite3_column_bytes(rows, 1), &series);
    }
    sqlite3_finalize(rows);
    return rc == SQLITE_DONE;
}

/* --- gaps ------------------------------------------------------------------------------------------------------- */

/* The oldest but the first becomes a part of the first: before it nothing is certain. */
static void gaps_make_room(struct gw_disk_gaps *gaps)
{
    if (gaps->count < GW_DISK_GAPS)
        return;
    gaps->items[0].to = gaps->items[1].to;
    gaps->items[0].dirty = true;
    memmove(gaps->items + 1, gaps->items + 2, (gaps->count - 2) * sizeof *gaps->items);
    gaps->count--;
}

static void gaps_push(struct gw_disk_gaps *gaps, int64_t id, int64_t from, int64_t to, bool dirty)
{
    gaps_make_room(gaps);
    gaps->items[gaps->count++] = (struct gw_disk_gap){id, from, to, dirty};
    if (gaps->next_id <= id)
        gaps->next_id = id + 1;
}

void gw_disk_gaps_add(struct gw_disk_gaps *gaps, int64_t from, int64_t to, int64_t join_ms)
{
    struct gw_disk_gap *last = gaps->count > 1 ? &gaps->items[gaps->count - 1] : NULL;
    if (last && last->from <= from && from - last->to < join_ms && last->to <= to) {
        last->to = to;
        last->dirty = true;
        return;
    }
    gaps_push(gaps, gaps->next_id, from, to, true);
}

bool gw_disk_gaps_load(struct gw_disk_gaps *gaps, struct gw_disk_db *db)
{
    sqlite3_stmt *rows;
    if (sqlite3_prepare_v2(db->handle, "SELECT id,since,until FROM gap ORDER BY id", -1, &rows, NULL) != SQLITE_OK)
        return false;
    int rc;
    while ((rc = sqlite3_step(rows)) == SQLITE_ROW)
        gaps_push(gaps, sqlite3_column_int64(rows, 0), sqlite3_column_int64(rows, 1), sqlite3_column_int64(rows, 2),
                  false);
    sqlite3_finalize(rows);
    return rc == SQLITE_DONE;
}

bool gw_disk_gaps_put(struct gw_disk_gaps *gaps, struct gw_disk_db *db)
{
    bool any = false;
    for (uint32_t i = 0; i < gaps->count; i++) {
        const struct gw_disk_gap *gap = &gaps->items[i];
        if (!gap->dirty)
            continue;
        any = true;
        sqlite3_stmt *put = db->statements[DISK_GAP];
        sqlite3_bind_int64(put, 1, gap->id);
        sqlite3_bind_int64(put, 2, gap->from);
        sqlite3_bind_int64(put, 3, gap->to);
        if (!gw_disk_db_step(db, DISK_GAP))
            return false;
    }
    if (!any || gaps->count < 2)
        return true;
    /* Rows between the first and the second have become a part of the first. */
    sqlite3_stmt *old = db->statements[DISK_OLD_GAP];
    sqlite3_bind_int64(old, 1, gaps->items[0].id);
    sqlite3_bind_int64(old, 2, gaps->items[1].id);
    return gw_disk_db_step(db, DISK_OLD_GAP);
}

void gw_disk_gaps_done(struct gw_disk_gaps *gaps)
{
    for (uint32_t i = 0; i < gaps->count; i++)
        gaps->items[i].dirty = false;
}
