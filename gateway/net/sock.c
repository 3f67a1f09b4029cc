/* sock.c: sockets, level-triggered in epoll sets of the worker's. The loop watches each set as a single descriptor,
 * so that neither its poll(2) nor its memory grows with the connections.
 *
 * TLS handshakes have sets of their own, because each costs as much as a hundred messages: in one turn of the loop
 * only a slice of them is served, and open connections are served in between. Those that have begun come before those
 * that have not, so a storm finishes one client after the other and does not hold the half-made state of all of them.
 */
#include "net/sock.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "http/conn.h"
#include "net/server.h"
#include "net/tls.h"

/* Handled in one turn of the loop; the rest is still ready in the next. */
#define EVENTS 64
/* The same for handshakes, of each of the two sets; and no further one is served after this time. */
#define HANDSHAKES   256
#define HANDSHAKE_NS 1000000

static int sock_set(const struct gw_conn *conn)
{
    const struct gw_worker *worker = conn->worker;
    switch ((enum gw_sock_set)conn->set) {
    case GW_SOCK_ARRIVED:
        return worker->arrivals.fd;
    case GW_SOCK_SHAKING:
        return worker->handshakes.fd;
    case GW_SOCK_OPEN:
        break;
    }
    return worker->sockets.fd;
}

static bool sock_watch(struct gw_conn *conn, int operation)
{
    struct epoll_event event = {.events = (conn->paused ? 0u : (unsigned)EPOLLIN) |
                                          (conn->want_write ? (unsigned)EPOLLOUT : 0u),
                                .data = {.ptr = conn}};
    return !epoll_ctl(sock_set(conn), operation, conn->fd, &event);
}

static bool sock_move(struct gw_conn *conn, enum gw_sock_set set)
{
    epoll_ctl(sock_set(conn), EPOLL_CTL_DEL, conn->fd, NULL);
    conn->set = (uint8_t)set;
    return sock_watch(conn, EPOLL_CTL_ADD);
}

bool gw_sock_open(struct gw_conn *conn)
{
    if (conn->listener->tls && conn->state != GW_CONN_PROXY) {
        gw_tls_open(conn);
        conn->set = GW_SOCK_ARRIVED;
    }
    return sock_watch(conn, EPOLL_CTL_ADD);
}

bool gw_sock_start_tls(struct gw_conn *conn)
{
    gw_tls_open(conn);
    return sock_move(conn, GW_SOCK_ARRIVED);
}

ssize_t gw_sock_send(struct gw_conn *conn, struct iovec *parts, size_t count)
{
    if (conn->tls)
        return gw_tls_send(conn, parts, count);
    struct msghdr header = {.msg_iov = parts, .msg_iovlen = count};
    ssize_t sent;
    do
        sent = count == 1 ? send(conn->fd, parts->iov_base, parts->iov_len, MSG_NOSIGNAL | MSG_DONTWAIT)
                          : sendmsg(conn->fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    return sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? 0 : sent;
}

void gw_sock_want_write(struct gw_conn *conn)
{
    if (!conn->want_write) {
        conn->want_write = true;
        sock_watch(conn, EPOLL_CTL_MOD);
    }
}

void gw_sock_pause(struct gw_conn *conn, bool pause)
{
    conn->paused = pause;
    sock_watch(conn, EPOLL_CTL_MOD);
}

bool gw_sock_shutdown(struct gw_conn *conn)
{
    if (conn->tls && !gw_tls_shutdown(conn))
        return false;
    shutdown(conn->fd, SHUT_WR);
    return true;
}

void gw_sock_kill(struct gw_conn *conn)
{
    conn->next_dead = conn->worker->dead;
    conn->worker->dead = conn;
}

void gw_sock_reap(struct gw_worker *worker)
{
    struct gw_conn *conn;
    while ((conn = worker->dead)) {
        worker->dead = conn->next_dead;
        gw_tls_close(conn);
        close(conn->fd); /* which takes it out of the epoll set */
        gw_conn_on_closed(conn);
    }
}

static void sock_read(struct gw_conn *conn)
{
    struct gw_worker *worker = conn->worker;
    if (conn->state == GW_CONN_PROXY) {
        gw_conn_read_proxy(conn);
        return;
    }
    if (conn->tls) {
        if (!gw_tls_read(conn))
            gw_conn_kill(conn);
        return;
    }
    ssize_t got = recv(conn->fd, worker->input, GW_INPUT_BYTES, MSG_DONTWAIT);
    bool alive = got > 0    ? gw_conn_on_input(conn, worker->input, (size_t)got)
                 : got == 0 ? gw_conn_on_eof(conn)
                            : errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    if (!alive)
        gw_conn_kill(conn);
}

static void sock_event(struct gw_conn *conn, uint32_t events)
{
    if (conn->dead)
        return; /* by what happened to another one in this turn */
    if (events & EPOLLOUT) {
        if (!gw_conn_on_writable(conn))
            gw_conn_kill(conn);
        if (conn->dead)
            return;
        if (!conn->blocked) {
            conn->want_write = false;
            sock_watch(conn, EPOLL_CTL_MOD);
        }
    }
    if (events & EPOLLIN)
        sock_read(conn);
    else if (events & (EPOLLHUP | EPOLLERR))
        gw_conn_kill(conn); /* both ways are shut: there is nobody to answer */
}

void gw_sock_ready(struct gw_watch *watch)
{
    struct gw_worker *worker = watch->worker;
    gw_server_tick(worker);
    struct epoll_event events[EVENTS];
    int count = epoll_wait(watch->fd, events, EVENTS, 0);
    for (int i = 0; i < count; i++)
        sock_event(events[i].data.ptr, events[i].events);
    gw_sock_reap(worker);
}

static void sock_handshake(struct gw_conn *conn, uint32_t events)
{
    if (conn->dead)
        return;
    if (events & EPOLLOUT && !gw_tls_flush(conn)) {
        gw_conn_kill(conn);
        return;
    }
    enum gw_tls_step step = gw_tls_handshake(conn);
    conn->want_write = step != GW_TLS_FAILED && gw_tls_waiting(conn);
    if (step == GW_TLS_MORE) {
        if (conn->set == GW_SOCK_ARRIVED ? !sock_move(conn, GW_SOCK_SHAKING) : !sock_watch(conn, EPOLL_CTL_MOD))
            gw_conn_kill(conn);
        return;
    }
    conn->blocked = conn->want_write;
    /* The client's first request may have come with the end of its handshake. */
    if (step == GW_TLS_FAILED || !sock_move(conn, GW_SOCK_OPEN) || !gw_tls_read_rest(conn))
        gw_conn_kill(conn);
}

void gw_sock_handshakes(struct gw_watch *watch)
{
    struct gw_worker *worker = watch->worker;
    gw_server_tick(worker);
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
