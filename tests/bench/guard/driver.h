/* driver.h: what the clients of the guard (clients.c) have of its gateway (driver.c), and the other way round. */
#ifndef GUARD_DRIVER_H
#define GUARD_DRIVER_H

#include <stdbool.h>
#include <stddef.h>

#include "net/listener.h"
#include "net/server.h"

#define MARK "#mark#" /* in every payload */

struct client {
    struct gw_sock *sock; /* NULL: it is away */
    int fd;               /* the far end */
    unsigned number, channel;
    char cursor[64]; /* of polls; of Socket.IO by polling the session */
};

struct guard {
    const char *transport;
    const char *epoch;
    unsigned client_count, channel_count, batch, others;
    bool counted;            /* this round is */
    unsigned long published; /* messages, since the start */
    struct gw_worker worker;
    struct gw_listener listener;
};

extern struct guard guard;

bool guard_is(const char *transport);
/* Do clients acknowledge? */
bool guard_at_qos1(void);
void guard_fail(const char *what);

/* Connects it and subscribes to its channel. */
void client_attach(struct client *client, unsigned number);
/* The clients of the `…-resume` kinds are away while messages come in. */
bool client_leaves(void);
void client_leave(struct client *client);
void client_return(struct client *client);
/* Takes what there is for it, and says what belongs to that: the next poll, acknowledgements. Returns how many
 * messages came. */
unsigned client_collect(struct client *client);

#endif
