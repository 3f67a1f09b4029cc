/* polling.c: requests of sessions that poll.
 *
 * A session belongs to the worker that answered its first request, which is its home: there is its hub session, with
 * all that waits for the client. Other requests come to whichever worker the kernel chose. That worker makes a call
 * of each, sends it to the home by letter and answers when it comes back: a POST at once, a GET as soon as there is
 * something for the client.
 *
 * A call has two references: one of the worker that has the client's connection, one of wherever it travels. Only the
 * first touches `conn`. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "gateway/alloc.h"
#include "socketio/engine.h"

/* An answer ends at the packet with which it passes this size. */
#define ANSWER_BYTES (256 * 1024)
/* Some clients end at a payload with more packets (python-engineio). */
#define FEW_PACKETS 16
/* A client has a poll under way when it says that it leaves. They are two connections, so the poll may come second.
 */
#define PART_MS 1000

struct eio_call {
    struct gw_letter letter; /* first member */
    atomic_uint refs;
    struct gw_conn *conn; /* NULL: the client has gone */
    unsigned from, home;  /* workers */
    bool post, few;
    enum eio_refusal refusal;
    struct gw_buf body;
    struct gw_buf answer;
    char sid[SIO_ID_SIZE];
};

/* The client of a GET has gone. */
struct lost {
    struct gw_letter letter; /* first member */
    const struct eio_call *call;
    char sid[SIO_ID_SIZE];
};

static void call_unref(struct eio_call *call)
{
    if (atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel) != 1)
        return;
    gw_buf_fini(&call->body);
    gw_buf_fini(&call->answer);
    free(call);
}

static void call_drop(struct gw_letter *letter)
{
    call_unref((struct eio_call *)letter); /* the client's connection ends with its worker */
}

/* --- the answer, with the worker that has the client's connection ---------------------------------------------- */

static void call_finish(struct gw_letter *letter, struct gw_hub *hub)
{
    (void)hub;
    struct eio_call *call = (struct eio_call *)letter;
    struct gw_conn *conn = call->conn;
    if (conn) {
        call->conn = NULL;
        struct gw_buf answer = gw_buf_move(&call->answer);
        enum eio_refusal refusal = call->refusal;
        bool post = call->post;
        call_unref(call); /* the connection's */
        call_unref(call);
        if (refusal != EIO_FINE)
            gw_eio_refuse(conn, refusal);
        else if (post)
            gw_http_reply(conn, 200, NULL, "text/html", "ok", 2);
        else
            gw_http_reply(conn, 200, NULL, "text/plain; charset=UTF-8", answer.data, answer.len);
        gw_buf_fini(&answer);
        return;
    }
    call_unref(call);
}

/* Thread: the home's. The call is not the caller's any more, and the client may have asked for more by the time this
 * returns. */
static void call_answer(struct gw_hub *hub, struct eio_call *call, enum eio_refusal refusal)
{
    call->refusal = refusal;
    if (call->from == gw_hub_worker(hub)) {
        call_finish(&call->letter, hub);
        return;
    }
    call->letter.deliver = call_finish;
    gw_hub_send(hub, call->from, &call->letter);
}

/* --- at home --------------------------------------------------------------------------------------------------- */

void gw_eio_polling_free(struct eio *eio)
{
    if (!eio->polling)
        return;
    gw_eio_stay(eio);
    gw_buf_fini(&eio->polling->control);
    gw_buf_fini(&eio->polling->frames);
    free(eio->polling);
    eio->polling = NULL;
}

/* Takes the payload. */
static void polling_answer(struct eio *eio, struct gw_buf *payload)
{
    struct eio_call *call = eio->polling->get;
    eio->polling->get = NULL;
    call->answer = gw_buf_move(payload);
    call_answer(eio->hub, call, EIO_FINE);
}

static void polling_answer_packet(struct eio *eio, enum gw_eio_type packet)
{
    struct gw_buf payload = {0};
    gw_buf_addc(&payload, (char)packet);
    polling_answer(eio, &payload);
}

