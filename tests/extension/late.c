/* late.c: an engine as somebody outside of this tree would write it. It numbers in steps and hands each message over
 * `delay` after it came, on a thread of its own. A draft whose payload is "lose" gets a number
 * and is lost. It keeps the newest `keep` messages for clients whose hub has them no more, and brings them as late;
 * with `silent` it never does.
 *
 *   late: { delay: 100ms, step: 10, keep: 500 } */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gateway/engine.h"
#include "gateway/options.h"
#include "gateway/topic.h"

struct late_options {
    int64_t delay_ms;
    uint32_t step, keep;
    bool silent;
};

static const struct gw_field late_fields[] = {
    {.key = "delay",
     .type = GW_FIELD_DURATION,
     .offset = offsetof(struct late_options, delay_ms),
     .min = 1,
     .max = 10000,
     .def = "50ms",
     .doc = "How long a message is kept back."},
    {.key = "step",
     .type = GW_FIELD_INT,
     .offset = offsetof(struct late_options, step),
     .min = 1,
     .max = 1000,
     .def = "1",
     .doc = "From one number to the next."},
    {.key = "keep",
     .type = GW_FIELD_INT,
     .offset = offsetof(struct late_options, keep),
     .min = 0,
     .max = 1000000,
     .def = "1000",
     .doc = "Messages that are kept."},
    {.key = "silent",
     .type = GW_FIELD_BOOL,
     .offset = offsetof(struct late_options, silent),
     .def = "false",
     .doc = "Nobody gets them."},
    {.key = NULL},
};

static const struct gw_options late_options = {
    .key = "late", .doc = "Messages come later.", .size = sizeof(struct late_options), .fields = late_fields};

/* A draft, or a question for what was kept. */
struct draft {
    struct gw_message_spec spec;
    struct gw_engine_history *history; /* NULL: a draft */
    struct timespec due;
    bool lost;
    struct draft *next;
    char bytes[]; /* what the spec refers to */
};

struct gw_engine_store {
    const struct late_options *options;
    struct gw_engine_sink sink;
    char epoch[GW_ENGINE_EPOCH_MAX + 1];
    uint64_t seq; /* the MQTT thread's */

    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t change;
    struct draft *first, **last; /* {lock} */
    struct draft *unanswered;    /* the thread's, as is what follows */
    struct draft *oldest, **newest;
    uint32_t kept;
    uint64_t forgotten; /* messages up to here were kept once */
    bool closing;       /* {lock} what waits goes at once */
};

static enum gw_err late_open(const void *options, struct gw_engine_found *found, struct gw_engine_store **out,
                             struct gw_buf *error)
{
    (void)error;
    struct timespec now;
    struct gw_engine_store *store = calloc(1, sizeof *store);
    store->options = options;
    store->last = &store->first;
    store->newest = &store->oldest;
    clock_gettime(CLOCK_REALTIME, &now);
    for (int64_t left = now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000, i = 0; left; left /= 36, i++)
        store->epoch[i] = "0123456789abcdefghijklmnopqrstuvwxyz"[left % 36];
    pthread_mutex_init(&store->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&store->change, &monotonic);
    pthread_condattr_destroy(&monotonic);
    *found = (struct gw_engine_found){.clean = true};
    memcpy(found->epoch, store->epoch, sizeof found->epoch);
    *out = store;
    return GW_OK;
}

static void late_keep(struct gw_engine_store *store, struct draft *draft)
{
    draft->next = NULL;
    *store->newest = draft;
    store->newest = &draft->next;
    if (++store->kept <= store->options->keep)
        return;
    struct draft *gone = store->oldest;
    store->kept--;
    store->forgotten = gone->spec.seq;
    store->oldest = gone->next;
    if (!store->oldest)
        store->newest = &store->oldest;
    free(gone);
}

static bool late_matches(const struct gw_engine_history *history, const struct gw_message_spec *spec)
{
    for (size_t i = 0; i < history->filter_count; i++) {
        if (gw_topic_matches(history->filters[i].data, history->filters[i].len, spec->channel, spec->channel_len))
            return true;
    }
    return false;
}

static void late_bring(const struct gw_engine_store *store, struct gw_engine_history *history)
{
    uint64_t reached = history->to;
    for (const struct draft *draft = store->oldest; draft && draft->spec.seq <= history->to; draft = draft->next) {
        if (draft->spec.seq <= history->after || !late_matches(history, &draft->spec))
            continue;
        if (!history->message(history, &draft->spec)) {
            reached = draft->spec.seq;
            break;
        }
    }
    history->done(history, reached, store->forgotten);
}

