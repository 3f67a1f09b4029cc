/* mailbox.c: letters from one worker to another: a list under a lock, taken whole. */
#include "net/mailbox.h"

#include <stddef.h>

void gw_mailbox_init(struct gw_mailbox *box, void (*wake)(void *context), void *context)
{
    *box = (struct gw_mailbox){.wake = wake, .context = context};
    box->end = &box->first;
    pthread_mutex_init(&box->lock, NULL);
}

static struct gw_letter *mailbox_take(struct gw_mailbox *box, bool close)
{
    pthread_mutex_lock(&box->lock);
    struct gw_letter *first = box->first;
    box->first = NULL;
    box->end = &box->first;
    box->closed |= close;
    pthread_mutex_unlock(&box->lock);
    return first;
}

void gw_mailbox_put(struct gw_mailbox *box, struct gw_letter *letter)
{
    letter->next = NULL;
    pthread_mutex_lock(&box->lock);
    bool closed = box->closed;
    if (!closed) {
        bool empty = !box->first;
        *box->end = letter;
        box->end = &letter->next;
        if (empty)
            box->wake(box->context);
    }
    pthread_mutex_unlock(&box->lock);
    if (closed)
        letter->drop(letter);
}

void gw_mailbox_deliver(struct gw_mailbox *box, struct gw_hub *hub)
{
    for (struct gw_letter *letter = mailbox_take(box, false), *next; letter; letter = next) {
        next = letter->next;
        letter->deliver(letter, hub);
    }
}

void gw_mailbox_close(struct gw_mailbox *box)
{
    for (struct gw_letter *letter = mailbox_take(box, true), *next; letter; letter = next) {
        next = letter->next;
        letter->drop(letter);
    }
}

void gw_mailbox_fini(struct gw_mailbox *box)
{
    gw_mailbox_close(box);
    pthread_mutex_destroy(&box->lock);
}
