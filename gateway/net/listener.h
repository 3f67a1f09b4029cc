/* listener.h: listening sockets, and what is accepted there. Thread: the worker's, except where it says so. */
#ifndef GW_NET_LISTENER_H
#define GW_NET_LISTENER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "gateway/config.h"
#include "net/loop.h"

struct gw_sock;
struct gw_tls;

/* One address of one worker. */
struct gw_listener {
    struct gw_watch watch; /* first member */
    struct gw_tls *tls;    /* NULL: plain */
    char *address;         /* as configured */
    const char *protocol;  /* static, as configured */
    bool is_unix;
    bool proxy; /* connections begin with a PROXY header */
};

/* What a Unix socket put into the file system. */
struct gw_unix_file {
    dev_t device;
    ino_t inode; /* 0: nothing */
};

/* Return a listening descriptor, or -1 with *error saying why not. Thread: main, before the workers start. */
/* `first`: of this process, so that no other process may listen there. */
int gw_listener_bind(const struct gw_cfg_listen *listen, uint16_t port, bool first, struct gw_buf *error);
/* A socket file that nobody listens on is replaced; anything else in its place is an error. */
int gw_listener_bind_unix(const struct gw_cfg_listen *listen, struct gw_unix_file *file, struct gw_buf *error);
/* Removes the file if it still is ours. Thread: main. */
void gw_listener_unlink(const char *path, const struct gw_unix_file *file);
uint16_t gw_listener_port(int fd);

void gw_listener_ready(struct gw_watch *watch);
/* The PROXY header has named the client: the bounds per address hold for it. False: they are reached, and it was
 * refused. */
bool gw_listener_count(struct gw_sock *sock);

#endif
