#include "auth/tickets.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "auth/encode.h"
#include "gateway/alloc.h"
#include "gateway/list.h"
#include "gateway/random.h"

#define BUCKETS 16384

/* Who has tickets that are unused; gone with the last of them. */
struct owner {
    uint8_t digest[GW_SHA256_SIZE];
    uint32_t count;
    struct owner *next; /* in the bucket */
};

struct ticket {
    uint8_t digest[GW_SHA256_SIZE];
    struct gw_identity *identity;
    struct owner *owner;
    int64_t expires_ms;
    uint64_t age;
    struct ticket *next;          /* in the bucket */
    struct ticket *later, **link; /* in the order in which they were given out */
};

struct gw_tickets {
    atomic_uint refs;
    pthread_mutex_t lock;
    size_t count;
    struct ticket *first, **end;
    struct ticket *buckets[BUCKETS];
    struct owner *owners[BUCKETS];
};

struct gw_tickets *gw_tickets_create(void)
{
    struct gw_tickets *tickets = gw_calloc(1, sizeof *tickets);
    atomic_init(&tickets->refs, 1);
    tickets->end = &tickets->first;
    pthread_mutex_init(&tickets->lock, NULL);
    return tickets;
}

struct gw_tickets *gw_tickets_ref(struct gw_tickets *tickets)
{
    atomic_fetch_add_explicit(&tickets->refs, 1, memory_order_relaxed);
    return tickets;
}

static size_t tickets_slot(const uint8_t *digest)
{
    return (digest[0] | (unsigned)digest[1] << 8) % BUCKETS;
}

/* One ticket more for it; NULL: it has enough. */
static struct owner *tickets_count(struct gw_tickets *tickets, const uint8_t *digest)
{
    struct owner **bucket = &tickets->owners[tickets_slot(digest)], *owner = *bucket;
    while (owner && memcmp(owner->digest, digest, sizeof owner->digest) != 0)
        owner = owner->next;
    if (owner && owner->count >= GW_TICKETS_EACH)
        return NULL;
    if (!owner) {
        owner = gw_calloc(1, sizeof *owner);
        memcpy(owner->digest, digest, sizeof owner->digest);
        owner->next = *bucket;
        *bucket = owner;
    }
    owner->count++;
    return owner;
}

static void tickets_discount(struct gw_tickets *tickets, struct owner *owner)
{
    if (--owner->count)
        return;
    struct owner **at = &tickets->owners[tickets_slot(owner->digest)];
    while (*at != owner)
        at = &(*at)->next;
    *at = owner->next;
    free(owner);
}

/* Out of the table; the caller frees it. */
static void tickets_remove(struct gw_tickets *tickets, struct ticket *ticket)
{
    struct ticket **at = &tickets->buckets[tickets_slot(ticket->digest)];
    while (*at != ticket)
        at = &(*at)->next;
    *at = ticket->next;
    GW_QUEUE_REMOVE(tickets->end, ticket, later, link);
    tickets->count--;
    tickets_discount(tickets, ticket->owner);
}

static void tickets_drop_first(struct gw_tickets *tickets)
{
    struct ticket *ticket = tickets->first;
    tickets_remove(tickets, ticket);
    gw_identity_unref(ticket->identity);
    free(ticket);
}

void gw_tickets_unref(struct gw_tickets *tickets)
{
    if (!tickets || atomic_fetch_sub_explicit(&tickets->refs, 1, memory_order_acq_rel) != 1)
        return;
    while (tickets->first)
        tickets_drop_first(tickets);
    pthread_mutex_destroy(&tickets->lock);
    free(tickets);
}

/* The lock is held. */
static enum gw_err tickets_add(struct gw_tickets *tickets, struct ticket *ticket, const uint8_t *owner,
                               int64_t wall_ms)
{
    while (tickets->first && tickets->first->expires_ms <= wall_ms)
        tickets_drop_first(tickets);
    if (tickets->count >= GW_TICKETS_MAX)
        return GW_ERR_OVERLOADED;
    ticket->owner = tickets_count(tickets, owner);
    if (!ticket->owner)
        return GW_ERR_RATE_LIMITED;
    struct ticket **bucket = &tickets->buckets[tickets_slot(ticket->digest)];
    ticket->next = *bucket;
    *bucket = ticket;
    GW_QUEUE_ADD(tickets->end, ticket, later, link);
    tickets->count++;
    return GW_OK;
}

enum gw_err gw_tickets_issue(struct gw_tickets *tickets, struct gw_identity *identity, const struct gw_buf *owner,
                             uint64_t age, int64_t wall_ms, int64_t ttl_ms, char out[GW_TICKET_SIZE])
{
    uint8_t bytes[32], digest[GW_SHA256_SIZE];
    struct ticket *ticket = gw_calloc(1, sizeof *ticket);
    gw_sha256(owner->data, owner->len, digest);
    gw_random(bytes, sizeof bytes);
    gw_base64url_32(bytes, out);
    gw_sha256(out, GW_TICKET_SIZE - 1, ticket->digest);
    ticket->identity = gw_identity_ref(identity);
    ticket->expires_ms = wall_ms + ttl_ms;
    ticket->age = age;

    pthread_mutex_lock(&tickets->lock);
    enum gw_err err = tickets_add(tickets, ticket, digest, wall_ms);
    pthread_mutex_unlock(&tickets->lock);
    if (err == GW_OK)
        return GW_OK;
    gw_identity_unref(ticket->identity);
    free(ticket);
    memset(out, 0, GW_TICKET_SIZE);
    return err;
}

enum gw_err gw_tickets_redeem(struct gw_tickets *tickets, const char *text, size_t len, int64_t wall_ms,
                              struct gw_identity **out, uint64_t *age)
{
    uint8_t digest[GW_SHA256_SIZE];
    *out = NULL;
    if (len != GW_TICKET_SIZE - 1)
        return GW_ERR_UNAUTHORIZED;
    gw_sha256(text, len, digest);
    pthread_mutex_lock(&tickets->lock);
    struct ticket *ticket = tickets->buckets[tickets_slot(digest)];
    /* How long comparing takes tells about digests only, and from those nobody gets to a ticket. */
    while (ticket && memcmp(ticket->digest, digest, sizeof digest) != 0)
        ticket = ticket->next;
    if (ticket)
        tickets_remove(tickets, ticket);
    pthread_mutex_unlock(&tickets->lock);
    if (!ticket)
        return GW_ERR_UNAUTHORIZED;
    bool late = ticket->expires_ms <= wall_ms;
    if (late)
        gw_identity_unref(ticket->identity);
    else
        *out = ticket->identity;
    *age = ticket->age;
    free(ticket);
    return late ? GW_ERR_EXPIRED : GW_OK;
}
