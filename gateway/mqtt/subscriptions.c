#include "mqtt/subscriptions.h"

#include <mqtt_protocol.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/clock.h"
#include "gateway/log.h"
#include "gateway/random.h"
#include "mqtt/granted.h"
#include "mqtt/reason.h"

/* After this many closed connections in a row a filter is left out for LEFT_OUT_MS. */
#define BREAKS      2
#define LEFT_OUT_MS 600000
/* How many bytes of filters one line of the log names. */
#define NAMES_MAX 400
/* How long after a refusal the filter is asked for again on the same connection. */
#define AGAIN_MS 600000

static void subs_free(struct gw_sub_entry *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(items[i].filter);
    free(items);
}

void gw_subscriptions_fini(struct gw_subscriptions *subs)
{
    subs_free(subs->items, subs->count);
    *subs = (struct gw_subscriptions){0};
}

int gw_sub_qos(const struct gw_sub_entry *entry)
{
    return entry->qos < GW_SUBSCRIPTION_QOS_MAX ? entry->qos : GW_SUBSCRIPTION_QOS_MAX;
}

bool gw_sub_is_granted(const struct gw_sub_entry *entry)
{
    return entry->answer >= 0 && entry->answer < MQTT_RC_UNSPECIFIED;
}

bool gw_sub_is_refused(const struct gw_sub_entry *entry)
{
    return entry->answer >= MQTT_RC_UNSPECIFIED;
}

static void subs_answer(struct gw_subscriptions *subs, struct gw_sub_entry *entry, int answer)
{
    entry->answer = answer;
    subs->changed = true;
    if (gw_sub_is_refused(entry))
        subs->again_ms = gw_monotonic_ms() + AGAIN_MS;
}

enum subs_step {
    STEP_ONLY,  /* the one SUBSCRIBE, with the stored messages */
    STEP_FETCH, /* the first of two: the stored messages at QoS 0, for which brokers have no bound */
    STEP_KEPT,  /* the same at the QoS that is wanted, where the broker goes on with a session */
    STEP_NEW,   /* ... but only if the session has no such subscription yet */
    STEP_STAY,  /* the second: the QoS that is wanted, without the stored messages where MQTT 5 is spoken */
};

/* A filter has two identifiers, so that what comes tells which SUBSCRIBE it came by: an even one for stored messages,
 * an odd one to stay (1 to 268,435,455, MQTT 5.0 section 3.8.2.1.2). */
static uint32_t subs_id(int id, enum subs_step step)
{
    return (uint32_t)id * 2 + (step == STEP_STAY);
}

/* A kept session may still have messages with the identifiers of another process: the last one, or another gateway of
 * the cluster, started at the same time. They must not mean other filters here. */
static int subs_first_id(void)
{
    uint32_t random;
    gw_random(&random, sizeof random);
    return (int)(random % (1 << 26)) + 1;
}

/* Returns a MOSQ_ERR_... code. */
static int subs_send(struct mosquitto *mosq, const struct gw_abilities *broker, const char *filter, int id, int qos,
                     enum subs_step step, int *mid)
{
    /* MQTT 3.1.1 has the stored messages sent again: those that repeat the last value are no news. */
    if (!broker->v5)
        return mosquitto_subscribe(mosq, mid, filter, qos);
    mosquitto_property *properties = NULL;
    /* With retain-as-published the flag says of live messages that the broker stores them, beside "a stored value" of
     * stored ones; the identifier tells which. In both SUBSCRIBEs, since mosquitto (2.0.11) takes no other options
     * from the second one of a filter. */
    int options = step == STEP_STAY  ? MQTT_SUB_OPT_SEND_RETAIN_NEVER
                  : step == STEP_NEW ? MQTT_SUB_OPT_SEND_RETAIN_NEW
                                     : 0;
    if (broker->ids)
        options |= MQTT_SUB_OPT_RETAIN_AS_PUBLISHED;
    if (broker->ids)
        mosquitto_property_add_varint(&properties, MQTT_PROP_SUBSCRIPTION_IDENTIFIER, subs_id(id, step));
    int rc = mosquitto_subscribe_v5(mosq, mid, filter, qos, options, properties);
    mosquitto_property_free_all(&properties);
    return rc;
}

