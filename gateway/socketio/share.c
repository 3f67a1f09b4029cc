/* share.c: sessions that may be recovered, where several gateways share an engine: it keeps what recall.c remembers,
 * so that whichever gateway the client comes back to can ask for it. Noted with every change, not only at the end: a
 * gateway that is killed has no time to tell. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/shared.h"
#include "socketio/engine.h"
#include "socketio/form.h"
#include "socketio/recall.h"

/* Of one session; one that subscribes to more is recovered at its gateway only. */
#define TEXT_BYTES (64 * 1024)

void gw_sio_share_key(const char *pid, char key[SIO_SHARE_KEY_SIZE])
{
    snprintf(key, SIO_SHARE_KEY_SIZE, "s:%s", pid);
}

static void share_claim(struct gw_buf *out, const char *space, const struct gw_identity *identity)
{
    const char *name = identity ? identity->name : "";
    gw_buf_printf(out, "1 %d ", identity ? (int)identity->kind : -1);
    gw_shared_add_text(out, name, strlen(name));
    gw_shared_add_text(out, space, strlen(space));
}

void gw_sio_share(struct sio *sio, int64_t keep_ms)
{
    char key[SIO_SHARE_KEY_SIZE];
    struct gw_hub *hub = sio->session.hub;
    struct gw_buf text = {0};
    if (!sio->owner || !gw_hub_shares(hub))
        return;
    gw_sio_share_key(gw_sio_owner_pid(sio->owner), key);
    share_claim(&text, gw_sio_shape_space(sio->shape), sio->session.identity);
    for (const struct sio_filter *filter = sio->filters; filter; filter = filter->next) {
        gw_buf_printf(&text, "%" PRId64 " %" PRIu64 " %" PRIu32 " %d ", filter->interval_ms, filter->fresh_to,
                      filter->generation, filter->first);
        gw_shared_add_text(&text, filter->text, filter->size - 1);
    }
    if (text.len <= TEXT_BYTES)
        gw_shared_put(hub, key, text.data, text.len, keep_ms ? keep_ms : GW_SHARED_LIVING_MS, NULL, NULL);
    gw_buf_fini(&text);
}

void gw_sio_unshare(struct sio *sio)
{
    char key[SIO_SHARE_KEY_SIZE];
    if (!sio->owner || !gw_hub_shares(sio->session.hub))
        return;
    gw_sio_share_key(gw_sio_owner_pid(sio->owner), key);
    gw_shared_take(sio->session.hub, key, NULL, NULL);
}

/* All three texts of a filter; NULL: it is not of this form. */
static struct sio_filter *share_filter(const struct sio_filter *read, struct gw_slice texts)
{
    struct sio_filter *filter = gw_calloc(1, sizeof *filter + texts.len + 1);
    *filter = *read;
    filter->size = (uint32_t)texts.len + 1;
    memcpy(filter->text, texts.data, texts.len);
    unsigned ends = 0;
    for (size_t i = 0; i < texts.len; i++)
        ends += !texts.data[i];
    if (ends == 2)
        return filter;
    free(filter);
    return NULL;
}

bool gw_sio_shared_read(const char *text, size_t len, const char *space, const struct gw_identity *identity,
                        struct sio_filter **filters)
{
    struct gw_buf claim = {0};
    *filters = NULL;
    share_claim(&claim, space, identity);
    bool good = len >= claim.len && !memcmp(text, claim.data, claim.len);
    const char *at = text + claim.len, *end = text + len;
    gw_buf_fini(&claim);
    struct sio_filter **last = filters;
    while (good && at < end) {
        struct sio_filter read = {.next = NULL};
        struct gw_slice name;
        int skip = 0, first = 0;
        good = sscanf(at, "%" SCNd64 " %" SCNu64 " %" SCNu32 " %d %n", &read.interval_ms, &read.fresh_to,
                      &read.generation, &first, &skip) == 4;
        read.first = first;
        at += skip;
        if (!good || !gw_shared_text(&at, end, &name))
            break;
        struct sio_filter *filter = share_filter(&read, name);
        if (!filter) {
            good = false;
            break;
        }
        *last = filter;
        last = &filter->next;
    }
    if (good && at >= end)
        return true;
    gw_sio_filters_free(*filters);
    *filters = NULL;
    return false;
}
