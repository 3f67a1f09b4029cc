/* recall.c: kept sessions where several gateways share an engine: whichever the client comes back to takes its
 * session from there. A place in the sequence means the same on each, and so do the identifiers of what is on its
 * way. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/encode.h"
#include "gateway/alloc.h"
#include "gateway/engine.h"
#include "gateway/random.h"
#include "gateway/shared.h"
#include "mqttd/client.h"

#define KEY_SIZE (2 + 64 + 1)
/* Of one text; a client with more subscriptions is kept here only. */
#define TEXT_BYTES (256 * 1024)
#define NO_ORIGIN  "-"
/* Of a client that will leave no session; it only keeps off what an older connection leaves late. */
#define CLEAN_MS (3600 * 1000)

static pthread_once_t process_once = PTHREAD_ONCE_INIT;
static uint64_t process; /* random: this one among all gateways */

static void process_make(void)
{
    gw_random(&process, sizeof process);
}

/* No text of a session: those begin with a 1. */
static void recall_claim(const struct gw_mqttd_client *client, char claim[GW_ENGINE_CLAIM_MAX + 1])
{
    pthread_once(&process_once, process_make);
    snprintf(claim, GW_ENGINE_CLAIM_MAX + 1, "2 %016" PRIx64 ":%" PRIx64, process, client->serial);
}

/* A hash that nobody finds a second name for: that one would take the session of the first away. */
static void recall_key(const struct gw_mqttd_client *client, char key[KEY_SIZE])
{
    uint8_t digest[GW_SHA256_SIZE];
    gw_sha256(client->name, strlen(client->name), digest);
    memcpy(key, "m:", 2);
    gw_hex_32(digest, key + 2);
}

/* --- as text ---------------------------------------------------------------------------------------------------- */

/* The name comes first, and is compared. */
static void kept_write(const char *name, const struct gw_mqttd_kept *kept, struct gw_buf *out)
{
    gw_buf_adds(out, "1 ");
    gw_shared_add_text(out, name, strlen(name));
    gw_buf_printf(out, "%" PRIu64 " %s %s %u %u %u %d ", kept->place, kept->cursor,
                  *kept->origin ? kept->origin : NO_ORIGIN, (unsigned)kept->last_id, kept->sub_count,
                  kept->inflight_count, kept->windows_waited);
    for (uint32_t i = 0; i < kept->sub_count; i++) {
        const struct gw_mqttd_sub *sub = &kept->subs[i];
        gw_buf_printf(out, "%" PRIu64 " %" PRIu64 " %" PRId64 " %u %u %d %d %d ", sub->from, sub->fresh_to,
                      sub->since_ms, sub->id, (unsigned)sub->qos, sub->as_published, sub->no_local, sub->cursors);
        gw_shared_add_text(out, sub->filter, sub->len);
        gw_shared_add_text(out, sub->aggregate ? sub->aggregate : "", sub->aggregate ? strlen(sub->aggregate) : 0);
    }
    for (uint32_t i = 0; i < kept->inflight_count; i++)
        gw_buf_printf(out, "%" PRIu64 ":%u ", kept->inflight[i].seq, (unsigned)kept->inflight[i].id);
    gw_mqttd_ids_write(kept->ids, out);
    gw_mqttd_gaps_write(kept, out);
}

static bool kept_read_sub(const char **at, const char *end, struct gw_mqttd_sub *sub)
{
    unsigned qos;
    int as_published, no_local, cursors, skip = 0;
    struct gw_slice text, aggregate;
    if (sscanf(*at, "%" SCNu64 " %" SCNu64 " %" SCNd64 " %u %u %d %d %d %n", &sub->from, &sub->fresh_to,
               &sub->since_ms, &sub->id, &qos, &as_published, &no_local, &cursors, &skip) != 8)
        return false;
    *at += skip;
    if (!gw_shared_text(at, end, &text) || !gw_shared_text(at, end, &aggregate))
        return false;
    sub->filter = gw_strndup(text.data, text.len);
    sub->len = text.len;
    sub->qos = qos ? 1 : 0;
    sub->as_published = as_published;
    sub->no_local = no_local;
    sub->cursors = cursors;
    gw_mqttd_sub_aggregate(sub, aggregate);
    return true;
}

