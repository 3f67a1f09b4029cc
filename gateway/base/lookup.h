/* lookup.h: the addresses of a host, without waiting for a name server longer than the caller wants.
 *
 * getaddrinfo(3) takes as long as it likes and can't be called off, so it runs on threads of its own. One that hangs
 * ends by itself; meanwhile others ask anew, since a fresh socket is often answered at once. While there is no answer
 * the addresses that the name had before are used. An address in figures needs no thread.
 *
 * Thread: any, but for gw_lookup_create() and gw_lookup_destroy(). */
#ifndef GW_BASE_LOOKUP_H
#define GW_BASE_LOOKUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* How long a name server is waited for before it counts as silent. Its unit test has less time. */
#ifndef GW_LOOKUP_MS
#define GW_LOOKUP_MS 3000
#endif
#define GW_LOOKUP_ADDRESSES 16  /* of one name; more are left out */
#define GW_LOOKUP_REASON    512 /* bytes */

struct gw_lookup;

struct gw_address {
    struct sockaddr_storage socket; /* with port 0 */
    socklen_t len;
    char text[64]; /* in figures, with the zone of an IPv6 address */
};

enum gw_lookup_state {
    GW_LOOKUP_WAITING,    /* no answer yet */
    GW_LOOKUP_FOUND,      /* what the name server says */
    GW_LOOKUP_REMEMBERED, /* there is no answer, or it is a refusal: what it said before */
    GW_LOOKUP_FAILED      /* the same, and nothing is remembered */
};

struct gw_lookup_answer {
    enum gw_lookup_state state;
    bool open; /* an answer may still come */
    size_t count;
    struct gw_address addresses[GW_LOOKUP_ADDRESSES]; /* the one that worked first, the others as getaddrinfo sorts */
    char reason[GW_LOOKUP_REASON]; /* if it is not FOUND: why, in words, and what to do; otherwise "" */
};

/* `part` of the log (static), and the `key` of the configuration that has the name (static). `wake`: called whenever
 * an answer has come, on a thread of the lookup's, with its lock held: it may only wake. NULL: nobody waits for it.
 */
struct gw_lookup *gw_lookup_create(const char *part, const char *key, const char *host, void (*wake)(void *),
                                   void *context);
/* Lookups that hang end by themselves later; `wake` is not called any more. NULL is allowed. */
void gw_lookup_destroy(struct gw_lookup *lookup);

/* What is known now; asks the name server, unless it was asked just now. Never blocks. To be called every half second
 * while an answer is wanted and `open`. */
void gw_lookup_ask(struct gw_lookup *lookup, struct gw_lookup_answer *answer);
/* The same, and waits for it; never returns GW_LOOKUP_WAITING. */
void gw_lookup_wait(struct gw_lookup *lookup, int64_t timeout_ms, struct gw_lookup_answer *answer);
/* Every gw_lookup_wait() comes back at once from now on. */
void gw_lookup_interrupt(struct gw_lookup *lookup);

/* This address took a connection: it comes first from now on, as long as the name has it. */
void gw_lookup_prefer(struct gw_lookup *lookup, const struct gw_address *address);

#endif
