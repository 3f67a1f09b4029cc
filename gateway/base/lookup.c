#include "base/lookup.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cond.h"
#include "gateway/alloc.h"
#include "gateway/buf.h"
#include "gateway/clock.h"
#include "gateway/log.h"

/* glibc sends its question again after 5 s, on the same socket. Another thread asks from a new one after one second;
 * with five of them a server that comes back is asked within a second, however long it was away. */
#define HEDGE_MS (GW_LOOKUP_MS / 3)
#define THREADS  5
/* An answer this old is as good as a new one: several connections ask for the same name at a time. */
#define FRESH_MS 300
/* A question that was last asked longer ago than this begins anew. */
#define FORGOTTEN_MS 5000

struct gw_lookup {
    const char *part, *key;
    char *host;
    bool numeric;
    pthread_mutex_t lock;
    pthread_cond_t answered;
    void (*wake)(void *); /* {lock} NULL: the owner is gone */
    void *context;
    unsigned refs;    /* {lock} the owner's, and one of each thread */
    unsigned running; /* {lock} threads */
    bool interrupted; /* {lock} */
    bool open;        /* {lock} there is a question without an answer */
    bool failing;     /* {lock} ... the name server can't be asked, or can't answer for now */
    int wrong;        /* {lock} what getaddrinfo returned last; 0: it was good */
    int error;        /* {lock} ... and errno */
    uint64_t started; /* {lock} threads so far */
    uint64_t first;   /* {lock} the first one of this question */
    uint64_t found;   /* {lock} the one that brought the addresses */
    int64_t started_ms, asked_ms, called_ms, answered_ms; /* {lock} 0: never */
    size_t count;                                         /* {lock} addresses, remembered for ever */
    struct gw_address addresses[GW_LOOKUP_ADDRESSES];     /* {lock} */
    char preferred[sizeof((struct gw_address *)0)->text]; /* {lock} "": none */
    bool told;                                            /* {lock} that remembered ones are used */
};

struct lookup_thread {
    struct gw_lookup *lookup;
    uint64_t number;
};

static void lookup_unref_unlock(struct gw_lookup *lookup)
{
    bool last = --lookup->refs == 0;
    pthread_mutex_unlock(&lookup->lock);
    if (!last)
        return;
    pthread_cond_destroy(&lookup->answered);
    pthread_mutex_destroy(&lookup->lock);
    free(lookup->host);
    free(lookup);
}

/* --- asking ----------------------------------------------------------------------------------------------------- */

static size_t lookup_read(struct gw_address out[GW_LOOKUP_ADDRESSES], const struct addrinfo *list)
{
    size_t count = 0;
    for (const struct addrinfo *info = list; info && count < GW_LOOKUP_ADDRESSES; info = info->ai_next) {
        struct gw_address *address = &out[count];
        size_t i = 0;
        if (info->ai_addrlen > sizeof address->socket || getnameinfo(info->ai_addr, info->ai_addrlen, address->text,
                                                                     sizeof address->text, NULL, 0, NI_NUMERICHOST))
            continue;
        while (i < count && strcmp(out[i].text, address->text) != 0)
            i++;
        if (i < count) /* a line of /etc/hosts may be there twice */
            continue;
        memcpy(&address->socket, info->ai_addr, info->ai_addrlen);
        address->len = info->ai_addrlen;
        count++;
    }
    return count;
}

/* {lock} is held. */
static void lookup_take(struct gw_lookup *lookup, uint64_t number, int wrong, int error,
                        const struct gw_address *addresses, size_t count)
{
    int64_t now = gw_monotonic_ms();
    if (!wrong && number > lookup->found) { /* also one of an earlier question is good news */
        memcpy(lookup->addresses, addresses, count * sizeof *addresses);
        lookup->count = count;
        lookup->found = number;
        lookup->open = lookup->failing = false;
    } else if (wrong == EAI_AGAIN && number >= lookup->first && lookup->open) {
        /* No answer: another thread asks again. One that took its time waited for a silent server. */
        lookup->failing = lookup->failing || now - lookup->asked_ms < HEDGE_MS;
    } else if (wrong && number >= lookup->first && lookup->open) {
        lookup->open = lookup->failing = false;
    } else {
        return; /* old news */
    }
    lookup->wrong = wrong;
    lookup->error = error;
    lookup->answered_ms = now;
    pthread_cond_broadcast(&lookup->answered);
    if (lookup->wake)
        lookup->wake(lookup->context);
}