/* NULL: it is another client's, or not of this form. */
static struct gw_mqttd_kept *kept_read(const char *name, const char *text, size_t len)
{
    const char *at = text + 2, *end = text + len;
    struct gw_slice whose;
    unsigned last_id, subs, inflight, id;
    int skip = 0, waited = 0;
    if (len < 2 || memcmp(text, "1 ", 2) != 0 || !gw_shared_text(&at, end, &whose) || whose.len != strlen(name) ||
        memcmp(whose.data, name, whose.len) != 0)
        return NULL;
    struct gw_mqttd_kept *kept = gw_calloc(1, sizeof *kept);
    char origin[GW_ORIGIN_SIZE + 1];
    _Static_assert(sizeof origin == 17, "the field below");
    bool good = sscanf(at, "%" SCNu64 " %63s %16s %u %u %u %d %n", &kept->place, kept->cursor, origin, &last_id,
                       &subs, &inflight, &waited, &skip) == 7 &&
                subs <= len && inflight <= UINT16_MAX;
    at += skip;
    if (good) {
        kept->last_id = (uint16_t)last_id;
        kept->windows_waited = waited;
        if (strcmp(origin, NO_ORIGIN) != 0)
            memcpy(kept->origin, origin, sizeof origin);
        kept->subs = gw_calloc(subs + 1, sizeof *kept->subs);
        kept->inflight = gw_calloc(inflight + 1, sizeof *kept->inflight);
    }
    for (; good && kept->sub_count < subs; kept->sub_count += good)
        good = kept_read_sub(&at, end, &kept->subs[kept->sub_count]);
    for (; good && kept->inflight_count < inflight; kept->inflight_count++) {
        struct gw_mqttd_inflight *one = &kept->inflight[kept->inflight_count];
        good = sscanf(at, "%" SCNu64 ":%u %n", &one->seq, &id, &skip) == 2;
        one->id = (uint16_t)id;
        at += skip;
    }
    if (good)
        kept->ids = gw_mqttd_ids_read(&at);
    if (good && *at == '.') {
        gw_mqttd_gaps_read(at + 1, end, kept);
        return kept;
    }
    gw_mqttd_kept_free(kept);
    return NULL;
}

/* --- to the engine and back ------------------------------------------------------------------------------------- */

static void recall_put(const struct gw_mqttd_client *client, const char *text, size_t len)
{
    char key[KEY_SIZE], claim[GW_ENGINE_CLAIM_MAX + 1];
    recall_key(client, key);
    recall_claim(client, claim);
    gw_shared_put_claimed(client->session.hub, key, claim, text, len, client->expiry_ms);
}

void gw_mqttd_share(const struct gw_mqttd_client *client, const struct gw_mqttd_kept *kept)
{
    struct gw_buf text;
    if (!gw_hub_shares(client->session.hub))
        return;
    gw_buf_init(&text);
    kept_write(client->name, kept, &text);
    if (text.len <= TEXT_BYTES)
        recall_put(client, text.data, text.len);
    gw_buf_fini(&text);
}

static void recall_answered(void *context, enum gw_err err, const char *text, size_t len)
{
    struct gw_mqttd_client *client = context;
    client->recall = NULL;
    if (client->ended) { /* its connection goes: whoever it comes back to asks again */
        if (err == GW_OK && client->expiry_ms > 0)
            recall_put(client, text, len);
        return;
    }
    struct gw_mqttd_kept *kept = err == GW_OK ? kept_read(client->name, text, len) : NULL;
    if (kept)
        kept->until_ms = INT64_MAX; /* the engine has seen to that */
    client->recalled(client, kept, err);
}

void gw_mqttd_recall(struct gw_mqttd_client *client, gw_mqttd_recalled done)
{
    char key[KEY_SIZE], claim[GW_ENGINE_CLAIM_MAX + 1];
    recall_key(client, key);
    recall_claim(client, claim);
    client->recalled = done;
    client->recall = gw_shared_claim(client->session.hub, key, claim,
                                     client->expiry_ms > 0 ? GW_SHARED_LIVING_MS : CLEAN_MS, recall_answered, client);
}

void gw_mqttd_recall_forget(struct gw_mqttd_client *client)
{
    gw_shared_return(client->recall, client->expiry_ms);
    client->recall = NULL;
}
