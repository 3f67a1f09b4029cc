/* sock.c: sockets, level-triggered in epoll sets of the worker's. The loop watches each set as a single descriptor,
 * so that neither its poll(2) nor its memory grows with the connections.
 *
 * TLS handshakes have sets of their own, because each costs as much as a hundred messages: in one turn of the loop
 * only a slice of them is served, and open connections are served in between. Those that have begun come before those
 * that have not, so a storm finishes one client after the other and does not hold the half-made state of all of them.
 */
#include "net/sock.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/alloc.h"
#include "gateway/clock.h"
#include "gateway/hub.h"
#include "gateway/list.h"
#include "net/admission.h"
#include "net/listener.h"
#include "net/proxy.h"
#include "net/server.h"
#include "net/tls.h"
#include "net/worker.h"

/* Handled in one turn of the loop; the rest is still ready in the next. */
#define EVENTS 64
/* The same for handshakes, of each of the two sets; and no further one is served after this time. */
#define HANDSHAKES   256
#define HANDSHAKE_NS 1000000

/* For so long the sockets are left alone after rounds in which nothing was in a hurry, which followed one another
 * within CALM_NS. */
#define NAP_NS  500000
#define CALM_NS 1000000

static int sock_set(const struct gw_sock *sock)
{
    const struct gw_worker *worker = sock->worker;
    switch ((enum gw_sock_set)sock->set) {
    case GW_SOCK_ARRIVED:
        return worker->arrivals.fd;
    case GW_SOCK_SHAKING:
        return worker->handshakes.fd;
    case GW_SOCK_SPEAKING:
        break;
    }
    return worker->sockets.fd;
}

static bool sock_watch(struct gw_sock *sock, int operation)
{
    struct epoll_event event = {.events = (sock->paused ? 0u : (unsigned)EPOLLIN) |
                                          (sock->want_write ? (unsigned)EPOLLOUT : 0u),
                                .data = {.ptr = sock}};
    return !epoll_ctl(sock_set(sock), operation, sock->fd, &event);
}

static bool sock_move(struct gw_sock *sock, enum gw_sock_set set)
{
    epoll_ctl(sock_set(sock), EPOLL_CTL_DEL, sock->fd, NULL);
    sock->set = (uint8_t)set;
    return sock_watch(sock, EPOLL_CTL_ADD);
}

void gw_sock_init(struct gw_sock *sock, const struct gw_arrival *arrival, const struct gw_sock_ops *ops)
{
    struct gw_worker *worker = arrival->listener->watch.worker;
    sock->ops = ops;
    sock->worker = worker;
    sock->listener = arrival->listener;
    sock->fd = arrival->fd;
    sock->origin = arrival->origin;
    sock->counted = arrival->counted;
    sock->trusted = arrival->trusted;
    if (arrival->listener->proxy)
        sock->proxy = gw_calloc(1, sizeof *sock->proxy);
    GW_LIST_ADD(worker->socks, sock, next, link);
    GW_STAT_ADD(gw_hub_stats(worker->hub), connections, 1);
}

bool gw_sock_open(struct gw_sock *sock)
{
    if (sock->listener->tls && !sock->proxy) {
        gw_tls_open(sock);
        sock->set = GW_SOCK_ARRIVED;
    }
    return sock_watch(sock, EPOLL_CTL_ADD);
}

bool gw_sock_start_tls(struct gw_sock *sock)
{
    gw_tls_open(sock);
    return sock_move(sock, GW_SOCK_ARRIVED);
}

bool gw_sock_secure(const struct gw_sock *sock)
{
    return sock->tls || sock->proxy_secure;
}

