/* recall.c: kept sessions where several gateways share an engine: whichever the client comes back to takes its
 * session from there. A place in the sequence means the same on each, and so do the identifiers of what is on its
 * way. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/hash.h"
#include "gateway/shared.h"
#include "mqttd/client.h"

#define KEY_SIZE 24
/* Of one text; a client with more subscriptions is kept here only. */
#define TEXT_BYTES (256 * 1024)

static void recall_key(const struct gw_mqttd_client *client, char key[KEY_SIZE])
{
    snprintf(key, KEY_SIZE, "m:%016" PRIx64, gw_hash(client->name, strlen(client->name)));
}

/* --- as text ---------------------------------------------------------------------------------------------------- */

/* The name comes first, since keys are hashes. Texts have their length before them. */
static void kept_write(const char *name, const struct gw_mqttd_kept *kept, struct gw_buf *out)
{
    gw_buf_printf(out, "1 %zu:%s %" PRIu64 " %s %u %u %u ", strlen(name), name, kept->place, kept->cursor,
                  (unsigned)kept->last_id, kept->sub_count, kept->inflight_count);
    for (uint32_t i = 0; i < kept->sub_count; i++) {
        const struct gw_mqttd_sub *sub = &kept->subs[i];
        gw_buf_printf(out, "%" PRIu64 " %" PRIu64 " %u %u %d %d %" PRId64 " %zu:", sub->from, sub->fresh_to, sub->id,
                      (unsigned)sub->qos, sub->as_published + 2 * sub->no_local, sub->cursors, sub->since_ms,
                      sub->len);
        gw_buf_add(out, sub->filter, sub->len);
        gw_buf_addc(out, ' ');
    }
    for (uint32_t i = 0; i < kept->inflight_count; i++)
        gw_buf_printf(out, "%" PRIu64 ":%u ", kept->inflight[i].seq, (unsigned)kept->inflight[i].id);
    gw_mqttd_ids_write(kept->ids, out);
}

static bool kept_read_sub(const char **at, const char *end, struct gw_mqttd_sub *sub)
{
    unsigned qos;
    int as_published, cursors, skip = 0;
    struct gw_slice text;
    if (sscanf(*at, "%" SCNu64 " %" SCNu64 " %u %u %d %d %" SCNd64 " %n", &sub->from, &sub->fresh_to, &sub->id, &qos,
               &as_published, &cursors, &sub->since_ms, &skip) != 7)
        return false;
    *at += skip;
    if (!gw_shared_text(at, end, &text))
        return false;
    sub->filter = gw_strndup(text.data, text.len);
    sub->len = text.len;
    sub->qos = qos ? 1 : 0;
    sub->as_published = as_published & 1;
    sub->no_local = as_published & 2;
    sub->cursors = cursors;
    return true;
}

/* NULL: it is another client's, or not of this form. */
static struct gw_mqttd_kept *kept_read(const char *name, const char *text, size_t len)
{
    const char *at = text + 2, *end = text + len;
    struct gw_slice whose;
    unsigned last_id, subs, inflight, id;
    int skip = 0;
    if (len < 2 || memcmp(text, "1 ", 2) != 0 || !gw_shared_text(&at, end, &whose) || whose.len != strlen(name) ||
        memcmp(whose.data, name, whose.len) != 0)
        return NULL;
    struct gw_mqttd_kept *kept = gw_calloc(1, sizeof *kept);
    bool good = sscanf(at, "%" SCNu64 " %63s %u %u %u %n", &kept->place, kept->cursor, &last_id, &subs, &inflight,
                       &skip) == 5 &&
                subs <= len && inflight <= UINT16_MAX;
    at += skip;
    if (good) {
        kept->last_id = (uint16_t)last_id;
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
    if (good && *at == '.')
        return kept;
    gw_mqttd_kept_free(kept);
    return NULL;
}

/* --- to the engine and back ------------------------------------------------------------------------------------- */

void gw_mqttd_share(const struct gw_mqttd_client *client, const struct gw_mqttd_kept *kept)
{
    char key[KEY_SIZE];
    struct gw_buf text;
    if (!gw_hub_shares(client->session.hub))
        return;
    recall_key(client, key);
    gw_buf_init(&text);
    kept_write(client->name, kept, &text);
    if (text.len <= TEXT_BYTES)
        gw_shared_put(client->session.hub, key, text.data, text.len, client->expiry_ms, NULL, NULL);
    gw_buf_fini(&text);
}

/* A question on its way, which outlives the client that made it come. */
struct gw_mqttd_recall {
    struct gw_mqttd_client *client; /* NULL: it has gone */
    struct gw_hub *hub;
    gw_mqttd_recalled done;
    int64_t expiry_ms;
    char key[KEY_SIZE];
};

static void recall_answered(void *context, enum gw_err err, const char *text, size_t len)
{
    struct gw_mqttd_recall *recall = context;
    struct gw_mqttd_client *client = recall->client;
    if (client) {
        client->recall = NULL;
        struct gw_mqttd_kept *kept = err == GW_OK ? kept_read(client->name, text, len) : NULL;
        if (kept)
            kept->until_ms = INT64_MAX; /* the engine has seen to that */
        recall->done(client, kept, err);
    } else if (err == GW_OK) {
        gw_shared_put(recall->hub, recall->key, text, len, recall->expiry_ms, NULL, NULL);
    }
    free(recall);
}

void gw_mqttd_recall(struct gw_mqttd_client *client, gw_mqttd_recalled done)
{
    struct gw_mqttd_recall *recall = gw_calloc(1, sizeof *recall);
    *recall = (struct gw_mqttd_recall){
        .client = client, .hub = client->session.hub, .done = done, .expiry_ms = client->expiry_ms};
    recall_key(client, recall->key);
    client->recall = recall;
    gw_shared_take(recall->hub, recall->key, recall_answered, recall);
}

void gw_mqttd_recall_none(const struct gw_mqttd_client *client)
{
    char key[KEY_SIZE];
    recall_key(client, key);
    gw_shared_take(client->session.hub, key, NULL, NULL);
}

void gw_mqttd_recall_forget(struct gw_mqttd_recall *recall)
{
    if (recall)
        recall->client = NULL;
}
