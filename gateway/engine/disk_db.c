#include "engine/disk_db.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "gateway/clock.h"
#include "message/cursor.h"

#define DISK_APPLICATION 0x534c4348 /* in the file's header: it is one of ours */
#define DISK_VERSION     4
/* 1 had no properties, 2 no rollups, 3 did not know since when a rollup has windows of each length. */
#define DISK_VERSION_OLD 1

/* synchronous=FULL: a commit is on the disk, not only with the kernel: numbers must not be given twice after a power
 * failure either. It costs one fsync for each flush, on the writer's thread. Exclusive: two gateways on one file
 * would give the same numbers; and WAL then needs no shared memory file. */
static const char disk_settings[] = "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                                    "PRAGMA journal_size_limit=4194304; PRAGMA temp_store=MEMORY;";

#define DISK_ROLLUP_SCHEMA                                                                                           \
    "CREATE TABLE series(id INTEGER PRIMARY KEY, channel INTEGER, field TEXT, seq INTEGER, ts INTEGER, since "       \
    "INTEGER);"                                                                                                      \
    "CREATE INDEX series_channel ON series(channel);"                                                                \
    "CREATE TABLE rollup(series INTEGER, every INTEGER, t INTEGER, low REAL, high REAL, total REAL, last REAL,"      \
    " last_seq INTEGER, samples INTEGER, skipped INTEGER, PRIMARY KEY(series, every, t)) WITHOUT ROWID;"             \
    "CREATE TABLE gap(id INTEGER PRIMARY KEY, since INTEGER, until INTEGER);"

#define DISK_STEP_SCHEMA                                                                                             \
    "CREATE TABLE step(series INTEGER, every INTEGER, keep INTEGER, since INTEGER, next INTEGER, bound INTEGER,"     \
    " state INTEGER, PRIMARY KEY(series, every)) WITHOUT ROWID;"                                                     \
    "CREATE INDEX step_state ON step(state) WHERE state<>0;"