static void polling_forget(struct eio *eio)
{
    if (eio->listed)
        gw_eio_directory_remove(eio->sid);
    eio->listed = false;
}

void gw_eio_polling_end(struct eio *eio, enum gw_eio_type farewell)
{
    if (eio->over)
        return;
    eio->over = true;
    if (farewell == GW_EIO_NOOP && !eio->polling->get)
        eio->polling->part_by_ms = gw_hub_now(eio->hub) + PART_MS;
    else
        polling_forget(eio);
    gw_timer_set(gw_hub_timers(eio->hub), &eio->timer, gw_hub_now(eio->hub)); /* freed there: it may be in use here */
    if (eio->polling->get)
        polling_answer_packet(eio, farewell);
}

bool gw_eio_polling_part(struct eio *eio)
{
    if (!eio->polling->part_by_ms || gw_hub_now(eio->hub) >= eio->polling->part_by_ms)
        return false;
    gw_sio_free_all(eio);
    gw_sio_binary_free(eio);
    gw_timer_set(gw_hub_timers(eio->hub), &eio->timer, eio->polling->part_by_ms);
    return true;
}

/* The last poll of a client that has left. */
static void polling_parted(struct eio *eio, struct eio_call *call)
{
    eio->polling->part_by_ms = 0;
    polling_forget(eio);
    gw_timer_set(gw_hub_timers(eio->hub), &eio->timer, gw_hub_now(eio->hub));
    eio->polling->get = call;
    polling_answer_packet(eio, GW_EIO_NOOP);
}

/* The next answer begins with another namespace. */
static void polling_rotate(struct eio *eio)
{
    struct sio *first = eio->sockets, **end = &eio->sockets;
    if (!first || !first->next)
        return;
    eio->sockets = first->next;
    first->next = NULL;
    while (*end)
        end = &(*end)->next;
    *end = first;
}

void gw_eio_flush(struct eio *eio)
{
    struct eio_polling *polling = eio->polling;
    if (eio->over)
        return;
    if (polling->leaving) {
        gw_eio_leave(eio);
        return;
    }
    if (!polling->get)
        return;
    struct gw_buf out = gw_buf_move(&polling->control);
    unsigned packets = polling->get->few ? FEW_PACKETS : UINT32_MAX;
    packets = packets > polling->control_count ? packets - polling->control_count : 0;
    polling->control_count = 0;
    for (struct sio *sio = eio->sockets; sio; sio = sio->next)
        gw_sio_collect(sio, &out, ANSWER_BYTES, &packets);
    polling_rotate(eio);
    if (!out.len && polling->probing)
        gw_buf_addc(&out, GW_EIO_NOOP);
    if (out.len && polling->get)
        polling_answer(eio, &out);
    gw_buf_fini(&out);
}

static void polling_get(struct eio *eio, struct eio_call *call)
{
    if (eio->polling->get) { /* two at once: neither is this client's any more */
        gw_eio_polling_end(eio, GW_EIO_CLOSE);
        call_answer(eio->hub, call, EIO_BAD_REQUEST);
        return;
    }
    eio->polling->get = call;
    gw_eio_flush(eio);
}

static void polling_take(struct eio *eio, const struct gw_slice *packet)
{
    if (!packet->len || packet->data[0] != GW_EIO_BINARY) {
        gw_eio_take(eio, packet->data, packet->len);
        return;
    }
    struct gw_buf bytes = {0};
    if (gw_base64_decode(&bytes, packet->data + 1, packet->len - 1))
        gw_eio_take_binary(eio, bytes.data ? bytes.data : "", bytes.len);
    else
        gw_eio_end_bad(eio, "the base64 of a binary packet is malformed");
    gw_buf_fini(&bytes);
}

static void polling_post(struct eio *eio, struct eio_call *call)
{
    size_t at = 0;
    struct gw_slice packet;
    const char *body = call->body.data ? call->body.data : "";
    while (!eio->over && gw_eio_next(body, call->body.len, &at, &packet))
        polling_take(eio, &packet);
    bool left = eio->over && packet.len && packet.data[0] == GW_EIO_CLOSE;
    if (!eio->over)
        gw_eio_flush(eio);
    call_answer(eio->hub, call, eio->over && !left ? EIO_BAD_REQUEST : EIO_FINE);
}

