/* move.c: a connection of Engine.IO and its sessions, as a package that another worker opens. */
#include "socketio/move.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/identity.h"

/* One session of Socket.IO on its way. */
struct moved {
    struct moved *next;
    struct gw_identity *identity;
    struct sio_filter *filters;
    struct sio_owner *owner;
    struct gw_buf syncing;
    bool fresh;
    bool windows_waited; /* not all that was due had been sent */
    uint64_t fresh_to, told;
    uint32_t generation;
    int64_t keep_ms;
    char cursor[64];
    char windows_from[64]; /* the same place for windows, without a word on what was sent before it */
    char sid[SIO_ID_SIZE];
    char space[];
};

static void moved_free(struct moved *moved)
{
    gw_sio_filters_free(moved->filters);
    gw_sio_recall_end(moved->owner, moved->keep_ms, SIZE_MAX); /* it was cut off on its way */
    gw_identity_unref(moved->identity);
    gw_buf_fini(&moved->syncing);
    free(moved);
}

void gw_eio_package_fini(struct eio_package *package)
{
    while (package->sockets) {
        struct moved *moved = package->sockets;
        package->sockets = moved->next;
        moved_free(moved);
    }
    gw_identity_unref(package->identity);
    gw_config_unref(package->config);
    gw_buf_fini(&package->frames);
    *package = (struct eio_package){.taken = false};
}

/* --- it goes ---------------------------------------------------------------------------------------------------- */

static struct moved *moved_of(struct sio *sio)
{
    const char *space = gw_sio_shape_space(sio->shape);
    struct moved *moved = gw_calloc(1, sizeof *moved + strlen(space) + 1);
    memcpy(moved->space, space, strlen(space) + 1);
    memcpy(moved->sid, sio->sid, SIO_ID_SIZE);
    moved->identity = gw_identity_ref(sio->session.identity);
    moved->filters = sio->filters;
    sio->filters = NULL;
    moved->owner = sio->owner;
    sio->owner = NULL;
    gw_sio_recall_move(moved->owner, NULL, 0);
    moved->keep_ms = sio->eio->options->recovery_ms;
    moved->syncing = gw_buf_move(&sio->syncing);
    moved->fresh = sio->fresh;
    moved->windows_waited =
        sio->session.window_count && (sio->session.window_joins || gw_session_waiting(&sio->session));
    moved->fresh_to = sio->fresh_to;
    moved->told = sio->told;
    moved->generation = sio->generation;
    gw_session_cursor(&sio->session, !gw_session_waiting(&sio->session), moved->cursor);
    gw_session_cursor(&sio->session, false, moved->windows_from);
    return moved;
}

void gw_eio_pack(struct eio *eio, unsigned worker, struct eio_package *package)
{
    *package = (struct eio_package){.taken = true,
                                    .identity = gw_identity_ref(eio->identity),
                                    .refused = eio->refused,
                                    .config = gw_config_ref(eio->config),
                                    .packets = eio->packets,
                                    .ping_due_ms = eio->ping_due_ms,
                                    .pong_by_ms = eio->pong_by_ms,
                                    .connect_by_ms = eio->connect_by_ms,
                                    .frames = gw_buf_move(&eio->polling->frames)};
    for (const struct sio *sio = eio->sockets; sio; sio = eio->sockets) {
        struct moved *moved = moved_of(eio->sockets);
        moved->next = package->sockets;
        package->sockets = moved;
        gw_sio_leave(eio->sockets, worker, eio->sid);
    }
}

/* --- it comes --------------------------------------------------------------------------------------------------- */

static void moved_subscribe(struct sio *sio, const struct moved *moved, const struct sio_filter *filter)
{
    struct gw_start start = {.at = GW_START_CURSOR,
                             .cursor = moved->cursor,
                             .cursor_len = strlen(moved->cursor),
                             .interval_ms = filter->interval_ms};
    struct gw_subscribed subscribed;
    size_t len = strlen(filter->text);
    const struct sio_wanted wanted = {.text = filter->text,
                                      .aggregate = gw_sio_filter_aggregate(filter),
                                      .from = gw_sio_filter_from(filter),
                                      .interval_ms = filter->interval_ms,
                                      .fresh_to = filter->fresh_to,
                                      .generation = filter->generation,
                                      .first = filter->first};
    struct gw_aggregate aggregate;
    if (*wanted.aggregate && !gw_aggregate_parse(&aggregate, wanted.aggregate, strlen(wanted.aggregate)))
        start.aggregate = &aggregate;
    if (start.aggregate) {
        start.cursor = moved->windows_waited ? wanted.from : moved->windows_from;
        start.cursor_len = strlen(start.cursor);
    }
    enum gw_err err = gw_session_subscribe(&sio->session, filter->text, len, &start, &subscribed);
    if (err == GW_OK)
        gw_sio_filter_add(sio, &wanted);
    else
        sio->session.ops->revoked(&sio->session, filter->text, len); /* a reload came in between */
}

static void moved_open(struct eio *eio, struct moved *moved)
{
    struct sio *sio = gw_sio_create(eio, moved->space, moved->identity);
    memcpy(sio->sid, moved->sid, SIO_ID_SIZE);
    sio->owner = moved->owner;
    moved->owner = NULL;
    gw_sio_recall_move(sio->owner, sio, gw_hub_worker(eio->hub));
    gw_session_pace_from(&sio->session, gw_hub_now(eio->hub)); /* it may have had a value just now */
    for (const struct sio_filter *filter = moved->filters; filter; filter = filter->next)
        moved_subscribe(sio, moved, filter);
    sio->fresh = moved->fresh;
    sio->fresh_to = moved->fresh_to;
    sio->told = moved->told;
    sio->generation = moved->generation;
    sio->syncing = gw_buf_move(&moved->syncing);
    gw_session_catch_up(&sio->session);
}

struct eio *gw_eio_unpack(struct eio_package *package, struct gw_conn *conn, const char *sid)
{
    struct eio *eio = gw_eio_create(conn, package->config);
    memcpy(eio->sid, sid, SIO_ID_SIZE);
    gw_identity_unref(eio->identity);
    eio->identity = package->identity;
    package->identity = NULL;
    eio->refused = package->refused;
    eio->packets = package->packets;
    eio->ping_due_ms = package->ping_due_ms;
    eio->pong_by_ms = package->pong_by_ms;
    eio->connect_by_ms = package->connect_by_ms;
    eio->conn = conn;
    eio->listed = true;
    gw_eio_directory_move(eio->sid, eio, gw_hub_worker(eio->hub));
    gw_conn_attach(conn, &gw_eio_conn_ops, eio);
    gw_eio_set_timer(eio);
    if (package->frames.len)
        gw_conn_send(conn, package->frames.data, package->frames.len);
    for (struct moved *moved = package->sockets; moved && !eio->over; moved = moved->next)
        moved_open(eio, moved);
    return eio;
}
