/* upgrade.c: a WebSocket takes over a session that polls.
 *
 * The WebSocket may be with another worker than the session, and cannot move. So the session does, once:
 *
 *   client        worker of the WebSocket          home of the session
 *   2probe   ->   3probe, and a letter        ->   every poll is answered at once from now on
 *   5        ->   keeps what else comes, letter -> gives up the session: what waits as frames, filters and cursors
 *                 has the session               <- letter
 *
 * A client sends `5` when its last poll has been answered, so none is held then. The letter is the probe itself,
 * which travels once at a time: it has one reference of the WebSocket's worker and one of wherever it is. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/container.h"
#include "socketio/engine.h"
#include "socketio/move.h"

#define UPGRADE_MS 10000

struct eio_probe {
    struct gw_letter letter; /* first member */
    struct gw_timer timer;
    atomic_uint refs;
    struct gw_hub *hub;
    struct gw_conn *conn; /* NULL: it has gone */
    unsigned from, home;  /* workers */
    bool probed;          /* `2probe` has come */
    bool failed;          /* it is being closed */
    bool moving;          /* so has `5`: the letter is on its way */
    struct gw_buf early;  /* what came after it: length, kind and bytes of each */
    struct eio_package package;
    char sid[SIO_ID_SIZE];
};

/* Says whether a WebSocket probes. */
struct probing {
    struct gw_letter letter; /* first member */
    bool begins;
    char sid[SIO_ID_SIZE];
};

static void probe_unref(struct eio_probe *probe)
{
    if (atomic_fetch_sub_explicit(&probe->refs, 1, memory_order_acq_rel) != 1)
        return;
    gw_eio_package_fini(&probe->package);
    gw_buf_fini(&probe->early);
    free(probe);
}

static void probe_drop(struct gw_letter *letter)
{
    probe_unref(GW_CONTAINER_OF(letter, struct eio_probe, letter));
}

/* --- at home: the session goes --------------------------------------------------------------------------------- */

/* What waits, as frames. True: nothing is left. */
static bool leave_collect(struct eio *eio)
{
    struct eio_polling *polling = eio->polling;
    bool done = true;
    size_t most = gw_hub_config(eio->hub)->limits.queue_bytes * 4;
    for (struct sio *sio = eio->sockets; sio; sio = sio->next) {
        unsigned packets = UINT32_MAX;
        bool empty = gw_sio_collect(sio, &polling->frames, most, &packets) && !gw_session_waiting(&sio->session);
        if (empty) { /* the cursor passes what a rate policy holds back, so that goes along */
            gw_session_flush_held(&sio->session);
            gw_sio_collect(sio, &polling->frames, SIZE_MAX, &packets);
        }
        done = done && empty;
    }
    if (polling->frames.len >= most) {
        gw_eio_end(eio, 1013, "");
        return false;
    }
    return done;
}

static void home_control(struct eio *eio)
{
    struct eio_polling *polling = eio->polling;
    size_t at = 0;
    struct gw_slice packet;
    while (polling->control.len && gw_eio_next(polling->control.data, polling->control.len, &at, &packet))
        gw_sio_add_packet(&polling->frames, SIO_FRAMES, packet.data, packet.len);
    gw_buf_fini(&polling->control);
}

void gw_eio_leave(struct eio *eio)
{
    struct eio_probe *probe = eio->polling->leaving;
    if (eio->joining) /* it comes again with the engine's answer */
        return;
    home_control(eio);
    if (!leave_collect(eio) || eio->over)
        return; /* ready() comes again */
    gw_eio_pack(eio, probe->from, &probe->package);
    gw_eio_directory_move(eio->sid, NULL, probe->from);
    eio->listed = false;
    eio->polling->leaving = NULL;
    eio->over = true;
    gw_timer_set(gw_hub_timers(eio->hub), &eio->timer, gw_hub_now(eio->hub));
    gw_hub_send(eio->hub, probe->from, &probe->letter);
}

static void probe_return(struct gw_letter *letter, struct gw_hub *hub);

/* `5` has come. */
static void home_deliver(struct gw_letter *letter, struct gw_hub *hub)
{
    struct eio_probe *probe = (struct eio_probe *)letter;
    struct eio *eio = gw_eio_directory_own(probe->sid, gw_hub_worker(hub));
    letter->deliver = probe_return;
    if (!eio || eio->over || !eio->polling || eio->polling->leaving) {
        gw_hub_send(hub, probe->from, letter);
        return;
    }
    eio->polling->probing = true;
    gw_eio_flush(eio); /* a client that did not wait for its poll gets it answered now */
    if (eio->over) {
        gw_hub_send(hub, probe->from, letter);
        return;
    }
    eio->polling->leaving = probe;
    gw_eio_leave(eio);
}

/* It has ended before all that waits could go: the WebSocket's worker closes it. */
void gw_eio_stay(struct eio *eio)
{
    struct eio_probe *probe = eio->polling->leaving;
    if (!probe)
        return;
    eio->polling->leaving = NULL;
    gw_hub_send(eio->hub, probe->from, &probe->letter);
}

static void probing_drop(struct gw_letter *letter)
{
    free(letter);
}

static void probing_deliver(struct gw_letter *letter, struct gw_hub *hub)
{
    const struct probing *probing = (const struct probing *)letter;
    struct eio *eio = gw_eio_directory_own(probing->sid, gw_hub_worker(hub));
    if (eio && eio->polling) {
        eio->polling->probing = probing->begins;
        gw_eio_flush(eio);
    }
    free(letter);
}

/* --- with the worker of the WebSocket: the session comes ------------------------------------------------------- */