/* Its time has come. */
static void late_tell(struct gw_engine_store *store, struct draft *draft)
{
    if (draft->history && store->options->silent) {
        draft->next = store->unanswered;
        store->unanswered = draft;
        return;
    }
    if (draft->history)
        late_bring(store, draft->history);
    else if (draft->lost)
        store->sink.lost(store->sink.context, draft->spec.seq);
    else
        store->sink.message(store->sink.context, &draft->spec);
    if (draft->history || draft->lost)
        free(draft);
    else
        late_keep(store, draft);
}

static void *late_run(void *context)
{
    struct gw_engine_store *store = context;
    pthread_mutex_lock(&store->lock);
    while (store->first || !store->closing) {
        struct draft *draft = store->first;
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (!draft) {
            pthread_cond_wait(&store->change, &store->lock);
            continue;
        }
        if (!store->closing && (now.tv_sec < draft->due.tv_sec ||
                                (now.tv_sec == draft->due.tv_sec && now.tv_nsec < draft->due.tv_nsec))) {
            pthread_cond_timedwait(&store->change, &store->lock, &draft->due);
            continue;
        }
        store->first = draft->next;
        if (!store->first)
            store->last = &store->first;
        pthread_mutex_unlock(&store->lock);
        late_tell(store, draft);
        pthread_mutex_lock(&store->lock);
    }
    pthread_mutex_unlock(&store->lock);
    for (struct draft *draft = store->unanswered, *next; draft; draft = next) {
        next = draft->next;
        draft->history->done(draft->history, draft->history->after, 0);
        free(draft);
    }
    return NULL;
}

static void late_enqueue(struct gw_engine_store *store, struct draft *draft)
{
    draft->next = NULL;
    clock_gettime(CLOCK_MONOTONIC, &draft->due);
    int64_t due = draft->due.tv_nsec + store->options->delay_ms * 1000000;
    draft->due.tv_sec += due / 1000000000;
    draft->due.tv_nsec = due % 1000000000;
    pthread_mutex_lock(&store->lock);
    *store->last = draft;
    store->last = &draft->next;
    pthread_cond_signal(&store->change);
    pthread_mutex_unlock(&store->lock);
}

static enum gw_err late_history(struct gw_engine_store *store, struct gw_engine_history *history)
{
    struct draft *draft = calloc(1, sizeof *draft);
    draft->history = history;
    late_enqueue(store, draft);
    return GW_OK;
}

static enum gw_err late_start(struct gw_engine_store *store, const struct gw_engine_sink *sink, struct gw_buf *error)
{
    store->sink = *sink;
    store->started = !pthread_create(&store->thread, NULL, late_run, store);
    if (!store->started)
        gw_buf_adds(error, "can't start a thread");
    return store->started ? GW_OK : GW_ERR_INTERNAL;
}

static enum gw_err late_append(struct gw_engine_store *store, struct gw_message_spec *spec)
{
    struct draft *draft =
        malloc(sizeof *draft + spec->channel_len + spec->json_len + spec->payload_len + spec->properties.len);
    char *json = draft->bytes + spec->channel_len, *payload = json + spec->json_len;
    memcpy(draft->bytes, spec->channel, spec->channel_len);
    if (spec->json_len)
        memcpy(json, spec->json, spec->json_len);
    if (spec->payload_len)
        memcpy(payload, spec->payload, spec->payload_len);
    draft->spec = *spec;
    draft->spec.channel = draft->bytes;
    draft->spec.json = json;
    draft->spec.payload = payload;
    if (spec->properties.len)
        draft->spec.properties.data =
            memcpy(payload + spec->payload_len, spec->properties.data, spec->properties.len);
    if (spec->watched.data)
        draft->spec.watched.data = json + (spec->watched.data - spec->json);
    draft->spec.route = GW_ROUTE_BY_NAME;
    draft->spec.epoch = store->epoch;
    draft->spec.seq = store->seq += store->options->step;
    draft->lost = spec->payload_len == 4 && !memcmp(spec->payload, "lose", 4);
    draft->history = NULL;
    late_enqueue(store, draft);
    return GW_OK;
}

static void late_close(struct gw_engine_store *store, bool in_order, uint64_t forgotten)
{
    (void)in_order, (void)forgotten;
    pthread_mutex_lock(&store->lock);
    store->closing = true;
    pthread_cond_signal(&store->change);
    pthread_mutex_unlock(&store->lock);
    if (store->started)
        pthread_join(store->thread, NULL);
    while (store->oldest) {
        struct draft *next = store->oldest->next;
        free(store->oldest);
        store->oldest = next;
    }
    pthread_cond_destroy(&store->change);
    pthread_mutex_destroy(&store->lock);
    free(store);
}

const struct gw_engine gw_engine_late = {
    .name = "late",
    .options = &late_options,
    .open = late_open,
    .start = late_start,
    .append = late_append,
    .history = late_history,
    .history_ms = 1000,
    .close = late_close,
};