static void subs_subscribe(struct gw_subscriptions *subs, struct gw_sub_entry *entry, struct mosquitto *mosq,
                           const struct gw_abilities *broker, enum subs_step step)
{
    if (!entry->id)
        entry->id = ++subs->next_id;
    entry->fetching = step == STEP_FETCH || step == STEP_KEPT || step == STEP_NEW;
    int qos = step == STEP_FETCH ? 0 : gw_sub_qos(entry);
    int rc = subs_send(mosq, broker, entry->filter, entry->id, qos, step, &entry->mid);
    if (rc != MOSQ_ERR_SUCCESS) {
        gw_log(GW_LOG_ERROR, "mqtt", "can't subscribe to '%s': %s", entry->filter, mosquitto_strerror(rc));
        entry->mid = 0;
        entry->fetching = false;
        subs_answer(subs, entry, GW_SUB_FAILED);
        return;
    }
    entry->sent = ++subs->sent;
    subs->unanswered++;
}

/* A filter that the broker does not have yet, or in a session that it goes on with. */
static void subs_begin(struct gw_subscriptions *subs, struct gw_sub_entry *entry, struct mosquitto *mosq,
                       const struct gw_abilities *broker, bool kept)
{
    bool flags = broker->retain && broker->v5 && broker->ids; /* the second one tells what the broker stores */
    enum subs_step step = STEP_ONLY;
    if (flags)
        step = !kept ? STEP_FETCH : subs->shared ? STEP_NEW : STEP_KEPT;
    else if (!kept && broker->retain && gw_sub_qos(entry) > 0)
        step = STEP_FETCH;
    subs_subscribe(subs, entry, mosq, broker, step);
}

int gw_subscriptions_try(struct gw_subscriptions *subs, struct mosquitto *mosq, const struct gw_abilities *broker,
                         const char *filter)
{
    int mid = 0;
    int rc = subs_send(mosq, broker, filter, ++subs->next_id, 0, STEP_FETCH, &mid);
    return rc == MOSQ_ERR_SUCCESS ? mid : 0;
}

static struct gw_sub_entry *subs_of_filter(const struct gw_subscriptions *subs, const char *filter)
{
    for (size_t i = 0; i < subs->count; i++) {
        if (!strcmp(subs->items[i].filter, filter))
            return &subs->items[i];
    }
    return NULL;
}

bool gw_subscriptions_has(const struct gw_subscriptions *subs, const char *filter)
{
    return subs_of_filter(subs, filter) != NULL;
}

bool gw_subscriptions_again(struct gw_subscriptions *subs, struct mosquitto *mosq, const struct gw_abilities *broker,
                            const char *filter, bool kept)
{
    struct gw_sub_entry *entry = subs_of_filter(subs, filter);
    if (entry && !entry->mid)
        subs_begin(subs, entry, mosq, broker, kept);
    return entry != NULL;
}

static void subs_unsubscribe(const struct gw_sub_entry *entry, struct mosquitto *mosq, bool v5)
{
    int rc = v5 ? mosquitto_unsubscribe_v5(mosq, NULL, entry->filter, NULL)
                : mosquitto_unsubscribe(mosq, NULL, entry->filter);
    if (rc != MOSQ_ERR_SUCCESS)
        gw_log(GW_LOG_WARN, "mqtt", "can't unsubscribe from '%s': %s", entry->filter, mosquitto_strerror(rc));
}

static int subs_compare(const void *a, const void *b)
{
    return strcmp((*(const struct gw_sub_entry *const *)a)->filter, (*(const struct gw_sub_entry *const *)b)->filter);
}

/* Pointers to the entries in the order of their filters. */
static struct gw_sub_entry **subs_sorted(struct gw_sub_entry *items, size_t count)
{
    struct gw_sub_entry **sorted = gw_calloc(count, sizeof *sorted);
    for (size_t i = 0; i < count; i++)
        sorted[i] = &items[i];
    if (count)
        qsort(sorted, count, sizeof *sorted, subs_compare);
    return sorted;
}

static struct gw_sub_entry *subs_find(struct gw_sub_entry **sorted, size_t count, struct gw_sub_entry *like)
{
    struct gw_sub_entry **found = count ? bsearch(&like, sorted, count, sizeof *sorted, subs_compare) : NULL;
    return found ? *found : NULL;
}