static void *lookup_run(void *context)
{
    struct lookup_thread *thread = context;
    struct gw_lookup *lookup = thread->lookup;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list = NULL;
    struct gw_address addresses[GW_LOOKUP_ADDRESSES];
    int wrong = getaddrinfo(lookup->host, NULL, &hints, &list), error = errno;
    size_t count = wrong ? 0 : lookup_read(addresses, list);
    if (!wrong)
        freeaddrinfo(list);
    if (!wrong && !count)
        wrong = EAI_NONAME;
    pthread_mutex_lock(&lookup->lock);
    lookup->running--;
    lookup_take(lookup, thread->number, wrong, error, addresses, count);
    lookup_unref_unlock(lookup);
    free(thread);
    return NULL;
}

/* {lock} is held. */
static void lookup_start(struct gw_lookup *lookup, int64_t now)
{
    if (lookup->running >= THREADS)
        return;
    struct lookup_thread *thread = gw_calloc(1, sizeof *thread);
    *thread = (struct lookup_thread){lookup, lookup->started + 1};
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t id;
    int wrong = pthread_create(&id, &attributes, lookup_run, thread);
    pthread_attr_destroy(&attributes);
    lookup->started_ms = now;
    if (wrong) { /* tried again like a name server that is not there */
        lookup->wrong = EAI_SYSTEM;
        lookup->error = wrong;
        lookup->failing = true;
        free(thread);
        return;
    }
    lookup->started++;
    lookup->running++;
    lookup->refs++;
}

/* {lock} is held. */
static void lookup_ask(struct gw_lookup *lookup, int64_t now)
{
    bool forgotten = now - lookup->called_ms >= FORGOTTEN_MS;
    lookup->called_ms = now;
    if (lookup->numeric || lookup->interrupted)
        return;
    if (!lookup->open && lookup->answered_ms && now - lookup->answered_ms < FRESH_MS)
        return;
    if (!lookup->open || forgotten) {
        lookup->open = true;
        lookup->failing = false;
        lookup->asked_ms = now;
        lookup->first = lookup->started + 1;
        lookup_start(lookup, now);
    } else if (now - lookup->started_ms >= HEDGE_MS) {
        lookup_start(lookup, now);
    }
}

/* --- answering -------------------------------------------------------------------------------------------------- */

/* {lock} is held. */
static void lookup_explain(const struct gw_lookup *lookup, char out[GW_LOOKUP_REASON])
{
    const char *why = lookup->wrong == EAI_SYSTEM ? strerror(lookup->error) : gai_strerror(lookup->wrong);
    if (lookup->interrupted)
        snprintf(out, GW_LOOKUP_REASON, "the lookup of '%s' was called off", lookup->host);
    else if (lookup->open && !lookup->failing)
        snprintf(out, GW_LOOKUP_REASON,
                 "the name server does not answer for '%s': check it (/etc/resolv.conf) and the network, or put an "
                 "address into %s",
                 lookup->host, lookup->key);
    else if (lookup->wrong == EAI_NONAME || lookup->wrong == EAI_NODATA || lookup->wrong == EAI_ADDRFAMILY)
        snprintf(out, GW_LOOKUP_REASON,
                 "the name '%s' is not known: check %s, and the name server (/etc/resolv.conf)", lookup->host,
                 lookup->key);
    else
        snprintf(out, GW_LOOKUP_REASON,
                 "'%s' can't be looked up (%s): check the name server (/etc/resolv.conf), or put an address into %s",
                 lookup->host, why, lookup->key);
}

/* What the log has to know, or NULL. {lock} is held. */
static char *lookup_tell(struct gw_lookup *lookup, int64_t now, const struct gw_lookup_answer *answer)
{
    struct gw_buf line = {0};
    bool early = lookup->open && !lookup->failing && now - lookup->asked_ms < HEDGE_MS; /* the caller had no time */
    if (answer->state == GW_LOOKUP_FOUND && lookup->told) {
        gw_buf_printf(&line, "'%s' can be looked up again", lookup->host);
        lookup->told = false;
    } else if (answer->state == GW_LOOKUP_REMEMBERED && !lookup->told && !early) {
        gw_buf_printf(&line, "%s. Using the address that it had before:", answer->reason);
        for (size_t i = 0; i < answer->count; i++)
            gw_buf_printf(&line, " %s", answer->addresses[i].text);
        lookup->told = true;
    } else {
        return NULL;
    }
    return gw_buf_take(&line);
}