static void probe_tell(const struct eio_probe *probe, bool begins)
{
    struct probing *probing = gw_calloc(1, sizeof *probing);
    probing->letter = (struct gw_letter){.deliver = probing_deliver, .drop = probing_drop};
    probing->begins = begins;
    memcpy(probing->sid, probe->sid, SIO_ID_SIZE);
    gw_hub_send(probe->hub, probe->home, &probing->letter);
}

/* What the client sent in between. */
static void probe_take_early(struct eio_probe *probe, struct eio *eio)
{
    struct gw_buf early = gw_buf_move(&probe->early);
    for (size_t at = 0; at < early.len && !eio->over;) {
        size_t len;
        memcpy(&len, early.data + at, sizeof len);
        bool text = early.data[at + sizeof len];
        at += sizeof len + 1;
        if (text)
            gw_eio_take(eio, early.data + at, len);
        else
            gw_eio_take_binary(eio, early.data + at, len);
        at += len;
    }
    gw_buf_fini(&early);
}

static void probe_return(struct gw_letter *letter, struct gw_hub *hub)
{
    struct eio_probe *probe = (struct eio_probe *)letter;
    struct eio_package *package = &probe->package;
    struct gw_conn *conn = probe->conn;
    if (!conn || !package->taken) {
        if (package->taken)
            gw_eio_directory_remove(probe->sid);
        if (conn)
            gw_ws_close(conn, 1008, "bad_request: the session has ended");
        probe_unref(probe);
        return;
    }
    gw_timer_cancel(gw_hub_timers(hub), &probe->timer);
    struct eio *eio = gw_eio_unpack(package, conn, probe->sid);
    probe_take_early(probe, eio);
    for (struct sio *sio = eio->sockets; sio && !eio->over; sio = sio->next)
        gw_sio_drain(sio);
    probe_unref(probe); /* the WebSocket's */
    probe_unref(probe);
}

/* The session goes on with polling, and another WebSocket may try. */
static void probe_fail(struct eio_probe *probe)
{
    if (probe->moving || probe->failed)
        return;
    probe->failed = true;
    gw_eio_directory_probe_failed(probe->sid);
    probe_tell(probe, false);
}

static void probe_close(struct eio_probe *probe, const char *reason)
{
    probe_fail(probe);
    gw_ws_close(probe->conn, 1008, reason);
}

/* The session does not wait for it: it only goes on with polling. */
static void probe_timed(struct gw_timer *timer)
{
    struct eio_probe *probe = GW_CONTAINER_OF(timer, struct eio_probe, timer);
    probe_close(probe, "timeout: the upgrade took too long");
}

static void probe_keep(struct eio_probe *probe, bool text, const char *data, size_t len)
{
    char kind = text;
    gw_buf_add(&probe->early, &len, sizeof len);
    gw_buf_add(&probe->early, &kind, 1);
    gw_buf_add(&probe->early, data, len);
    if (probe->early.len > gw_hub_config(probe->hub)->limits.queue_bytes)
        probe_close(probe, "overloaded: too much came before the upgrade was complete");
}

static void probe_on_message(struct gw_conn *conn, bool text, char *data, size_t len)
{
    struct eio_probe *probe = gw_conn_context(conn);
    struct gw_buf frame = {0};
    if (probe->failed)
        return;
    if (probe->moving) {
        probe_keep(probe, text, data, len);
    } else if (text && !probe->probed && len == 6 && !memcmp(data, "2probe", 6)) {
        probe->probed = true;
        gw_ws_add_text(&frame, "3probe", 6);
        gw_conn_send(conn, frame.data, frame.len);
        gw_buf_fini(&frame);
        probe_tell(probe, true);
    } else if (text && probe->probed && len == 1 && data[0] == GW_EIO_UPGRADE) {
        probe->moving = true;
        atomic_fetch_add_explicit(&probe->refs, 1, memory_order_relaxed);
        probe->letter = (struct gw_letter){.deliver = home_deliver, .drop = probe_drop};
        gw_hub_send(probe->hub, probe->home, &probe->letter);
    } else {
        probe_close(probe, "bad_request: 2probe, and then 5, expected");
    }
}

static void probe_on_closed(struct gw_conn *conn)
{
    struct eio_probe *probe = gw_conn_context(conn);
    gw_timer_cancel(gw_hub_timers(probe->hub), &probe->timer);
    probe_fail(probe);
    probe->conn = NULL;
    probe_unref(probe);
}

static const struct gw_conn_ops probe_conn_ops = {.message = probe_on_message, .closed = probe_on_closed};

void gw_eio_upgrade_request(struct gw_conn *conn, const struct gw_request *request, const char *sid, unsigned home)
{
    static const char *const protocols[] = {NULL};
    if (!gw_eio_directory_probe(sid)) { /* another one was first */
        gw_eio_open_in_vain(conn, request);
        return;
    }
    struct eio_probe *probe = gw_calloc(1, sizeof *probe);
    if (!gw_ws_accept(conn, request, protocols, &probe_conn_ops, probe)) {
        gw_eio_directory_probe_failed(sid);
        free(probe);
        return;
    }
    probe->hub = gw_conn_hub(conn);
    atomic_init(&probe->refs, 1);
    probe->conn = conn;
    probe->from = gw_hub_worker(probe->hub);
    probe->home = home;
    probe->timer.fire = probe_timed;
    memcpy(probe->sid, sid, SIO_ID_SIZE);
    gw_timer_set(gw_hub_timers(probe->hub), &probe->timer, gw_hub_now(probe->hub) + UPGRADE_MS);
}