void gw_subscriptions_change(struct gw_subscriptions *subs, const struct gw_routes *routes, struct mosquitto *mosq,
                             const struct gw_abilities *broker)
{
    const struct gw_subscription *wanted;
    if (!subs->next_id)
        subs->next_id = subs_first_id();
    struct gw_sub_entry *old = subs->items;
    size_t old_count = subs->count;
    struct gw_sub_entry **old_sorted = subs_sorted(old, old_count);
    subs->count = gw_routes_subscriptions(routes, &wanted);
    subs->items = gw_calloc(subs->count, sizeof *subs->items);
    for (size_t i = 0; i < subs->count; i++) {
        struct gw_sub_entry *entry = &subs->items[i];
        entry->filter = gw_strdup(wanted[i].filter);
        entry->qos = wanted[i].qos;
        entry->answer = entry->told = GW_SUB_NONE;
        const struct gw_sub_entry *same = subs_find(old_sorted, old_count, entry);
        if (same)
            entry->told = same->told;
        if (same && same->qos == entry->qos && !same->left_out_till && !gw_sub_is_refused(same)) {
            entry->id = same->id;
            entry->mid = same->mid;
            entry->fetching = same->fetching;
            entry->sent = same->sent;
            entry->answer = same->answer;
        } else if (mosq) {
            subs_begin(subs, entry, mosq, broker, false);
        }
    }
    struct gw_sub_entry **new_sorted = subs_sorted(subs->items, subs->count);
    for (size_t i = 0; mosq && i < old_count; i++) {
        if (!subs_find(new_sorted, subs->count, &old[i]))
            subs_unsubscribe(&old[i], mosq, broker->v5);
    }
    free(old_sorted);
    free(new_sorted);
    subs_free(old, old_count);
    subs->changed = true;
}

void gw_subscriptions_send(struct gw_subscriptions *subs, struct mosquitto *mosq, const struct gw_abilities *broker,
                           bool session_present)
{
    int64_t now_ms = gw_monotonic_ms();
    subs->unanswered = 0;
    subs->kept = session_present;
    subs->again_ms = 0;
    for (size_t i = 0; i < subs->count; i++) {
        subs_answer(subs, &subs->items[i], GW_SUB_NONE);
        if (now_ms < subs->items[i].left_out_till) {
            subs_answer(subs, &subs->items[i], GW_SUB_LEFT_OUT);
            continue;
        }
        subs->items[i].left_out_till = 0;
        subs_begin(subs, &subs->items[i], mosq, broker, session_present);
    }
}

/* The broker closed on the first filter that it had not answered, since it works in order. */
static void subs_blame(struct gw_sub_entry *entry)
{
    if (++entry->breaks < BREAKS)
        return;
    entry->breaks = 0;
    entry->left_out_till = gw_monotonic_ms() + LEFT_OUT_MS;
    gw_log(
        GW_LOG_ERROR, "mqtt",
        "the broker closes the connection on the subscription to '%s': left out for %d minutes, so that the others "
        "work; allow it at the broker, or take the route out",
        entry->filter, LEFT_OUT_MS / 60000);
}

void gw_subscriptions_lost(struct gw_subscriptions *subs, bool by_broker)
{
    struct gw_sub_entry *first = NULL;
    struct gw_buf names = {0};
    for (size_t i = 0; i < subs->count; i++) {
        struct gw_sub_entry *entry = &subs->items[i];
        if (entry->mid && names.len < NAMES_MAX)
            gw_buf_printf(&names, "%s'%s'", first ? ", " : "", entry->filter);
        if (entry->mid && (!first || entry->sent < first->sent))
            first = entry;
        entry->mid = 0;
        entry->fetching = false;
    }
    if (first)
        gw_log(GW_LOG_WARN, "mqtt", "the connection was lost before the broker answered %zu subscription(s): %s%s",
               subs->unanswered, names.data, names.len < NAMES_MAX ? "" : ", ...");
    gw_buf_fini(&names);
    if (first && by_broker)
        subs_blame(first);
    subs->unanswered = 0;
}

