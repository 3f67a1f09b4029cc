/* listener.c: listening sockets, and what is accepted there. TCP has one for each worker on the same address
 * (SO_REUSEPORT); a Unix socket is one for all of them.
 *
 * The sockets are our own and the loop only watches them, so that bounds apply before anything is allocated and
 * running out of descriptors does not turn into a busy loop. */
#include "net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "gateway/hub.h"
#include "gateway/log.h"
#include "net/address.h"
#include "net/server.h"

#define BACKLOG 4096
/* Accepted in one turn of the loop, so that a storm of connections doesn't starve those that are there. */
#define ACCEPT_BATCH 64
/* With TLS, while more handshakes wait than there is time for: the others wait in the kernel's queue. */
#define ACCEPT_BATCH_LATE 16

/* What the kernel may hold of a connection and has not sent yet. It bounds what a client that does not read costs
 * beside its queue, and not the window of one that is far away: what was sent does not count. */
#define UNSENT_BYTES (128 * 1024)

/* SO_REUSEPORT, which our workers need among themselves, would also share the port in silence with another gateway of
 * the same user: so it is asked for once without. */
static bool listener_is_free(const struct sockaddr *address, socklen_t len)
{
    const int on = 1;
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return true; /* what is wrong then, the caller meets too */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    bool taken = bind(fd, address, len) && errno == EADDRINUSE;
    close(fd);
    errno = taken ? EADDRINUSE : 0;
    return !taken;
}

union internet_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* What to do about it. */
static const char *listener_advice(int error)
{
    switch (error) {
    case EADDRINUSE:
        return " (another program listens there: stop it, or choose another port in listen:)";
    case EADDRNOTAVAIL:
        return " (this machine has no such address: 0.0.0.0 or [::] takes all it has)";
    case EACCES:
        return " (ports below 1024 need the right to them: choose one above, or give CAP_NET_BIND_SERVICE)";
    default:
        return "";
    }
}

int gw_listener_bind(const struct gw_cfg_listen *listen_cfg, uint16_t port, bool first, struct gw_buf *error)
{
    union internet_address address;
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
    const char *step = "bind";
    int fd = -1;
    if (first && port && !listener_is_free(&address.any, len))
        goto fail;
    step = "socket";
    fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        goto fail;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    step = "SO_REUSEPORT";
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on))
        goto fail;
    /* What is accepted inherits these two. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &(int){UNSENT_BYTES}, sizeof(int));
    step = "bind";
    if (bind(fd, &address.any, len))
        goto fail;
    step = "listen";
    if (listen(fd, BACKLOG))
        goto fail;
    return fd;
fail:
    gw_buf_printf(error, "can't listen on %s: %s: %s%s", listen_cfg->address, step, strerror(errno),
                  listener_advice(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

/* --- Unix sockets ----------------------------------------------------------------------------------------------- */

/* Nobody accepts there any more: the process that made the file was killed. */
static bool listener_is_stale(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool stale = fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) && errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    return stale;
}

