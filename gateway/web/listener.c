/* listener.c: listening sockets, one for each worker on the same address (SO_REUSEPORT), and what is accepted there.
 *
 * The sockets are our own and libwebsockets only watches them, so that bounds apply before anything is allocated and
 * running out of descriptors does not turn into a busy loop. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libwebsockets.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/log.h"
#include "web/server.h"

#define BACKLOG 4096
/* Accepted in one turn of the loop, so that a storm of connections doesn't starve those that are there. */
#define ACCEPT_BATCH 64

int gw_listener_bind(const struct gw_cfg_listen *listen_cfg, uint16_t port, struct gw_buf *error)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
    memset(&address, 0, sizeof address);
    socklen_t len;
    if (inet_pton(AF_INET, listen_cfg->host, &address.v4.sin_addr) == 1) {
        address.v4.sin_family = AF_INET;
        address.v4.sin_port = htons(port);
        len = sizeof address.v4;
    } else if (inet_pton(AF_INET6, listen_cfg->host, &address.v6.sin6_addr) == 1) {
        address.v6.sin6_family = AF_INET6;
        address.v6.sin6_port = htons(port);
        len = sizeof address.v6;
    } else {
        gw_buf_printf(error, "can't listen on %s: not a numeric address", listen_cfg->address);
        return -1;
    }
    const int on = 1;
    const char *step = "socket";
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        goto fail;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    step = "SO_REUSEPORT";
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on))
        goto fail;
    step = "bind";
    if (bind(fd, &address.any, len))
        goto fail;
    step = "listen";
    if (listen(fd, BACKLOG))
        goto fail;
    return fd;
fail:
    gw_buf_printf(error, "can't listen on %s: %s: %s", listen_cfg->address, step, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

uint16_t gw_listener_port(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
    socklen_t len = sizeof address;
    if (getsockname(fd, &address.any, &len))
        return 0;
    return ntohs(address.any.sa_family == AF_INET ? address.v4.sin_port : address.v6.sin6_port);
}

static struct in6_addr listener_peer(const struct sockaddr_storage *peer)
{
    struct in6_addr address = IN6ADDR_ANY_INIT;
    if (peer->ss_family == AF_INET) {
        address.s6_addr[10] = address.s6_addr[11] = 0xff;
        memcpy(&address.s6_addr[12], &((const struct sockaddr_in *)peer)->sin_addr, 4);
    } else if (peer->ss_family == AF_INET6) {
        address = ((const struct sockaddr_in6 *)peer)->sin6_addr;
    }
    return address;
}

static void listener_refuse(struct gw_worker *worker, int fd, bool full)
{
    static const char all[] = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    static const char each[] = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    GW_STAT_ADD(gw_hub_stats(worker->hub), connections_refused, 1);
    GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "web", "connection refused: limits.connections%s reached",
                         full ? "" : "_per_address");
    ssize_t ignored = full ? send(fd, all, sizeof all - 1, MSG_NOSIGNAL | MSG_DONTWAIT)
                           : send(fd, each, sizeof each - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)ignored;
    close(fd);
}

/* No descriptor is left: the spare one makes room to take the connection and let it go, otherwise the listening socket
 * would stay readable for ever. */
static void listener_out_of_descriptors(struct gw_listener *listener)
{
    struct gw_worker *worker = listener->worker;
    GW_LOG_ONCE_A_SECOND(GW_LOG_ERROR, "web", "out of file descriptors: raise the limit (ulimit -n) or lower "
                                              "limits.connections");
    if (worker->spare_fd >= 0)
        close(worker->spare_fd);
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        listener_refuse(worker, fd, true);
    worker->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void listener_adopt(struct gw_worker *worker, int fd, const struct in6_addr *address)
{
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct gw_conn *conn = gw_conn_create(worker, fd, address);
    lws_adopt_desc_t desc = {
        .vh = worker->vhost,
        .type = LWS_ADOPT_SOCKET, /* neither HTTP nor TLS: the octets as they come (docs/decisions/0001) */
        .fd = {.sockfd = fd},
        .vh_prot_name = "sluice",
        .opaque = conn,
    };
    struct lws *wsi = lws_adopt_descriptor_vhost_via_info(&desc);
    if (!wsi) { /* libwebsockets has closed the descriptor */
        GW_LOG_ONCE_A_SECOND(GW_LOG_ERROR, "web", "libwebsockets did not take the connection");
        conn->dead = true;
        gw_conn_on_closed(conn);
        return;
    }
    gw_conn_adopted(conn, wsi);
}

void gw_listener_accept(struct gw_listener *listener)
{
    struct gw_worker *worker = listener->worker;
    const struct gw_cfg_limits *limits = &gw_hub_config(worker->hub)->limits;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        struct sockaddr_storage peer;
        socklen_t len = sizeof peer;
        int fd = accept4(listener->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE)
                listener_out_of_descriptors(listener);
            if (errno == ECONNABORTED || errno == EINTR)
                continue;
            return;
        }
        struct in6_addr address = listener_peer(&peer);
        enum gw_admit admit = gw_admission_enter(worker->server->admission, &address, limits->connections,
                                                 limits->connections_per_address);
        if (admit == GW_ADMIT)
            listener_adopt(worker, fd, &address);
        else
            listener_refuse(worker, fd, admit == GW_ADMIT_FULL);
    }
}