/* A refusal is logged once, however often the filter is asked for again; another reason is logged too. */
static void subs_tell(struct gw_sub_entry *entry, const mosquitto_property *properties)
{
    char words[GW_REASON_MAX];
    if (gw_sub_is_refused(entry) && entry->told != entry->answer) {
        gw_log(GW_LOG_ERROR, "mqtt", "the broker refused the subscription to '%s': %s", entry->filter,
               gw_reason_words(words, entry->answer, properties));
        entry->told = entry->answer;
    } else if (gw_sub_is_granted(entry) && !entry->fetching) {
        if (entry->told >= MQTT_RC_UNSPECIFIED) /* GW_SUB_NONE is below */
            gw_log(GW_LOG_INFO, "mqtt", "the broker grants the subscription to '%s' now", entry->filter);
        if (entry->answer < gw_sub_qos(entry) && entry->told != entry->answer)
            gw_log(GW_LOG_WARN, "mqtt",
                   "the broker grants qos %d instead of %d for '%s': messages may be lost on their way from it",
                   entry->answer, gw_sub_qos(entry), entry->filter);
        entry->told = entry->answer < gw_sub_qos(entry) ? entry->answer : GW_SUB_NONE;
    }
}

void gw_subscriptions_answered(struct gw_subscriptions *subs, struct mosquitto *mosq,
                               const struct gw_abilities *broker, int mid, int count, const int *granted,
                               const mosquitto_property *properties)
{
    for (size_t i = 0; i < subs->count; i++) {
        struct gw_sub_entry *entry = &subs->items[i];
        if (entry->mid != mid)
            continue;
        entry->mid = 0;
        if (!entry->fetching) /* the second SUBSCRIBE may be the one on which the broker closes */
            entry->breaks = 0;
        subs_answer(subs, entry, count > 0 ? granted[0] : MQTT_RC_UNSPECIFIED);
        subs_tell(entry, properties);
        if (gw_sub_is_granted(entry) && entry->fetching)
            subs_subscribe(subs, entry, mosq, broker, STEP_STAY);
        entry->fetching &= entry->mid != 0;
        break;
    }
    /* Also for a filter that a reload has dropped meanwhile. */
    if (subs->unanswered)
        subs->unanswered--;
}

void gw_subscriptions_retry(struct gw_subscriptions *subs, struct mosquitto *mosq, const struct gw_abilities *broker,
                            int64_t now_ms)
{
    if (!subs->again_ms || now_ms < subs->again_ms)
        return;
    subs->again_ms = 0;
    for (size_t i = 0; i < subs->count; i++) {
        if (gw_sub_is_refused(&subs->items[i]) && subs->items[i].answer != GW_SUB_LEFT_OUT && !subs->items[i].mid)
            subs_begin(subs, &subs->items[i], mosq, broker, false);
    }
}

void gw_subscriptions_name_refused(const struct gw_subscriptions *subs, struct gw_buf *out)
{
    for (size_t i = 0; i < subs->count; i++) {
        const struct gw_sub_entry *entry = &subs->items[i];
        if (!gw_sub_is_refused(entry))
            continue;
        if (out->len >= NAMES_MAX) {
            gw_buf_adds(out, ", ...");
            return;
        }
        gw_buf_printf(out, "%s'%s' (%s)", out->len ? ", " : "", entry->filter, gw_granted_reason(entry->answer));
    }
}

bool gw_subscriptions_is_live(const struct gw_packet *packet)
{
    for (size_t i = 0; i < packet->id_count; i++) {
        if (!(packet->ids[i] & 1))
            return false;
    }
    return packet->id_count > 0;
}

bool gw_subscriptions_knows(const struct gw_subscriptions *subs, const struct gw_packet *packet)
{
    for (size_t at = 0; at < packet->id_count; at++) {
        int id = (int)(packet->ids[at] >> 1);
        for (size_t i = 0; i < subs->count; i++) {
            if (subs->items[i].id == id)
                return true;
        }
    }
    return false;
}

/* A filter that the broker has not granted brings nothing, so no other one may be taken for its double. */
static bool subs_speaks(const struct gw_subscriptions *subs, const struct gw_sub_entry *entry)
{
    return gw_sub_is_granted(entry) || (subs->kept && entry->answer == GW_SUB_NONE);
}

bool gw_subscriptions_is_double(const struct gw_subscriptions *subs, const struct gw_routes *routes,
                                const struct gw_packet *packet)
{
    if (subs->count < 2 || !packet->id_count)
        return false;
    size_t canonical = gw_routes_canonical_subscription(routes, packet->topic, packet->topic_len);
    if (canonical >= subs->count || !subs_speaks(subs, &subs->items[canonical]))
        return false;
    for (size_t at = 0; at < packet->id_count; at++) {
        if ((int)(packet->ids[at] >> 1) == subs->items[canonical].id)
            return false;
    }
    return gw_subscriptions_knows(subs, packet);
}