static const char disk_schema[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE state(epoch TEXT NOT NULL, clean INTEGER, seq INTEGER, reserved INTEGER, lost INTEGER, forgotten "
    "INTEGER, written INTEGER);"
    "CREATE TABLE channel(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, last_seq INTEGER, before_last INTEGER,"
    " last INTEGER, evicted INTEGER, kept INTEGER);"
    "CREATE TABLE message(channel INTEGER, seq INTEGER, ts INTEGER, flags INTEGER, data BLOB, payload BLOB,"
    " properties BLOB, PRIMARY KEY(channel, seq)) WITHOUT ROWID;" DISK_ROLLUP_SCHEMA DISK_STEP_SCHEMA
    "PRAGMA application_id=1397506888; PRAGMA user_version=4;";
_Static_assert(DISK_APPLICATION == 1397506888 && DISK_VERSION == 4, "as in the schema");

static const char *const disk_sql[DISK_STATEMENTS] = {
    [DISK_BEGIN] = "BEGIN IMMEDIATE",
    [DISK_COMMIT] = "COMMIT",
    [DISK_ROLLBACK] = "ROLLBACK",
    [DISK_STATE] = "UPDATE state SET clean=?1, seq=?2, reserved=?3, lost=?4, forgotten=?5, written=?6",
    [DISK_CHANNEL] =
        ("INSERT INTO channel(id,name,last_seq,before_last,last,evicted,kept) VALUES(?1,?2,?3,?4,?5,?6,?7)"
         " ON CONFLICT(id) DO UPDATE SET last_seq=?3, before_last=?4, last=?5, evicted=?6, kept=?7"),
    [DISK_MESSAGE] = "INSERT OR REPLACE INTO message(channel,seq,ts,flags,data,payload,properties)"
                     " VALUES(?1,?2,?3,?4,?5,?6,?7)",
    [DISK_PRUNE] = "DELETE FROM message WHERE channel=?1 AND seq<=?2 AND seq<>?3",
    [DISK_WIPE_MESSAGES] = "DELETE FROM message WHERE channel=?1",
    [DISK_WIPE_CHANNEL] = "DELETE FROM channel WHERE id=?1",
    /* The windows leave in slices, disk_steps.c. */
    [DISK_WIPE_ROLLUP] = "UPDATE step SET state=2 WHERE series IN (SELECT id FROM series WHERE channel=?1)",
    [DISK_WIPE_SERIES] = "DELETE FROM series WHERE channel=?1",
    [DISK_SERIES] = "INSERT INTO series(id,channel,field,seq,ts,since) VALUES(?1,?2,?3,?4,?5,0)"
                    " ON CONFLICT(id) DO UPDATE SET seq=?4, ts=?5",
    [DISK_WINDOW] = "INSERT INTO rollup VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10) ON CONFLICT(series,every,t) DO UPDATE"
                    " SET low=coalesce(min(low,?4),low,?4), high=coalesce(max(high,?5),high,?5), total=total+?6,"
                    " last=CASE WHEN ?8>=last_seq THEN ?7 ELSE last END, last_seq=max(last_seq,?8),"
                    " samples=samples+?9, skipped=skipped+?10",
    [DISK_WINDOWS] = "SELECT t,low,high,total,last,last_seq,samples,skipped FROM rollup"
                     " WHERE series=?1 AND every=?2 AND t>=?3 AND t<?4 ORDER BY t",
    [DISK_OLD_WINDOWS] = "DELETE FROM rollup WHERE series=?1 AND every=?2 AND t<?3",
    [DISK_SERIES_GONE] = "DELETE FROM series WHERE id=?1",
    [DISK_STEPS] = "SELECT every,keep,since,state FROM step WHERE series=?1",
    [DISK_STEP] = "SELECT since FROM step WHERE series=?1 AND every=?2 AND state<>2",
    [DISK_PUT_STEP] = "INSERT OR REPLACE INTO step(series,every,keep,since,next,bound,state)"
                      " VALUES(?1,?2,?3,?4,?5,?6,?7)",
    [DISK_STEP_KEEP] = "UPDATE step SET keep=?3 WHERE series=?1 AND every=?2",
    [DISK_STEP_LEAVES] = "UPDATE step SET state=2 WHERE series=?1 AND every=?2",
    [DISK_STEPS_LEAVE] = "UPDATE step SET state=2 WHERE series=?1",
    [DISK_STEP_GONE] = "DELETE FROM step WHERE series=?1 AND every=?2",
    [DISK_CHORE] = "SELECT step.series,every,keep,step.since,next,bound,state,series.channel,field,evicted,last_seq"
                   " FROM step LEFT JOIN series ON series.id=step.series LEFT JOIN channel ON"
                   " channel.id=series.channel WHERE state<>0 LIMIT 1",
    [DISK_CHORE_MESSAGES] = "SELECT seq,ts,data FROM message WHERE channel=?1 AND seq<?2 AND seq>?3"
                            " ORDER BY seq DESC LIMIT ?4",
    [DISK_CHORE_DELETE] = "DELETE FROM rollup WHERE series=?1 AND every=?2 AND t<coalesce((SELECT t FROM rollup WHERE"
                          " series=?1 AND every=?2 ORDER BY t LIMIT 1 OFFSET ?3), 9223372036854775807)",
    [DISK_GAP] = "INSERT INTO gap(id,since,until) VALUES(?1,?2,?3) ON CONFLICT(id) DO UPDATE SET until=?3",
    [DISK_OLD_GAP] = "DELETE FROM gap WHERE id>?1 AND id<?2",
};

const char *gw_disk_db_error(struct gw_disk_db *db)
{
    int code = db->handle ? sqlite3_errcode(db->handle) : SQLITE_NOMEM;
    if (code == SQLITE_BUSY)
        return "another process has it open";
    return db->handle ? sqlite3_errmsg(db->handle) : "out of memory";
}

static bool disk_step(sqlite3_stmt *statement)
{
    int rc = sqlite3_step(statement);
    sqlite3_reset(statement);
    return rc == SQLITE_DONE || rc == SQLITE_ROW;
}

bool gw_disk_db_step(struct gw_disk_db *db, enum gw_disk_statement statement)
{
    return disk_step(db->statements[statement]);
}

static bool disk_number(struct gw_disk_db *db, const char *sql, int64_t *out)
{
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(db->handle, sql, -1, &statement, NULL) != SQLITE_OK)
        return false;
    bool got = sqlite3_step(statement) == SQLITE_ROW;
    if (got)
        *out = sqlite3_column_int64(statement, 0);
    return sqlite3_finalize(statement) == SQLITE_OK && got;
}

/* --- opening ---------------------------------------------------------------------------------------------------- */

/* The tables that are read whole at start anyhow: rollups may be a thousand times as large. */
static bool disk_check_pages(struct gw_disk_db *db, int version, struct gw_buf *why)
{
    static const char *const checks[] = {"PRAGMA quick_check(state)",   "PRAGMA quick_check(channel)",
                                         "PRAGMA quick_check(message)", "PRAGMA quick_check(series)",
                                         "PRAGMA quick_check(gap)",     "PRAGMA quick_check(step)"};
    static const char *const all = "PRAGMA quick_check(1)";
    bool good = true;
    for (size_t i = 0; good && i < (version ? sizeof checks / sizeof *checks : 1); i++) {
        sqlite3_stmt *statement;
        if (sqlite3_prepare_v2(db->handle, version ? checks[i] : all, -1, &statement, NULL) != SQLITE_OK) {
            gw_buf_adds(why, gw_disk_db_error(db));
            return false;
        }
        const char *text =
            sqlite3_step(statement) == SQLITE_ROW ? (const char *)sqlite3_column_text(statement, 0) : NULL;
        good = text && !strcmp(text, "ok");
        if (!good)
            gw_buf_printf(why, "it is damaged: %s", text ? text : gw_disk_db_error(db));
        sqlite3_finalize(statement);
    }
    return good;
}

/* A file of ours, whole; or a new one. */
static bool disk_check(struct gw_disk_db *db, bool *fresh, struct gw_buf *why)
{
    int64_t application, version, tables;
    if (!disk_number(db, "PRAGMA application_id", &application) ||
        !disk_number(db, "PRAGMA user_version", &version) ||
        !disk_number(db, "SELECT count(*) FROM sqlite_schema", &tables)) {
        gw_buf_adds(why, gw_disk_db_error(db));
        return false;
    }
    *fresh = !application && !version && !tables;
    db->old = !*fresh && version >= DISK_VERSION_OLD && version < DISK_VERSION;
    db->version = (int)version;
    if (!*fresh && (application != DISK_APPLICATION || (version != DISK_VERSION && !db->old))) {
        gw_buf_printf(why,
                      "it is a database of another program, or of another version of this one (version %d expected)",
                      DISK_VERSION);
        return false;
    }
    return disk_check_pages(db, *fresh || db->old ? 0 : DISK_VERSION, why);
}

static bool disk_create(struct gw_disk_db *db)
{
    char epoch[GW_EPOCH_MAX + 1];
    gw_epoch_make(epoch);
    struct gw_buf sql = {0};
    gw_buf_adds(&sql, disk_schema);
    gw_buf_printf(&sql, "INSERT INTO state VALUES('%s',1,0,0,0,0,0); COMMIT;", epoch);
    bool good = sqlite3_exec(db->handle, sql.data, NULL, NULL, NULL) == SQLITE_OK;
    gw_buf_fini(&sql);
    return good;
}

/* A file of an earlier release. */
static bool disk_upgrade(struct gw_disk_db *db)
{
    static const char begin[] = "BEGIN IMMEDIATE;", properties[] = "ALTER TABLE message ADD COLUMN properties BLOB;",
                      rollups[] = "ALTER TABLE state ADD COLUMN written INTEGER DEFAULT 0;" DISK_ROLLUP_SCHEMA,
                      steps[] = DISK_STEP_SCHEMA
                      "INSERT INTO step SELECT series,every,NULL,since,0,0,0 FROM (SELECT DISTINCT series,every FROM"
                      " rollup) JOIN series ON series.id=series; PRAGMA user_version=4; COMMIT;";
    return sqlite3_exec(db->handle, begin, NULL, NULL, NULL) == SQLITE_OK &&
           (db->version > 1 || sqlite3_exec(db->handle, properties, NULL, NULL, NULL) == SQLITE_OK) &&
           (db->version > 2 || sqlite3_exec(db->handle, rollups, NULL, NULL, NULL) == SQLITE_OK) &&
           sqlite3_exec(db->handle, steps, NULL, NULL, NULL) == SQLITE_OK;
}

static bool disk_read_state(struct gw_disk_db *db, struct gw_disk_state *state)
{
    sqlite3_stmt *statement;
    *state = (struct gw_disk_state){.clean = false};
    if (sqlite3_prepare_v2(db->handle, "SELECT epoch,clean,seq,reserved,lost,forgotten,written FROM state", -1,
                           &statement, NULL) != SQLITE_OK)
        return false;
    bool got = sqlite3_step(statement) == SQLITE_ROW;
    const char *epoch = got ? (const char *)sqlite3_column_text(statement, 0) : NULL;
    struct gw_cursor cursor;
    struct gw_buf text = {0};
    gw_buf_printf(&text, "%s.1", epoch ? epoch : "");
    got = got && gw_cursor_parse(&cursor, text.data, text.len);
    gw_buf_fini(&text);
    if (got) {
        strncpy(state->epoch, cursor.epoch, sizeof state->epoch - 1);
        state->clean = sqlite3_column_int(statement, 1) != 0;
        state->seq = (uint64_t)sqlite3_column_int64(statement, 2);
        state->reserved = (uint64_t)sqlite3_column_int64(statement, 3);
        state->lost = (uint64_t)sqlite3_column_int64(statement, 4);
        state->forgotten = (uint64_t)sqlite3_column_int64(statement, 5);
        state->written = sqlite3_column_int64(statement, 6);
    }
    sqlite3_finalize(statement);
    return got;
}

static bool disk_prepare(struct gw_disk_db *db)
{
    for (size_t i = 0; i < DISK_STATEMENTS; i++) {
        if (sqlite3_prepare_v3(db->handle, disk_sql[i], -1, SQLITE_PREPARE_PERSISTENT, &db->statements[i], NULL) !=
            SQLITE_OK)
            return false;
    }
    return true;
}

enum gw_err gw_disk_db_open(struct gw_disk_db *db, const char *path, struct gw_disk_state *state,
                            struct gw_buf *error)
{
    *db = (struct gw_disk_db){.handle = NULL};
    struct gw_buf why = {0};
    bool fresh = false;
    /* Payloads may be private: the file is its owner's. SQLite gives its journal the same mode. */
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        gw_buf_adds(&why, strerror(errno));
    else
        close(fd);
    if (!why.len &&
        sqlite3_open_v2(path, &db->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        gw_buf_adds(&why, gw_disk_db_error(db));
    if (!why.len && sqlite3_exec(db->handle, disk_settings, NULL, NULL, NULL) != SQLITE_OK)
        gw_buf_adds(&why, gw_disk_db_error(db));
    if (!why.len)
        disk_check(db, &fresh, &why);
    if (!why.len && ((fresh && !disk_create(db)) || (db->old && !disk_upgrade(db))))
        gw_buf_adds(&why, gw_disk_db_error(db));
    if (!why.len && !disk_read_state(db, state))
        gw_buf_adds(&why, "it is damaged: it does not say where the numbers stood");
    if (!why.len && !disk_prepare(db))
        gw_buf_adds(&why, gw_disk_db_error(db));
    enum gw_err err = why.len ? GW_ERR_INTERNAL : GW_OK;
    if (why.len) {
        gw_buf_printf(error, "storage.path: can't use '%s': %s (a folder that this user may write expected)", path,
                      why.data);
        gw_disk_db_close(db);
    }
    gw_buf_fini(&why);
    return err;
}

void gw_disk_db_close(struct gw_disk_db *db)
{
    for (size_t i = 0; i < DISK_STATEMENTS; i++)
        sqlite3_finalize(db->statements[i]);
    sqlite3_close(db->handle);
    *db = (struct gw_disk_db){.handle = NULL};
}

/* --- writing ---------------------------------------------------------------------------------------------------- */

bool gw_disk_db_begin(struct gw_disk_db *db)
{
    return disk_step(db->statements[DISK_BEGIN]);
}

bool gw_disk_db_commit(struct gw_disk_db *db)
{
    return disk_step(db->statements[DISK_COMMIT]);
}

void gw_disk_db_rollback(struct gw_disk_db *db)
{
    if (!sqlite3_get_autocommit(db->handle)) /* some errors roll back by themselves */
        disk_step(db->statements[DISK_ROLLBACK]);
}

bool gw_disk_db_put_state(struct gw_disk_db *db, const struct gw_disk_state *state)
{
    sqlite3_stmt *put = db->statements[DISK_STATE];
    sqlite3_bind_int(put, 1, state->clean);
    sqlite3_bind_int64(put, 2, (int64_t)state->seq);
    sqlite3_bind_int64(put, 3, (int64_t)state->reserved);
    sqlite3_bind_int64(put, 4, (int64_t)state->lost);
    sqlite3_bind_int64(put, 5, (int64_t)state->forgotten);
    sqlite3_bind_int64(put, 6, state->written);
    return disk_step(put);
}

bool gw_disk_db_put_channel(struct gw_disk_db *db, int64_t id, const struct gw_engine_channel *channel)
{
    sqlite3_stmt *put = db->statements[DISK_CHANNEL];
    sqlite3_bind_int64(put, 1, id);
    sqlite3_bind_text(put, 2, channel->name, (int)channel->len, SQLITE_STATIC);
    sqlite3_bind_int64(put, 3, (int64_t)channel->last_seq);
    sqlite3_bind_int64(put, 4, (int64_t)channel->before_last);
    sqlite3_bind_int64(put, 5, (int64_t)channel->last);
    sqlite3_bind_int64(put, 6, (int64_t)channel->evicted);
    sqlite3_bind_int(put, 7, channel->kept);
    return disk_step(put);
}

bool gw_disk_db_put_message(struct gw_disk_db *db, int64_t id, const struct gw_message *msg)
{
    sqlite3_stmt *put = db->statements[DISK_MESSAGE];
    bool binary = (msg->raw[0] & 15) == 2;
    sqlite3_bind_int64(put, 1, id);
    sqlite3_bind_int64(put, 2, (int64_t)msg->seq);
    sqlite3_bind_int64(put, 3, msg->ts);
    int64_t flags = (msg->retained ? DISK_FLAG_RETAINED : 0) | (msg->clear ? DISK_FLAG_CLEAR : 0) |
                    (binary ? DISK_FLAG_BINARY : 0) | (msg->stored ? DISK_FLAG_STORED : 0) |
                    (msg->qos ? DISK_FLAG_QOS : 0);
    sqlite3_bind_int64(put, 4, flags | msg->expires_ms << DISK_FLAG_BITS);
    sqlite3_bind_blob64(put, 5, msg->data.data, msg->data.len, SQLITE_STATIC);
    if (msg->payload.data == msg->data.data)
        sqlite3_bind_null(put, 6);
    else
        sqlite3_bind_blob64(put, 6, msg->payload.data, msg->payload.len, SQLITE_STATIC);
    struct gw_slice properties = gw_message_properties(msg);
    if (properties.len)
        sqlite3_bind_blob64(put, 7, properties.data, properties.len, SQLITE_STATIC);
    else
        sqlite3_bind_null(put, 7);
    return disk_step(put);
}

bool gw_disk_db_prune(struct gw_disk_db *db, int64_t id, uint64_t evicted, uint64_t last)
{
    sqlite3_stmt *prune = db->statements[DISK_PRUNE];
    sqlite3_bind_int64(prune, 1, id);
    sqlite3_bind_int64(prune, 2, (int64_t)evicted);
    sqlite3_bind_int64(prune, 3, (int64_t)last);
    return disk_step(prune);
}

bool gw_disk_db_wipe(struct gw_disk_db *db, int64_t id)
{
    static const enum gw_disk_statement wipes[] = {DISK_WIPE_MESSAGES, DISK_WIPE_ROLLUP, DISK_WIPE_SERIES,
                                                   DISK_WIPE_CHANNEL};
    for (size_t i = 0; i < sizeof wipes / sizeof *wipes; i++) {
        sqlite3_bind_int64(db->statements[wipes[i]], 1, id);
        if (!gw_disk_db_step(db, wipes[i]))
            return false;
    }
    return true;
}
