#include "hub/inbox.h"
#include "route/routes.h"

#include <pthread.h>
#include <stdlib.h>

#include "gateway/alloc.h"
#include "hub/stored.h"

struct gw_inbox {
    pthread_mutex_t lock;
    pthread_cond_t room;      /* {lock} signalled when the worker took the queue, or on close */
    struct gw_event *filling; /* {lock} */
    size_t filled;            /* {lock} */
    size_t allocated;         /* {lock} of `filling` */
    bool resting;             /* {lock} the worker sleeps, or is about to */
    bool closed, lingering;   /* {lock} */
    const size_t capacity;
    struct gw_event *handling; /* worker's thread only: what the last take handed out */
    size_t handling_allocated;
    void (*const wake)(void *context);
    void *const context;
};

struct gw_inbox *gw_inbox_create(size_t capacity, void (*wake)(void *context), void *context)
{
    struct gw_inbox *inbox = gw_malloc(sizeof *inbox);
    struct gw_inbox init = {.resting = true, .capacity = capacity, .wake = wake, .context = context};
    __builtin_memcpy(inbox, &init, sizeof init);
    pthread_mutex_init(&inbox->lock, NULL);
    pthread_cond_init(&inbox->room, NULL);
    return inbox;
}

void gw_event_release(struct gw_event *event)
{
    switch (event->type) {
    case GW_EVENT_MESSAGE:
        gw_message_unref(event->u.message);
        break;
    case GW_EVENT_RELOAD:
        gw_routes_unref(event->u.reload.routes);
        gw_config_unref(event->u.reload.config);
        gw_auth_unref(event->u.reload.auth);
        break;
    case GW_EVENT_RESPONSE:
        free(event->u.response.payload);
        break;
    case GW_EVENT_STORED:
        gw_stored_ask_free(event->u.stored);
        break;
    case GW_EVENT_UPSTREAM:
    case GW_EVENT_PUBLISHED:
    case GW_EVENT_LOST:
    case GW_EVENT_EPOCH:
    case GW_EVENT_STOP:
        break;
    }
}

void gw_inbox_destroy(struct gw_inbox *inbox)
{
    if (!inbox)
        return;
    for (size_t i = 0; i < inbox->filled; i++)
        gw_event_release(&inbox->filling[i]);
    free(inbox->filling);
    free(inbox->handling);
    pthread_cond_destroy(&inbox->room);
    pthread_mutex_destroy(&inbox->lock);
    free(inbox);
}

bool gw_inbox_put(struct gw_inbox *inbox, const struct gw_event *event)
{
    pthread_mutex_lock(&inbox->lock);
    while (inbox->filled >= inbox->capacity && !inbox->closed && !inbox->lingering)
        pthread_cond_wait(&inbox->room, &inbox->lock);
    if (inbox->closed) {
        pthread_mutex_unlock(&inbox->lock);
        struct gw_event refused = *event;
        gw_event_release(&refused);
        return false;
    }
    GW_GROW(inbox->filling, inbox->filled, inbox->allocated, 64);
    inbox->filling[inbox->filled++] = *event;
    bool wake = inbox->resting && !inbox->lingering;
    inbox->resting = false;
    pthread_mutex_unlock(&inbox->lock);
    if (wake)
        inbox->wake(inbox->context);
    return true;
}

void gw_inbox_take(struct gw_inbox *inbox, struct gw_event **events, size_t *count)
{
    pthread_mutex_lock(&inbox->lock);
    struct gw_event *full = inbox->filling;
    size_t full_allocated = inbox->allocated;
    *count = inbox->filled;
    inbox->filling = inbox->handling;
    inbox->allocated = inbox->handling_allocated;
    inbox->filled = 0;
    inbox->resting = false;
    /* Producers wait only while it is full, so there is nobody to tell otherwise. */
    if (*count >= inbox->capacity)
        pthread_cond_broadcast(&inbox->room);
    pthread_mutex_unlock(&inbox->lock);
    inbox->handling = full;
    inbox->handling_allocated = full_allocated;
    *events = full;
}

bool gw_inbox_rest(struct gw_inbox *inbox)
{
    pthread_mutex_lock(&inbox->lock);
    inbox->resting = !inbox->filled;
    bool rest = inbox->resting;
    pthread_mutex_unlock(&inbox->lock);
    return rest;
}

void gw_inbox_close(struct gw_inbox *inbox)
{
    pthread_mutex_lock(&inbox->lock);
    inbox->closed = true;
    pthread_cond_broadcast(&inbox->room);
    pthread_mutex_unlock(&inbox->lock);
}

void gw_inbox_linger(struct gw_inbox *inbox)
{
    pthread_mutex_lock(&inbox->lock);
    inbox->lingering = true;
    pthread_cond_broadcast(&inbox->room);
    pthread_mutex_unlock(&inbox->lock);
}

size_t gw_inbox_length(struct gw_inbox *inbox)
{
    pthread_mutex_lock(&inbox->lock);
    size_t length = inbox->filled;
    pthread_mutex_unlock(&inbox->lock);
    return length;
}

size_t gw_inbox_capacity(const struct gw_inbox *inbox)
{
    return inbox->capacity;
}
