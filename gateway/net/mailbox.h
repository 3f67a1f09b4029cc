/* mailbox.h: the letters that wait for one worker (include/gateway/mail.h). */
#ifndef GW_NET_MAILBOX_H
#define GW_NET_MAILBOX_H

#include <pthread.h>
#include <stdbool.h>

#include "gateway/mail.h"

struct gw_mailbox {
    pthread_mutex_t lock;
    struct gw_letter *first, **end;
    bool closed;
    void (*wake)(void *context);
    void *context;
};

/* `wake` is called on the sender's thread, with the lock, when a letter comes into an empty box: never after
 * gw_mailbox_close(). */
void gw_mailbox_init(struct gw_mailbox *box, void (*wake)(void *context), void *context);
/* Drops what is left. */
void gw_mailbox_fini(struct gw_mailbox *box);
/* Drops the letter if the box is closed. Thread: any. */
void gw_mailbox_put(struct gw_mailbox *box, struct gw_letter *letter);
/* Delivers what is there. Thread: the worker's. */
void gw_mailbox_deliver(struct gw_mailbox *box, struct gw_hub *hub);
/* From now on letters are dropped, and so are those that wait. Thread: the worker's. */
void gw_mailbox_close(struct gw_mailbox *box);

#endif