/* {lock} is held. */
static void lookup_answer(struct gw_lookup *lookup, int64_t now, bool wait, struct gw_lookup_answer *answer)
{
    answer->open = lookup->open;
    answer->count = 0;
    answer->reason[0] = '\0';
    if (!lookup->open && !lookup->wrong && lookup->count)
        answer->state = GW_LOOKUP_FOUND;
    else if (wait && lookup->open && !lookup->failing && !lookup->interrupted &&
             now - lookup->asked_ms < GW_LOOKUP_MS)
        answer->state = GW_LOOKUP_WAITING;
    else
        answer->state = lookup->count && !lookup->interrupted ? GW_LOOKUP_REMEMBERED : GW_LOOKUP_FAILED;
    if (answer->state == GW_LOOKUP_REMEMBERED || answer->state == GW_LOOKUP_FAILED)
        lookup_explain(lookup, answer->reason);
    if (answer->state == GW_LOOKUP_WAITING || answer->state == GW_LOOKUP_FAILED)
        return;
    size_t best = 0;
    for (size_t i = 0; i < lookup->count; i++) {
        if (!strcmp(lookup->addresses[i].text, lookup->preferred))
            best = i;
    }
    answer->addresses[answer->count++] = lookup->addresses[best];
    for (size_t i = 0; i < lookup->count; i++) {
        if (i != best)
            answer->addresses[answer->count++] = lookup->addresses[i];
    }
}

/* Releases {lock}, under which nothing is written to the log. */
static void lookup_unlock_tell(struct gw_lookup *lookup, int64_t now, const struct gw_lookup_answer *answer)
{
    char *line = lookup_tell(lookup, now, answer);
    pthread_mutex_unlock(&lookup->lock);
    if (line)
        gw_log(answer->state == GW_LOOKUP_FOUND ? GW_LOG_INFO : GW_LOG_WARN, lookup->part, "%s", line);
    free(line);
}

void gw_lookup_ask(struct gw_lookup *lookup, struct gw_lookup_answer *answer)
{
    int64_t now = gw_monotonic_ms();
    pthread_mutex_lock(&lookup->lock);
    lookup_ask(lookup, now);
    lookup_answer(lookup, now, true, answer);
    lookup_unlock_tell(lookup, now, answer);
}

void gw_lookup_wait(struct gw_lookup *lookup, int64_t timeout_ms, struct gw_lookup_answer *answer)
{
    int64_t now = gw_monotonic_ms(), until = now + timeout_ms;
    pthread_mutex_lock(&lookup->lock);
    for (;; now = gw_monotonic_ms()) {
        lookup_ask(lookup, now);
        lookup_answer(lookup, now, now < until, answer);
        if (answer->state != GW_LOOKUP_WAITING)
            break;
        int64_t wait = now + HEDGE_MS / 4 < until ? now + HEDGE_MS / 4 : until;
        gw_cond_wait_until(&lookup->answered, &lookup->lock, wait);
    }
    lookup_unlock_tell(lookup, now, answer);
}

void gw_lookup_interrupt(struct gw_lookup *lookup)
{
    pthread_mutex_lock(&lookup->lock);
    lookup->interrupted = true;
    pthread_cond_broadcast(&lookup->answered);
    pthread_mutex_unlock(&lookup->lock);
}

void gw_lookup_prefer(struct gw_lookup *lookup, const struct gw_address *address)
{
    pthread_mutex_lock(&lookup->lock);
    memcpy(lookup->preferred, address->text, sizeof lookup->preferred);
    pthread_mutex_unlock(&lookup->lock);
}

/* --- the owner -------------------------------------------------------------------------------------------------- */

struct gw_lookup *gw_lookup_create(const char *part, const char *key, const char *host, void (*wake)(void *),
                                   void *context)
{
    struct gw_lookup *lookup = gw_calloc(1, sizeof *lookup);
    *lookup = (struct gw_lookup){.part = part, .key = key, .wake = wake, .context = context, .refs = 1};
    lookup->host = gw_strdup(host);
    pthread_mutex_init(&lookup->lock, NULL);
    gw_cond_init(&lookup->answered);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    struct addrinfo *list = NULL;
    if (!getaddrinfo(host, NULL, &hints, &list)) {
        lookup->count = lookup_read(lookup->addresses, list);
        lookup->numeric = lookup->count > 0;
        freeaddrinfo(list);
    }
    return lookup;
}

void gw_lookup_destroy(struct gw_lookup *lookup)
{
    if (!lookup)
        return;
    pthread_mutex_lock(&lookup->lock);
    lookup->wake = NULL;
    lookup_unref_unlock(lookup);
}
