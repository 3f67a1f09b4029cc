/* identity.h: who a session is and what it may do.
 *
 * Grants are filters of channels for each right. A subscription is allowed if one filter contains it whole, and every
 * channel is asked about again when something is delivered (auth/grants.c). A gateway without `auth:` has neither
 * identities nor grants: NULL grants allow everything.
 *
 * Everything here is immutable once built and counted by references. Thread: any. */
#ifndef GATEWAY_IDENTITY_H
#define GATEWAY_IDENTITY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/config.h"

enum gw_right { GW_RIGHT_SUBSCRIBE, GW_RIGHT_PUBLISH, GW_RIGHT_HISTORY, GW_RIGHTS };

/* The members of JSON objects that a client may see. One for each role, shared by all who have it, so that a message
 * is projected once for each (auth/projection.c). */
struct gw_projection;
/* NULL if `fields` is empty: everything is seen. Copies the names. */
struct gw_projection *gw_projection_create(const struct gw_strings *fields);
struct gw_projection *gw_projection_ref(struct gw_projection *projection); /* NULL is fine */
void gw_projection_unref(struct gw_projection *projection);                /* NULL is fine */

struct gw_grants;
/* Grants nothing yet. Sessions with the same pointer share the work of checking, so the builder of grants gives equal
 * ones the same object. */
struct gw_grants *gw_grants_create(void);
/* Before it is shared. The filter is valid and copied; projection NULL: all fields. */
void gw_grants_add(struct gw_grants *grants, enum gw_right right, const char *filter, size_t len,
                   struct gw_projection *projection);
struct gw_grants *gw_grants_ref(struct gw_grants *grants); /* NULL is fine */
void gw_grants_unref(struct gw_grants *grants);            /* NULL is fine */

/* Is the name or filter contained in one that was granted? grants NULL: yes. */
bool gw_grants_contain(const struct gw_grants *grants, enum gw_right right, const char *filter, size_t len);
/* The same for a channel's name; *projection (borrowed, may be NULL) gets what applies: none if one matching grant is
 * without, else that of the first. */
bool gw_grants_allow(const struct gw_grants *grants, enum gw_right right, const char *channel, size_t len,
                     struct gw_projection **projection);
/* Does a client see the whole of what is on this channel, and so its payloads? */
bool gw_grants_whole(const struct gw_grants *grants, const char *channel, size_t len);
/* Does a client that may read the channel see what the JSON pointer leads to? Where only some members are seen, a
 * pointer that leads through an array does not count as seen, since what it leads to may be a member's name. */
bool gw_grants_shows(const struct gw_grants *grants, const char *channel, size_t len, const char *pointer);
/* For explain: visits them in the order in which they were added. */
typedef void (*gw_grants_visit)(void *context, enum gw_right right, const char *filter, bool projected);
void gw_grants_list(const struct gw_grants *grants, gw_grants_visit visit, void *context);

enum gw_identity_kind { GW_ANONYMOUS, GW_API_KEY, GW_TOKEN };

struct gw_identity {
    atomic_uint refs;
    enum gw_identity_kind kind;
    char *name; /* subject of the token, name of the key, or "anonymous"; for the log */
    char *
        proof; /* what a reload builds the grants from again: claims as JSON text, or the key's hash; NULL: nothing */
    int64_t expires_ms;       /* wall clock, ms since 1970, leeway included; INT64_MAX: never */
    struct gw_grants *grants; /* never NULL */
};

/* Copies name and proof, takes its own reference to grants. The caller has the first reference. */
struct gw_identity *gw_identity_create(enum gw_identity_kind kind, const char *name, const char *proof,
                                       int64_t expires_ms, struct gw_grants *grants);
struct gw_identity *gw_identity_ref(struct gw_identity *identity); /* NULL is fine */
void gw_identity_unref(struct gw_identity *identity);              /* NULL is fine */

#endif