int gw_listener_bind_unix(const struct gw_cfg_listen *listen_cfg, struct gw_unix_file *file, struct gw_buf *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat found;
    memcpy(address.sun_path, listen_cfg->path, strlen(listen_cfg->path)); /* at most 107 bytes (config.c) */
    if (!lstat(listen_cfg->path, &found)) {
        const char *what = !S_ISSOCK(found.st_mode)       ? "the file exists and is no socket"
                           : !listener_is_stale(&address) ? "another process listens there"
                                                          : NULL;
        if (what) {
            gw_buf_printf(error, "can't listen on %s: %s", listen_cfg->address, what);
            return -1;
        }
        unlink(listen_cfg->path);
    }
    mode_t mode = (mode_t)strtoul(listen_cfg->mode, NULL, 8);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* On Linux the file gets the socket's own mode, so that it is never open to more people than it says. */
    if (fd < 0 || fchmod(fd, mode) || bind(fd, (const struct sockaddr *)&address, sizeof address) ||
        chmod(listen_cfg->path, mode) || listen(fd, BACKLOG) || lstat(listen_cfg->path, &found)) {
        gw_buf_printf(error, "can't listen on %s: %s", listen_cfg->address, strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    *file = (struct gw_unix_file){.device = found.st_dev, .inode = found.st_ino};
    return fd;
}

void gw_listener_unlink(const char *path, const struct gw_unix_file *file)
{
    struct stat found;
    if (file->inode && !lstat(path, &found) && found.st_dev == file->device && found.st_ino == file->inode)
        unlink(path);
}

uint16_t gw_listener_port(int fd)
{
    union internet_address address;
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

static const char *const listener_limits[] = {
    [GW_ADMIT_FULL] = "limits.connections",
    [GW_ADMIT_ADDRESS_FULL] = "limits.connections_per_address",
    [GW_ADMIT_RATE] = "limits.connect_rate",
    [GW_ADMIT_MEMORY] = "limits.memory",
};

/* With TLS there is no way to say why. */
static void listener_refuse(const struct gw_listener *listener, int fd, enum gw_admit why)
{
    const struct gw_worker *worker = listener->watch.worker;
    struct gw_stats *stats = gw_hub_stats(worker->hub);
    GW_STAT_ADD(stats, connections_refused, 1);
    if (why == GW_ADMIT_ADDRESS_FULL)
        GW_STAT_ADD(stats, connections_refused_address, 1);
    else if (why == GW_ADMIT_RATE)
        GW_STAT_ADD(stats, connections_refused_rate, 1);
    else if (why == GW_ADMIT_MEMORY)
        GW_STAT_ADD(stats, connections_refused_memory, 1);
    GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "web", "connection refused: %s reached", listener_limits[why]);
    const char *answer = listener->tls ? NULL : worker->server->service->refusal(listener, why);
    char request[4096];
    ssize_t ignored = !answer ? 0 : send(fd, answer, strlen(answer), MSG_NOSIGNAL | MSG_DONTWAIT);
    ignored = recv(fd, request, sizeof request, MSG_DONTWAIT); /* what is unread would turn closing into a reset */
    (void)ignored;
}

/* No descriptor is left: the spare one makes room to take the connection and let it go, otherwise the listening
 * socket would stay readable for ever. */
static void listener_out_of_descriptors(struct gw_listener *listener)
{
    struct gw_worker *worker = listener->watch.worker;
    GW_LOG_ONCE_A_SECOND(GW_LOG_ERROR, "web",
                         "out of file descriptors: raise the limit (ulimit -n) or lower "
                         "limits.connections");
    if (worker->spare_fd >= 0)
        close(worker->spare_fd);
    int fd = accept4(listener->watch.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        listener_refuse(listener, fd, GW_ADMIT_FULL);
        close(fd);
    }
    worker->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

bool gw_listener_count(struct gw_sock *sock)
{
    const struct gw_worker *worker = sock->worker;
    enum gw_admit admit =
        gw_admission_name(worker->server->admission, &sock->origin, &gw_hub_config(worker->hub)->limits);
    if (admit == GW_ADMIT) {
        sock->counted = sock->origin;
        return true;
    }
    listener_refuse(sock->listener, sock->fd, admit);
    gw_sock_kill(sock);
    return false;
}

static void listener_take(struct gw_listener *listener, int fd, const struct sockaddr_storage *peer)
{
    struct gw_worker *worker = listener->watch.worker;
    const struct gw_config *config = gw_hub_config(worker->hub);
    struct in6_addr from = listener_peer(peer);
    bool trusted = config->web.trusted_proxies.count && gw_address_trusted(&config->web.trusted_proxies, &from);
    if (listener->proxy && !trusted) {
        GW_STAT_ADD(gw_hub_stats(worker->hub), connections_refused, 1);
        GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "web",
                             "connection refused: it came to %s, but not from web.trusted_proxies",
                             listener->address);
        close(fd);
        return;
    }
    /* Many clients come from a proxy: its own address has no bound. */
    const struct in6_addr *counted = trusted ? &in6addr_any : &from;
    enum gw_admit admit = gw_admission_enter(worker->server->admission, counted, &config->limits);
    if (admit != GW_ADMIT) {
        listener_refuse(listener, fd, admit);
        close(fd);
        return;
    }
    const struct gw_arrival arrival = {listener, fd, from, *counted, trusted};
    struct gw_sock *sock = worker->server->service->accept(&arrival);
    if (!gw_sock_open(sock)) {
        GW_LOG_ONCE_A_SECOND(GW_LOG_ERROR, "web", "a connection could not be taken: %s", strerror(errno));
        gw_sock_kill(sock);
    }
}

void gw_listener_ready(struct gw_watch *watch)
{
    struct gw_listener *listener = (struct gw_listener *)watch;
    gw_worker_tick(watch->worker);
    int batch = listener->tls && watch->worker->arrivals_late ? ACCEPT_BATCH_LATE : ACCEPT_BATCH;
    for (int i = 0; i < batch; i++) {
        struct sockaddr_storage peer;
        socklen_t len = sizeof peer;
        int fd = accept4(watch->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            listener_take(listener, fd, &peer);
        } else {
            if (errno == EMFILE || errno == ENFILE)
                listener_out_of_descriptors(listener);
            if (errno == ECONNABORTED || errno == EINTR)
                continue;
            break;
        }
    }
    gw_sock_reap(watch->worker);
}
