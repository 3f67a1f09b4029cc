/* grants.c: who a client is, and what it may do. */
#include <stdlib.h>
#include <string.h>

#include "auth/projection.h"
#include "gateway/alloc.h"
#include "gateway/identity.h"
#include "gateway/topic.h"

struct grant {
    char *filter;
    size_t len;
    struct gw_projection *projection; /* NULL: all fields */
};

struct gw_grants {
    atomic_uint refs;
    struct {
        struct grant *items;
        size_t count;
    } rights[GW_RIGHTS];
};

struct gw_grants *gw_grants_create(void)
{
    struct gw_grants *grants = gw_calloc(1, sizeof *grants);
    atomic_init(&grants->refs, 1);
    return grants;
}

void gw_grants_add(struct gw_grants *grants, enum gw_right right, const char *filter, size_t len,
                   struct gw_projection *projection)
{
    size_t count = grants->rights[right].count;
    struct grant *items = gw_reallocarray(grants->rights[right].items, count + 1, sizeof *items);
    items[count] = (struct grant){gw_strndup(filter, len), len, gw_projection_ref(projection)};
    grants->rights[right].items = items;
    grants->rights[right].count = count + 1;
}

struct gw_grants *gw_grants_ref(struct gw_grants *grants)
{
    if (grants)
        atomic_fetch_add_explicit(&grants->refs, 1, memory_order_relaxed);
    return grants;
}

void gw_grants_unref(struct gw_grants *grants)
{
    if (!grants || atomic_fetch_sub_explicit(&grants->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t right = 0; right < GW_RIGHTS; right++) {
        for (size_t i = 0; i < grants->rights[right].count; i++) {
            free(grants->rights[right].items[i].filter);
            gw_projection_unref(grants->rights[right].items[i].projection);
        }
        free(grants->rights[right].items);
    }
    free(grants);
}

bool gw_grants_contain(const struct gw_grants *grants, enum gw_right right, const char *filter, size_t len)
{
    for (size_t i = 0; grants && i < grants->rights[right].count; i++) {
        const struct grant *grant = &grants->rights[right].items[i];
        if (gw_topic_filter_covers(grant->filter, grant->len, filter, len))
            return true;
    }
    return !grants;
}

bool gw_grants_allow(const struct gw_grants *grants, enum gw_right right, const char *channel, size_t len,
                     struct gw_projection **projection)
{
    bool allowed = !grants;
    *projection = NULL;
    for (size_t i = 0; grants && i < grants->rights[right].count; i++) {
        const struct grant *grant = &grants->rights[right].items[i];
        if (!gw_topic_matches(grant->filter, grant->len, channel, len))
            continue;
        if (!grant->projection) {
            *projection = NULL;
            return true;
        }
        if (!allowed)
            *projection = grant->projection;
        allowed = true;
    }
    return allowed;
}

bool gw_grants_whole(const struct gw_grants *grants, const char *channel, size_t len)
{
    struct gw_projection *projection;
    return gw_grants_allow(grants, GW_RIGHT_SUBSCRIBE, channel, len, &projection) && !projection;
}

bool gw_grants_shows(const struct gw_grants *grants, const char *channel, size_t len, const char *pointer)
{
    struct gw_projection *projection;
    return gw_grants_allow(grants, GW_RIGHT_SUBSCRIBE, channel, len, &projection) &&
           (!projection || gw_projection_shows(projection, pointer));
}

void gw_grants_list(const struct gw_grants *grants, gw_grants_visit visit, void *context)
{
    for (enum gw_right right = 0; right < GW_RIGHTS; right++) {
        for (size_t i = 0; i < grants->rights[right].count; i++)
            visit(context, right, grants->rights[right].items[i].filter,
                  grants->rights[right].items[i].projection != NULL);
    }
}

/* --- identities ------------------------------------------------------------------------------------------------- */

struct gw_identity *gw_identity_create(enum gw_identity_kind kind, const char *name, const char *proof,
                                       int64_t expires_ms, struct gw_grants *grants)
{
    struct gw_identity *identity = gw_calloc(1, sizeof *identity);
    atomic_init(&identity->refs, 1);
    identity->kind = kind;
    identity->name = gw_strdup(name);
    identity->proof = proof ? gw_strdup(proof) : NULL;
    identity->expires_ms = expires_ms;
    identity->grants = gw_grants_ref(grants);
    return identity;
}

struct gw_identity *gw_identity_ref(struct gw_identity *identity)
{
    if (identity)
        atomic_fetch_add_explicit(&identity->refs, 1, memory_order_relaxed);
    return identity;
}

void gw_identity_unref(struct gw_identity *identity)
{
    if (!identity || atomic_fetch_sub_explicit(&identity->refs, 1, memory_order_acq_rel) != 1)
        return;
    free(identity->name);
    free(identity->proof);
    gw_grants_unref(identity->grants);
    free(identity);
}