static void call_deliver(struct gw_letter *letter, struct gw_hub *hub)
{
    struct eio_call *call = (struct eio_call *)letter;
    struct eio *eio = gw_eio_directory_own(call->sid, gw_hub_worker(hub));
    if (eio && eio->polling && !call->post)
        gw_eio_look(eio); /* the timer may come a moment later, but the pong is late already */
    if (eio && eio->polling && eio->polling->part_by_ms && !call->post)
        polling_parted(eio, call);
    else if (!eio || eio->over || !eio->polling || eio->polling->leaving)
        call_answer(hub, call, EIO_SESSION_UNKNOWN);
    else if (call->post)
        polling_post(eio, call);
    else
        polling_get(eio, call);
}

static void lost_drop(struct gw_letter *letter)
{
    free(letter);
}

static void lost_deliver(struct gw_letter *letter, struct gw_hub *hub)
{
    const struct lost *lost = (const struct lost *)letter;
    struct eio *eio = gw_eio_directory_own(lost->sid, gw_hub_worker(hub));
    if (eio && !eio->over && eio->polling && eio->polling->get == lost->call)
        gw_eio_polling_end(eio, GW_EIO_CLOSE);
    free(letter);
}

/* --- with the worker that has the client's connection ---------------------------------------------------------- */

static void call_on_closed(struct gw_conn *conn)
{
    struct eio_call *call = gw_conn_context(conn);
    call->conn = NULL;
    if (!call->post) {
        struct lost *lost = gw_calloc(1, sizeof *lost);
        lost->letter = (struct gw_letter){.deliver = lost_deliver, .drop = lost_drop};
        lost->call = call; /* for comparison only: while it is held, no other one has its address */
        memcpy(lost->sid, call->sid, SIO_ID_SIZE);
        gw_hub_send(gw_conn_hub(conn), call->home, &lost->letter);
    }
    call_unref(call);
}

static const struct gw_conn_ops call_conn_ops = {.closed = call_on_closed};

static bool call_wants_few(const struct gw_request *request)
{
    static const char *const clients[] = {"python-requests/", "aiohttp/"};
    struct gw_slice agent = gw_request_header(request, "user-agent");
    for (size_t i = 0; i < sizeof clients / sizeof *clients; i++) {
        if (agent.data && memmem(agent.data, agent.len, clients[i], strlen(clients[i])))
            return true;
    }
    return false;
}

void gw_eio_polling_request(struct gw_conn *conn, const struct gw_request *request, const char *sid, unsigned home)
{
    static const char binary[] = "application/octet-stream";
    struct gw_slice type = gw_request_header(request, "content-type");
    bool post = request->method == GW_POST;
    if (!post && request->method != GW_GET) {
        gw_http_error_headers(conn, GW_ERR_METHOD, NULL, "Allow: GET, POST\r\n");
        return;
    }
    if (post && type.len >= sizeof binary - 1 && !strncasecmp(type.data, binary, sizeof binary - 1)) {
        gw_eio_refuse(conn, EIO_BAD_REQUEST);
        return;
    }
    struct eio_call *call = gw_calloc(1, sizeof *call);
    struct gw_hub *hub = gw_conn_hub(conn);
    call->letter = (struct gw_letter){.deliver = call_deliver, .drop = call_drop};
    atomic_init(&call->refs, 2);
    call->conn = conn;
    call->from = gw_hub_worker(hub);
    call->home = home;
    call->post = post;
    call->few = call_wants_few(request);
    memcpy(call->sid, sid, SIO_ID_SIZE);
    if (post)
        gw_buf_add(&call->body, request->body.data, request->body.len);
    gw_conn_attach(conn, &call_conn_ops, call);
    if (home == call->from)
        call_deliver(&call->letter, hub);
    else
        gw_hub_send(hub, home, &call->letter);
}