ssize_t gw_sock_send(struct gw_sock *sock, struct iovec *parts, size_t count)
{
    if (sock->tls)
        return gw_tls_send(sock, parts, count);
    ssize_t sent;
    do
        sent = count == 1 ? send(sock->fd, parts->iov_base, parts->iov_len, MSG_NOSIGNAL | MSG_DONTWAIT)
                          : sendmsg(sock->fd, &(struct msghdr){.msg_iov = parts, .msg_iovlen = count},
                                    MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    return sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? 0 : sent;
}

void gw_sock_block(struct gw_sock *sock)
{
    sock->out.blocked = true;
    if (!sock->want_write) {
        sock->want_write = true;
        sock_watch(sock, EPOLL_CTL_MOD);
    }
}

void gw_sock_pause(struct gw_sock *sock, bool pause)
{
    if (sock->paused == pause || gw_sock_dead(sock))
        return;
    sock->paused = pause;
    sock_watch(sock, EPOLL_CTL_MOD);
}

/* --- the end --------------------------------------------------------------------------------------------------- */

void gw_sock_part(struct gw_sock *sock)
{
    if (sock->phase == GW_SOCK_OPEN)
        sock->phase = GW_SOCK_PARTING;
}

/* Everything has left: no more will be sent. */
static void sock_shut_down(struct gw_sock *sock)
{
    if (sock->tls && !gw_tls_shutdown(sock))
        gw_sock_block(sock); /* it has to be tried again when there is room */
    else
        shutdown(sock->fd, SHUT_WR);
}

void gw_sock_finish(struct gw_sock *sock)
{
    gw_outbox_uncork(sock);
    gw_outbox_settle(sock);
    if (gw_sock_dead(sock))
        return;
    sock->phase = GW_SOCK_FINISHING;
    if (!sock->out.blocked)
        sock_shut_down(sock);
}

void gw_sock_kill(struct gw_sock *sock)
{
    if (gw_sock_dead(sock))
        return;
    sock->phase = GW_SOCK_DEAD;
    sock->next_dead = sock->worker->dead;
    sock->worker->dead = sock;
}

static void sock_close(struct gw_sock *sock)
{
    gw_tls_close(sock);
    close(sock->fd); /* which takes it out of the epoll set */
    GW_LIST_REMOVE(sock, next, link);
    gw_admission_leave(sock->worker->server->admission, &sock->counted);
    GW_STAT_ADD(gw_hub_stats(sock->worker->hub), connections, (uint64_t)-1);
    gw_outbox_fini(sock);
    gw_proxy_end(sock);
    sock->ops->closed(sock);
}

void gw_sock_reap(struct gw_worker *worker)
{
    struct gw_sock *sock;
    while ((sock = worker->dead)) {
        worker->dead = sock->next_dead;
        sock_close(sock);
    }
}

/* --- what is ready --------------------------------------------------------------------------------------------- */

static void sock_read(struct gw_sock *sock)
{
    struct gw_worker *worker = sock->worker;
    if (sock->proxy) {
        gw_proxy_read(sock);
        return;
    }
    if (sock->tls) {
        if (!gw_tls_read(sock))
            gw_sock_kill(sock);
        return;
    }
    ssize_t got = recv(sock->fd, worker->input, GW_INPUT_BYTES, MSG_DONTWAIT);
    bool alive = got > 0    ? sock->ops->input(sock, worker->input, (size_t)got)
                 : got == 0 ? sock->ops->eof(sock)
                            : errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    if (!alive)
        gw_sock_kill(sock);
}

bool gw_sock_on_writable(struct gw_sock *sock)
{
    if (gw_sock_dead(sock) || !gw_outbox_flush(sock))
        return false;
    if (sock->out.blocked)
        return true;
    if (sock->phase == GW_SOCK_FINISHING) {
        sock_shut_down(sock);
        return true;
    }
    return sock->ops->writable(sock);
}

/* A socket is ready. worker->heard is set by what it says. */
static void sock_event(struct gw_sock *sock, uint32_t events)
{
    sock->worker->heard = GW_HEARD_NOTHING;
    if (gw_sock_dead(sock))
        return; /* by what happened to another one in this turn */
    if (events & EPOLLOUT) {
        if (!gw_sock_on_writable(sock))
            gw_sock_kill(sock);
        if (gw_sock_dead(sock))
            return;
        if (!sock->out.blocked) {
            sock->want_write = false;
            sock_watch(sock, EPOLL_CTL_MOD);
        }
    }
    if (events & EPOLLIN)
        sock_read(sock);
    else if (events & (EPOLLHUP | EPOLLERR))
        gw_sock_kill(sock); /* both ways are shut: there is nobody to answer */
}

/* A client at QoS 1 of MQTT sends an acknowledgement for each message, by itself. To be woken for each costs more
 * than the message did, and nobody waits: when one such round follows another, the next one is put off, so that it
 * finds many. */
static void sock_calm(struct gw_worker *worker, bool calm)
{
    int64_t now = calm ? gw_monotonic_ns() : 0;
    worker->nap_ns = calm && now - worker->calm_ns < CALM_NS ? now + NAP_NS : 0;
    worker->calm_ns = now;
}

void gw_sock_ready(struct gw_watch *watch)
{
    struct gw_worker *worker = watch->worker;
    gw_worker_tick(worker);
    struct epoll_event events[EVENTS];
    int count = epoll_wait(watch->fd, events, EVENTS, 0);
    bool calm = count > 0 && count < EVENTS;
    for (int i = 0; i < count; i++) {
        sock_event(events[i].data.ptr, events[i].events);
        calm = calm && worker->heard == GW_HEARD_CALM;
    }
    sock_calm(worker, calm);
    gw_sock_reap(worker);
}

static void sock_handshake(struct gw_sock *sock, uint32_t events)
{
    if (gw_sock_dead(sock))
        return;
    if (events & EPOLLOUT && !gw_tls_flush(sock)) {
        gw_sock_kill(sock);
        return;
    }
    enum gw_tls_step step = gw_tls_handshake(sock);
    sock->want_write = step != GW_TLS_FAILED && gw_tls_waiting(sock);
    if (step == GW_TLS_MORE) {
        if (sock->set == GW_SOCK_ARRIVED ? !sock_move(sock, GW_SOCK_SHAKING) : !sock_watch(sock, EPOLL_CTL_MOD))
            gw_sock_kill(sock);
        return;
    }
    sock->out.blocked = sock->want_write;
    /* The client's first request may have come with the end of its handshake. */
    if (step == GW_TLS_FAILED || !sock_move(sock, GW_SOCK_SPEAKING) || !gw_tls_read_rest(sock))
        gw_sock_kill(sock);
}

void gw_sock_handshakes(struct gw_watch *watch)
{
    struct gw_worker *worker = watch->worker;
    gw_worker_tick(worker);
    struct epoll_event events[HANDSHAKES];
    int count = epoll_wait(watch->fd, events, HANDSHAKES, 0), i = 0;
    int64_t until = gw_monotonic_ns() + HANDSHAKE_NS;
    while (i < count && gw_monotonic_ns() < until) {
        sock_handshake(events[i].data.ptr, events[i].events);
        i++;
    }
    if (watch == &worker->arrivals)
        worker->arrivals_late = i < count;
    gw_sock_reap(worker);
}
