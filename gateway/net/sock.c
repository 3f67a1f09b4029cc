/* sock.c: plain sockets, level-triggered in one epoll set for each worker. libwebsockets watches that set as a single
 * descriptor, so that neither its poll(2) nor its memory grows with the connections. */
#include "net/sock.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/conn.h"
#include "net/server.h"
#include "net/tls.h"

/* Handled in one turn of the loop; the rest is still ready in the next. */
#define EVENTS 64

static bool sock_watch(struct gw_conn *conn, int operation)
{
    struct epoll_event event = {.events = (conn->paused ? 0u : (unsigned)EPOLLIN) |
                                          (conn->want_write ? (unsigned)EPOLLOUT : 0u),
                                .data = {.ptr = conn}};
    return !epoll_ctl(conn->worker->sockets.fd, operation, conn->fd, &event);
}

bool gw_sock_open(struct gw_conn *conn)
{
    if (conn->listener->tls && conn->state != GW_CONN_PROXY)
        return gw_tls_open(conn);
    return sock_watch(conn, EPOLL_CTL_ADD);
}

bool gw_sock_start_tls(struct gw_conn *conn)
{
    epoll_ctl(conn->worker->sockets.fd, EPOLL_CTL_DEL, conn->fd, NULL);
    return gw_tls_open(conn);
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
    if (conn->tls) {
        gw_tls_want_write(conn);
    } else if (!conn->want_write) {
        conn->want_write = true;
        sock_watch(conn, EPOLL_CTL_MOD);
    }
}

void gw_sock_pause(struct gw_conn *conn, bool pause)
{
    conn->paused = pause;
    if (conn->tls)
        gw_tls_pause(conn, pause);
    else
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
    if (conn->tls) {
        gw_tls_kill(conn);
        return;
    }
    conn->under.next_dead = conn->worker->dead;
    conn->worker->dead = conn;
}

void gw_sock_reap(struct gw_worker *worker)
{
    struct gw_conn *conn;
    while ((conn = worker->dead)) {
        worker->dead = conn->under.next_dead;
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
    ssize_t got = recv(conn->fd, worker->input, GW_INPUT_BYTES, MSG_DONTWAIT);
    if (got > 0 ? !gw_conn_on_input(conn, worker->input, (size_t)got)
                : got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
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
    struct epoll_event events[EVENTS];
    int count = epoll_wait(watch->fd, events, EVENTS, 0);
    for (int i = 0; i < count; i++)
        sock_event(events[i].data.ptr, events[i].events);
    gw_sock_reap(worker);
}
