/* hub_engine.c: the engine of the hub's tests: it delays, refuses and loses, and brings a past later. */
#include "check.h"
#include "gateway/topic.h"
#include "hub_world.h"

struct gw_engine_store store;
uint8_t channel_of[MESSAGES + 1];
uint64_t head, seed;
unsigned refusals;
static bool toy_lost[MESSAGES + 1];

void toy_tell(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (store.queue[i].lost)
            store.sink.lost(store.sink.context, store.queue[i].spec.seq);
        else
            store.sink.message(store.sink.context, &store.queue[i].spec);
    }
    store.count -= count;
    memmove(store.queue, store.queue + count, store.count * sizeof *store.queue);
}

unsigned channel_index(const char *name)
{
    unsigned i = 0;
    while (i < CHANNELS && strcmp(channel_names[i], name) != 0)
        i++;
    return i;
}

static enum gw_err toy_append(struct gw_engine_store *to, struct gw_message_spec *draft)
{
    assert_ptr_equal(to, &store);
    if (store.does & REFUSES && check_random(&seed) % 16 == 0) {
        refusals++;
        return GW_ERR_OVERLOADED;
    }
    draft->epoch = EPOCH;
    draft->seq = ++store.seq;
    if (store.seq <= MESSAGES)
        channel_of[store.seq] = (uint8_t)channel_index(draft->channel);
    store.queue[store.count].spec = *draft;
    if (store.does & DELAYS)
        store.queue[store.count].spec.route = GW_ROUTE_BY_NAME;
    store.queue[store.count].spec.channel = channel_names[channel_index(draft->channel)];
    store.queue[store.count++].lost = toy_lost[store.seq] = store.does & LOSES && check_random(&seed) % 40 == 0;
    if (!(store.does & DELAYS) || store.count == COUNT(store.queue))
        toy_tell(store.count);
    else if (check_random(&seed) % 8 == 0)
        toy_tell(check_random(&seed) % (store.count + 1));
    return GW_OK;
}

/* --- ... and that has kept what hubs have not, and brings it later ---------------------------------------------- */

static struct gw_engine_history *asked[GW_FETCHES]; /* that wait for an answer */
static unsigned asked_count;
static struct gw_letter *letters; /* answers on their way, the newest first: their order does not matter */
unsigned answers, silences;
int64_t now_ms;

void toy_mail(void *context, unsigned worker, struct gw_letter *letter)
{
    (void)context;
    assert_int_equal(worker, 0);
    letter->next = letters;
    letters = letter;
}

static bool toy_matches(const struct gw_engine_history *history, uint64_t seq)
{
    const char *name = channel_names[channel_of[seq]];
    bool match = false;
    for (size_t i = 0; i < history->filter_count; i++)
        match |= gw_topic_matches(history->filters[i].data, history->filters[i].len, name, strlen(name));
    return match;
}

static enum gw_err toy_history(struct gw_engine_store *from, struct gw_engine_history *history)
{
    assert_ptr_equal(from, &store);
    assert_true(history->after < history->to && history->to <= head);
    if (store.does & KEEPS_BADLY && check_random(&seed) % 8 == 0) {
        refusals++;
        return GW_ERR_OVERLOADED;
    }
    assert_true(asked_count < COUNT(asked));
    asked[asked_count++] = history;
    return GW_OK;
}

/* Answers one of those that wait: with everything, a part, or without what was lost. */
static void toy_answer(void)
{
    struct gw_engine_history *history = asked[0];
    memmove(asked, asked + 1, --asked_count * sizeof *asked);
    uint64_t to = history->to - (check_random(&seed) % 3 ? 0 : check_random(&seed) % (history->to - history->after));
    bool badly = store.does & KEEPS_BADLY && check_random(&seed) % 4 == 0;
    uint64_t lost = badly ? history->after + check_random(&seed) % (history->to - history->after + 1) : 0;
    uint64_t reached = history->after;
    bool more = true;
    while (more && reached < to) {
        const char *name = channel_names[channel_of[++reached]];
        const struct gw_message_spec spec = {.channel = name,
                                             .channel_len = strlen(name),
                                             .json = "1",
                                             .json_len = 1,
                                             .payload = "1",
                                             .payload_len = 1,
                                             .epoch = EPOCH,
                                             .seq = reached};
        if (reached > lost && !toy_lost[reached] && toy_matches(history, reached))
            more = history->message(history, &spec);
    }
    answers++;
    history->done(history, reached, lost);
}

void toy_work(bool all)
{
    gw_hub_tick(hub, ++now_ms, 1);
    while (asked_count && (all || check_random(&seed) % 2)) {
        if (store.does & KEEPS_BADLY && !all && check_random(&seed) % 8 == 0) {
            silences++;
            gw_hub_tick(hub, now_ms += 2000, 1);
            break;
        }
        toy_answer();
    }
    gw_timers_run(&timers, now_ms);
    while (letters && (all || check_random(&seed) % 2)) {
        struct gw_letter *letter = letters;
        letters = letter->next;
        if (all || check_random(&seed) % 50)
            letter->deliver(letter, hub);
        else
            toy_mail(NULL, 0, letter);
    }
    gw_hub_flush(hub);
}

const struct gw_engine toy = {.name = "toy", .append = toy_append};
const struct gw_engine toy_that_keeps = {
    .name = "toy", .append = toy_append, .history = toy_history, .history_ms = 1000};

void toy_finish(void)
{
    while (asked_count || letters)
        toy_work(true);
}
