/* disk_load.c: what the database has, at the start. */
#include "engine/disk_db.h"

#include "gateway/clock.h"
#include "gateway/hash.h"

static void disk_load_message(sqlite3_stmt *row, const char *epoch, const struct gw_engine_channel *channel,
                              const struct gw_engine_load *load)
{
    int64_t flags = sqlite3_column_int64(row, 2);
    struct gw_message_spec spec = {
        .channel = channel->name,
        .channel_len = channel->len,
        .epoch = epoch,
        .seq = (uint64_t)sqlite3_column_int64(row, 0),
        .ts = sqlite3_column_int64(row, 1),
        .expires_ms = flags >> DISK_FLAG_BITS,
        .retained = flags & DISK_FLAG_RETAINED,
        .stored = flags & (DISK_FLAG_STORED | DISK_FLAG_RETAINED),
        .clear = flags & DISK_FLAG_CLEAR,
        .binary = flags & DISK_FLAG_BINARY,
        .qos = flags & DISK_FLAG_QOS ? 1 : 0,
        .json = sqlite3_column_blob(row, 3),
        .json_len = (size_t)sqlite3_column_bytes(row, 3),
    };
    bool same = sqlite3_column_type(row, 4) == SQLITE_NULL;
    spec.payload = same ? spec.json : sqlite3_column_blob(row, 4);
    spec.payload_len = same ? spec.json_len : (size_t)sqlite3_column_bytes(row, 4);
    spec.properties = (struct gw_slice){sqlite3_column_blob(row, 5), (size_t)sqlite3_column_bytes(row, 5)};
    if (!spec.payload) /* how SQLite gives an empty one */
        spec.payload = "";
    spec.born_ns = gw_monotonic_ns() - (gw_wall_ms() - spec.ts) * 1000000;
    load->message(load->context, &spec);
}

enum gw_err gw_disk_db_load(struct gw_disk_db *db, const char *epoch,
                            void (*number)(void *context, const struct gw_engine_channel *channel, int64_t id),
                            void *number_context, const struct gw_engine_load *load, struct gw_buf *error)
{
    sqlite3_stmt *channels = NULL, *messages = NULL;
    int rc = sqlite3_prepare_v2(
        db->handle,
        "SELECT id,name,last_seq,before_last,last,evicted,kept,EXISTS(SELECT 1 FROM series WHERE channel=channel.id)"
        " FROM channel ORDER BY last_seq",
        -1, &channels, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(
            db->handle, "SELECT seq,ts,flags,data,payload,properties FROM message WHERE channel=? ORDER BY seq", -1,
            &messages, NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(channels)) == SQLITE_ROW) {
        struct gw_engine_channel channel = {
            .name = (const char *)sqlite3_column_text(channels, 1),
            .len = (size_t)sqlite3_column_bytes(channels, 1),
            .last_seq = (uint64_t)sqlite3_column_int64(channels, 2),
            .before_last = (uint64_t)sqlite3_column_int64(channels, 3),
            .last = (uint64_t)sqlite3_column_int64(channels, 4),
            .evicted = (uint64_t)sqlite3_column_int64(channels, 5),
            .kept = sqlite3_column_int(channels, 6) != 0,
            .rolled = sqlite3_column_int(channels, 7) != 0,
        };
        int64_t id = sqlite3_column_int64(channels, 0);
        channel.hash = gw_hash(channel.name, channel.len);
        number(number_context, &channel, id);
        load->channel(load->context, &channel);
        sqlite3_bind_int64(messages, 1, id);
        while ((rc = sqlite3_step(messages)) == SQLITE_ROW)
            disk_load_message(messages, epoch, &channel, load);
        sqlite3_reset(messages);
        rc = rc == SQLITE_DONE ? SQLITE_OK : rc;
    }
    bool good = rc == SQLITE_DONE;
    if (!good)
        gw_buf_printf(error, "storage.path: can't read '%s': %s", sqlite3_db_filename(db->handle, "main"),
                      gw_disk_db_error(db));
    sqlite3_finalize(channels);
    sqlite3_finalize(messages);
    return good ? GW_OK : GW_ERR_INTERNAL;
}
