/* The way of a message from its topic to the sessions, against a model: whatever clients, queues, histories and the
 * engine do, every message that a session wants arrives once and in order, or lies in a gap that it was told. */
#include "check.h"
#include "gateway/codec.h"
#include "gateway/hub.h"
#include "gateway/topic.h"
#include "hub/channel.h"
#include "hub/fetch.h"
#include "hub/giveback.h"
#include "hub/hub_private.h"
#include "hub/inbox.h"
#include "message/cursor.h"
#include "mqtt/ingest.h"
#include "route/routes.h"

#define EPOCH    "test"
#define SESSIONS 24
#define MESSAGES 4000
#define CHANNELS 7

static const char *const channel_names[CHANNELS] = {"a", "a/b", "a/b/c", "a/x/c", "d", "d/e", "$s"};

struct client {
    struct gw_session session; /* first member */
    bool used, kicked;
    uint64_t from; /* wants everything on its channels after this */
    const char *filters[3];
    unsigned filter_count;
    uint64_t last; /* highest sequence number received */
    uint64_t gap_to[CHANNELS], gap_from[CHANNELS];
    bool got[MESSAGES + 1], excused[MESSAGES + 1];
    unsigned gaps, received;
};

static struct gw_config *config;
static struct gw_hub *hub;
static struct gw_timers timers;
static struct client clients[SESSIONS];
static uint8_t channel_of[MESSAGES + 1];
static uint64_t head, seed;
static uint64_t lost_to; /* the newest number that the engine lost */
static struct gw_routes *routes;
static struct gw_ingest ingest;
static struct gw_inbox *inbox;
static unsigned refusals;

/* --- an engine that delays, refuses and loses ------------------------------------------------------------------- */

enum { DELAYS = 1, REFUSES = 2, LOSES = 4, KEEPS = 8, KEEPS_BADLY = 16 };

struct gw_engine_store {
    unsigned does;
    struct gw_engine_sink sink;
    uint64_t seq;
    struct {
        struct gw_message_spec spec; /* names and payloads here are constants */
        bool lost;
    } queue[64];
    unsigned count;
};

static struct gw_engine_store store;
static bool toy_lost[MESSAGES + 1];

static void toy_tell(unsigned count)
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

static unsigned channel_index(const char *name)
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
static unsigned asked_count, answers, silences;
static struct gw_letter *letters; /* answers on their way, the newest first: their order does not matter */
static int64_t now_ms;

static void toy_mail(void *context, unsigned worker, struct gw_letter *letter)
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

/* The engine and the mail are at work for a while. */
static void toy_work(bool all)
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

static const struct gw_engine toy = {.name = "toy", .append = toy_append};
static const struct gw_engine toy_that_keeps = {
    .name = "toy", .append = toy_append, .history = toy_history, .history_ms = 1000};

static void on_ready(struct gw_session *session)
{
    (void)session; /* clients drain when the test says so */
}

static void on_kick(struct gw_session *session, enum gw_err why)
{
    (void)why;
    ((struct client *)session)->kicked = true;
}

static const struct gw_session_ops ops = {.ready = on_ready, .kick = on_kick};

static enum gw_err no_publish(void *context, struct gw_publish **publish)
{
    (void)context;
    (void)publish;
    return GW_ERR_UPSTREAM_DOWN;
}

static struct gw_config *make_config(uint32_t history, size_t queue, uint32_t channels)
{
    struct gw_config *made = calloc(1, sizeof *made);
    atomic_init(&made->refs, 1);
    made->file = strdup("test");
    made->route_count = 2;
    made->routes = calloc(2, sizeof *made->routes);
    for (int i = 0; i < 2; i++) {
        made->routes[i].topic = strdup(i ? "$s" : "#");
        made->routes[i].codec = gw_codec_find("auto");
        made->routes[i].history_engine = gw_history_find("memory");
        made->routes[i].history = (struct gw_history_limits){.count = history, .bytes = 1 << 20};
    }
    made->limits = (struct gw_cfg_limits){.subscriptions = 10,
                                          .queue_bytes = queue,
                                          .channels = channels,
                                          .history_bytes = 1 << 24,
                                          .publishes_per_session = 4};
    return made;
}

static void no_wake(void *context)
{
    (void)context;
}

static void setup_hub(uint32_t history, size_t queue, uint32_t channels)
{
    config = make_config(history, queue, channels);
    routes = gw_routes_build(config);
    gw_timers_init(&timers);
    inbox = gw_inbox_create(1000, no_wake, NULL);
    static struct gw_stored stored; /* of no connection */
    gw_ingest_init(&ingest, &toy, &store, &inbox, 1, &stored);
    gw_route_stats_configure(&ingest.routes, config);
    store = (struct gw_engine_store){.sink = gw_ingest_sink(&ingest)};
    struct gw_hub_setup setup = {.epoch = EPOCH,
                                 .config = config,
                                 .routes = routes,
                                 .timers = &timers,
                                 .upstream = {NULL, no_publish},
                                 .mail = {NULL, toy_mail}};
    hub = gw_hub_create(&setup);
    now_ms = 1;
    gw_hub_tick(hub, now_ms, 1);
    head = lost_to = 0;
    memset(clients, 0, sizeof clients);
}

static void teardown_hub(void)
{
    for (size_t i = 0; i < SESSIONS; i++)
        gw_session_close(&clients[i].session);
    while (asked_count || letters)
        toy_work(true); /* nobody waits any more */
    gw_hub_destroy(hub);
    gw_timers_fini(&timers);
    gw_ingest_fini(&ingest);
    gw_inbox_destroy(inbox);
    gw_routes_unref(routes);
    gw_config_unref(config);
}

/* What the engine has told goes through the inbox into the hub. */
static void take_inbox(bool flush)
{
    struct gw_event *events;
    size_t count;
    gw_inbox_take(inbox, &events, &count);
    for (size_t i = 0; i < count; i++) {
        if (events[i].type == GW_EVENT_MESSAGE)
            head = events[i].u.message->seq;
        else if (events[i].type == GW_EVENT_LOST)
            head = lost_to = events[i].u.lost;
        gw_hub_handle(hub, &events[i]);
        if (flush)
            gw_hub_flush(hub);
    }
}

/* An empty payload clears. */
static void offer_message(unsigned channel, const char *payload, bool retained)
{
    const char *name = channel_names[channel];
    const struct gw_packet packet = {.topic = name,
                                     .topic_len = strlen(name),
                                     .payload = payload,
                                     .payload_len = strlen(payload),
                                     .retain = retained};
    gw_ingest_message(&ingest, routes, &packet);
}

static void send_message(unsigned channel, const char *json, bool retained)
{
    offer_message(channel, json, retained);
    take_inbox(true);
}

static bool client_wants(const struct client *client, uint64_t seq)
{
    const char *name = channel_names[channel_of[seq]];
    bool wanted = false;
    for (unsigned i = 0; i < client->filter_count; i++)
        wanted |= gw_topic_matches(client->filters[i], strlen(client->filters[i]), name, strlen(name));
    return wanted && seq > client->from;
}

/* Takes up to `most` items and checks each. */
static void client_drain(struct client *client, unsigned most)
{
    struct gw_item item;
    while (most-- && gw_session_next(&client->session, &item)) {
        if (item.type == GW_ITEM_GAP) {
            struct gw_cursor from, to;
            const char *name = item.u.gap->channel;
            assert_true(gw_cursor_parse(&from, item.u.gap->from, strlen(item.u.gap->from)));
            assert_true(gw_cursor_parse(&to, item.u.gap->to, strlen(item.u.gap->to)));
            assert_true(to.seq > from.seq);
            unsigned channel = channel_index(name);
            /* Of what the engine lost nobody knows the channel: whatever else is there may come all the same. */
            bool engine = from.seq < lost_to;
            /* Told once: the next gap of a channel begins where the last one ended, or later. */
            if (channel < CHANNELS)
                assert_true(from.seq >= client->gap_to[channel]);
            else
                assert_true(engine); /* a filter's */
            for (uint64_t seq = from.seq + 1; seq <= to.seq; seq++) {
                const char *own = channel_names[channel_of[seq]];
                if (!client_wants(client, seq) || !gw_topic_matches(name, strlen(name), own, strlen(own)))
                    continue;
                assert_true(engine || !client->got[seq]);
                client->got[seq] |= !engine;
                client->excused[seq] = true;
            }
            if (channel < CHANNELS)
                client->gap_to[channel] = to.seq;
            client->gaps++;
        } else {
            uint64_t seq = item.u.message->seq;
            assert_true(seq > client->last); /* in the order of the sequence, and never twice */
            assert_true(client_wants(client, seq));
            assert_false(client->got[seq]);
            client->got[seq] = true;
            client->last = seq;
            client->received++;
        }
        gw_session_release(&client->session, &item);
    }
}

static void client_open(struct client *client)
{
    static const char *const filters[] = {"#", "a/#", "a/+/c", "a", "a/b/c", "d/+", "+", "$s", "+/+", "d/#"};
    memset(client, 0, sizeof *client);
    client->used = true;
    gw_session_open(&client->session, hub, &ops);
    client->filter_count = 1 + check_random(&seed) % 3;
    client->from = head - (head ? check_random(&seed) % (head < 60 ? head : 60) : 0);
    if (check_random(&seed) % 8 == 0)
        client->from = head + check_random(&seed) % 5; /* ahead, as from another worker */
    char cursor[64];
    gw_hub_format_cursor(hub, client->from, cursor);
    struct gw_start start = {.at = GW_START_CURSOR, .cursor = cursor, .cursor_len = strlen(cursor)};
    for (unsigned i = 0; i < client->filter_count; i++) {
        struct gw_subscribed subscribed;
        client->filters[i] = filters[check_random(&seed) % COUNT(filters)];
        assert_int_equal(gw_session_subscribe(&client->session, client->filters[i], strlen(client->filters[i]),
                                              &start, &subscribed),
                         GW_OK);
    }
    gw_session_catch_up(&client->session);
    /* What a client reads from its session's cursor after a reconnect must begin no later than here. */
}

static void client_finish(struct client *client)
{
    client_drain(client, UINT32_MAX);
    while (client->session.lagging) { /* it has used up its part of the turn */
        toy_work(check_random(&seed) % 2);
        client_drain(client, UINT32_MAX);
    }
    for (uint64_t seq = 1; seq <= head; seq++) {
        if (client_wants(client, seq) && !client->got[seq] && !client->excused[seq])
            fail_msg("message %u on '%s' was lost without a word", (unsigned)seq, channel_names[channel_of[seq]]);
    }
    char text[64];
    struct gw_cursor cursor;
    gw_session_cursor(&client->session, false, text);
    assert_true(gw_cursor_parse(&cursor, text, strlen(text)));
    assert_true(cursor.seq == (client->from > head ? client->from : head));
    gw_session_close(&client->session);
    client->used = false;
}

static void model(uint32_t history, size_t queue, unsigned engine, unsigned *gaps, unsigned *received)
{
    setup_hub(history, queue, 1000);
    store.does = engine;
    gw_fetches_init(hub, engine & KEEPS ? &toy_that_keeps : &toy, &store);
    while (store.seq < MESSAGES) {
        struct client *client = &clients[check_random(&seed) % SESSIONS];
        if (engine & KEEPS && check_random(&seed) % 4 == 0)
            toy_work(false);
        switch (check_random(&seed) % 8) {
        case 0:
            if (client->used && engine & KEEPS && check_random(&seed) % 4 == 0) {
                gw_session_close(&client->session); /* whatever it waits for */
                client->used = false;
            } else if (client->used) {
                client_finish(client);
                *gaps += client->gaps;
                *received += client->received;
            } else {
                client_open(client);
            }
            break;
        case 1:
        case 2:
            if (client->used)
                client_drain(client, check_random(&seed) % 30);
            break;
        default:
            send_message(check_random(&seed) % CHANNELS,
                         check_random(&seed) % 5 ? "\"0123456789\"" : "{\"x\":[1,2,3]}", false);
        }
    }
    toy_tell(store.count);
    take_inbox(true);
    assert_true(head == MESSAGES);
    for (size_t i = 0; i < SESSIONS; i++) {
        if (clients[i].used)
            client_finish(&clients[i]);
    }
    teardown_hub();
}

static void test_model(void **state)
{
    (void)state;
    static const struct {
        uint32_t history;
        size_t queue;
        unsigned engine;
        unsigned gaps; /* at least: the test must meet some; 0: none may come */
    } rows[] = {
        {0, 1000, 0, 100},
        {3, 1000, 0, 100},
        {6, 500, 0, 20},
        {6, 100000, 0, 20},
        {1000, 300, 0, 0},
        {6, 500, DELAYS, 20},
        {1000, 300, DELAYS | REFUSES, 0},
        {1000, 300, LOSES, 100},
        {1000, 100000, DELAYS | LOSES, 100},
        {3, 1000, DELAYS | REFUSES | LOSES, 200},
        {3, 1000, KEEPS, 0},
        {0, 500, DELAYS | KEEPS, 0},
        {6, 100000, DELAYS | REFUSES | KEEPS, 0},
        {3, 1000, DELAYS | REFUSES | LOSES | KEEPS, 200},
        {3, 500, REFUSES | KEEPS | KEEPS_BADLY, 100},
        {0, 1000, DELAYS | LOSES | KEEPS | KEEPS_BADLY, 200},
    };
    seed = 20261124;
    for (size_t i = 0; i < COUNT(rows); i++) {
        unsigned gaps = 0, received = 0;
        refusals = answers = silences = 0;
        model(rows[i].history, rows[i].queue, rows[i].engine, &gaps, &received);
        assert_true(received > 1000);
        assert_true(refusals > 100 || !(rows[i].engine & REFUSES));
        assert_true(answers > 100 || !(rows[i].engine & KEEPS));
        assert_true(silences > 10 || !(rows[i].engine & KEEPS_BADLY));
        if (rows[i].gaps)
            assert_true(gaps >= rows[i].gaps);
        else
            assert_int_equal(gaps, 0);
    }
}

/* --- the same in slices ---------------------------------------------------------------------------------------- */

/* A subscription of the second model; `to`: when it ended, UINT64_MAX while it is there. */
struct wish {
    const char *filter;
    uint64_t from, to;
    bool fresh; /* it began with the last values */
};

#define WISHES 64
struct walker {
    struct gw_session session; /* first member */
    bool used, kicked, changed;
    struct wish wishes[WISHES];
    unsigned wish_count;
    uint64_t last;  /* sequence number of the newest message */
    unsigned backs; /* how often it may be lower: once for each subscription */
    uint8_t got[MESSAGES + 1];
    bool missed[MESSAGES + 1];
};

static struct walker walkers[8];

static bool matches(const char *filter, unsigned channel)
{
    const char *name = channel_names[channel];
    return gw_topic_matches(filter, strlen(filter), name, strlen(name));
}

static bool walker_must(const struct walker *walker, uint64_t seq)
{
    bool must = false;
    for (unsigned i = 0; i < walker->wish_count; i++) {
        const struct wish *wish = &walker->wishes[i];
        must |= wish->to == UINT64_MAX && seq > wish->from && matches(wish->filter, channel_of[seq]);
    }
    return must;
}

static bool walker_may(const struct walker *walker, uint64_t seq)
{
    bool may = false;
    for (unsigned i = 0; i < walker->wish_count; i++) {
        const struct wish *wish = &walker->wishes[i];
        may |= seq <= wish->to && (seq > wish->from || wish->fresh) && matches(wish->filter, channel_of[seq]);
    }
    return may;
}

/* The gap is of a channel, or of all that a filter matches. */
static void walker_miss(struct walker *walker, const struct gw_gap *gap)
{
    struct gw_cursor from, to;
    assert_true(gw_cursor_parse(&from, gap->from, strlen(gap->from)));
    assert_true(gw_cursor_parse(&to, gap->to, strlen(gap->to)));
    assert_true(to.seq > from.seq);
    for (uint64_t seq = from.seq + 1; seq <= to.seq && seq <= head; seq++) {
        if (!matches(gap->channel, channel_of[seq]) || !walker_must(walker, seq))
            continue;
        if (!walker->changed && !gw_topic_has_wildcard(gap->channel, strlen(gap->channel)))
            assert_false(walker->got[seq]);
        walker->missed[seq] = true;
    }
}

static void walker_drain(struct walker *walker, unsigned most)
{
    struct gw_item item;
    while (most-- && gw_session_next(&walker->session, &item)) {
        if (item.type == GW_ITEM_GAP) {
            walker_miss(walker, item.u.gap);
        } else {
            uint64_t seq = item.u.message->seq;
            if (seq <= walker->last)
                assert_true(walker->backs-- > 0);
            assert_true(walker_may(walker, seq));
            /* A filter that is given anew begins anew, with values that came before. */
            assert_true(!walker->got[seq] || walker->changed);
            walker->got[seq] = 1;
            walker->last = seq;
        }
        gw_session_release(&walker->session, &item);
    }
}

static void walker_subscribe(struct walker *walker)
{
    static const char *const filters[] = {"#", "a/#", "a/+/c", "a", "a/b/c", "d/+", "+", "$s", "+/+", "d/#"};
    if (walker->wish_count == WISHES)
        return;
    const char *filter = filters[check_random(&seed) % COUNT(filters)];
    for (unsigned i = 0; i < walker->wish_count; i++) {
        if (!strcmp(walker->wishes[i].filter, filter) && walker->wishes[i].to == UINT64_MAX)
            return;
    }
    struct wish *wish = &walker->wishes[walker->wish_count++];
    *wish = (struct wish){.filter = filter, .to = UINT64_MAX, .fresh = check_random(&seed) % 2};
    wish->from = wish->fresh ? head : head - (head ? check_random(&seed) % (head < 80 ? head : 80) : 0);
    char cursor[64];
    gw_hub_format_cursor(hub, wish->from, cursor);
    struct gw_start start = {
        .at = wish->fresh ? GW_START_LAST : GW_START_CURSOR, .cursor = cursor, .cursor_len = strlen(cursor)};
    struct gw_subscribed out;
    assert_int_equal(gw_session_subscribe(&walker->session, filter, strlen(filter), &start, &out), GW_OK);
    gw_session_catch_up(&walker->session);
    walker->changed |= walker->wish_count > 1;
    walker->backs++;
}

static void walker_unsubscribe(struct walker *walker)
{
    for (unsigned i = 0; i < walker->wish_count; i++) {
        struct wish *wish = &walker->wishes[i];
        if (wish->to != UINT64_MAX)
            continue;
        assert_true(gw_session_unsubscribe(&walker->session, wish->filter, strlen(wish->filter)));
        wish->to = head;
        walker->changed = true;
        return;
    }
}

static void walker_open(struct walker *walker)
{
    memset(walker, 0, sizeof *walker);
    walker->used = true;
    gw_session_open(&walker->session, hub, &ops);
    for (unsigned i = 1 + check_random(&seed) % 2; i; i--)
        walker_subscribe(walker);
}

/* Everything that it must have came, or lies in a gap; and it has the last value of every channel. */
static void walker_finish(struct walker *walker)
{
    for (unsigned turns = 0; turns == 0 || walker->session.lagging; turns++) {
        assert_true(turns < (store.does & KEEPS ? 200000 : 10000)); /* a page is two messages here */
        gw_hub_flush(hub);
        toy_work(check_random(&seed) % 2);
        walker_drain(walker, UINT32_MAX);
    }
    for (uint64_t seq = 1; seq <= head; seq++) {
        if (walker_must(walker, seq) && !walker->got[seq] && !walker->missed[seq])
            fail_msg("message %u on '%s' was lost without a word", (unsigned)seq, channel_names[channel_of[seq]]);
    }
    for (unsigned c = 0; c < CHANNELS; c++) {
        const char *name = channel_names[c];
        struct gw_message *last = gw_hub_last(hub, NULL, name, strlen(name));
        bool wanted = false;
        for (unsigned i = 0; i < walker->wish_count; i++)
            wanted |=
                walker->wishes[i].to == UINT64_MAX && walker->wishes[i].fresh && matches(walker->wishes[i].filter, c);
        if (last && wanted && !walker->got[last->seq])
            fail_msg("the last value of '%s', %u, did not come", name, (unsigned)last->seq);
    }
    gw_session_close(&walker->session);
    walker->used = false;
}

static void send_any(void)
{
    unsigned channel = check_random(&seed) % CHANNELS;
    if (check_random(&seed) % 6) {
        send_message(channel, "\"0123456789\"", false);
        return;
    }
    offer_message(channel, "", false);
    take_inbox(false);
}

/* Slices of a few messages, with everything that can come between two of them. */
static void walk_model(uint32_t history, size_t queue, uint32_t channels, uint32_t direct, unsigned engine)
{
    setup_hub(history, queue, channels);
    store.does = engine;
    gw_fetches_init(hub, engine & KEEPS ? &toy_that_keeps : &toy, &store);
    memset(walkers, 0, sizeof walkers);
    hub->slices.turn = hub->slices.work = 7;
    hub->slices.slice = 3;
    hub->slices.direct = direct;
    hub->slices.near = direct;
    hub->slices.attach = direct;
    while (head < MESSAGES) {
        struct walker *walker = &walkers[check_random(&seed) % COUNT(walkers)];
        if (engine & KEEPS && check_random(&seed) % 4 == 0)
            toy_work(false);
        switch (check_random(&seed) % 12) {
        case 0:
            if (walker->used && check_random(&seed) % 4 == 0)
                walker_finish(walker);
            else if (!walker->used)
                walker_open(walker);
            break;
        case 1:
            if (walker->used && check_random(&seed) % 3 == 0)
                walker_subscribe(walker);
            break;
        case 2:
            if (walker->used && check_random(&seed) % 3 == 0)
                walker_unsubscribe(walker);
            break;
        case 3:
        case 4:
        case 5:
            if (walker->used)
                walker_drain(walker, check_random(&seed) % 12);
            break;
        case 6:
            gw_hub_flush(hub);
            break;
        default:
            send_any();
        }
    }
    for (size_t i = 0; i < COUNT(walkers); i++) {
        if (walkers[i].used)
            walker_finish(&walkers[i]);
    }
    assert_true(atomic_load(&hub->stats.slices) > (direct < 10 ? 1000 : 0));
    teardown_hub();
}

static void test_slices(void **state)
{
    (void)state;
    static const struct {
        uint32_t history;
        size_t queue;
        uint32_t channels, direct;
        unsigned engine;
    } rows[] = {{0, 1000, 100, 0, 0},
                {3, 500, 100, 0, 0},
                {10, 100000, 100, 1, 0},
                {1000, 300, 100, 2, 0},
                {10, 300, 100, 100, 0},
                {3, 500, 4, 0, 0},
                {3, 500, 4, 3, 0},
                {3, 500, 4, 100, 0},
                {3, 500, 100, 0, KEEPS},
                {0, 1000, 100, 2, KEEPS},
                {3, 500, 100, 100, KEEPS | KEEPS_BADLY},
                {3, 500, 4, 3, KEEPS | KEEPS_BADLY}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (seed = i * 100 + 1; seed % 100 < (rows[i].engine ? 2 : 4);) {
            uint64_t first = seed;
            walk_model(rows[i].history, rows[i].queue, rows[i].channels, rows[i].direct, rows[i].engine);
            seed = first + 1;
        }
    }
}

static unsigned subscribe(struct client *client, const char *filter, enum gw_start_at at, const char *cursor,
                          struct gw_subscribed *out)
{
    struct gw_start start = {.at = at, .cursor = cursor, .cursor_len = cursor ? strlen(cursor) : 0};
    return gw_session_subscribe(&client->session, filter, strlen(filter), &start, out);
}

static void test_snapshot(void **state)
{
    (void)state;
    setup_hub(10, 100000, 1000);
    for (unsigned i = 0; i < 5; i++) {
        for (unsigned c = 0; c < 3; c++)
            send_message(c, "1", false);
    }
    struct client *client = &clients[0];
    gw_session_open(&client->session, hub, &ops);
    struct gw_subscribed out;
    assert_int_equal(subscribe(client, "a/#", GW_START_LAST, NULL, &out), GW_OK);
    assert_int_equal(out.snapshot, 3);
    assert_false(out.recovered);
    assert_string_equal(out.cursor, EPOCH ".15");
    gw_session_catch_up(&client->session);
    struct gw_item item;
    for (uint64_t seq = 13; seq <= 15; seq++) {
        assert_true(gw_session_next(&client->session, &item));
        assert_int_equal(item.u.message->seq, seq);
        gw_item_release(&item);
    }
    assert_false(gw_session_next(&client->session, &item));
    /* Another filter that overlaps brings nothing twice; the same one again brings its last values again. */
    assert_int_equal(subscribe(client, "a/+", GW_START_LAST, NULL, &out), GW_OK);
    assert_int_equal(out.snapshot, 0);
    gw_session_catch_up(&client->session);
    assert_false(gw_session_next(&client->session, &item));
    assert_true(gw_session_unsubscribe(&client->session, "a/+", 3));
    assert_int_equal(subscribe(client, "a/#", GW_START_LAST, NULL, &out), GW_OK);
    assert_int_equal(out.snapshot, 3);
    gw_session_catch_up(&client->session);
    for (int i = 0; i < 3; i++) {
        assert_true(gw_session_next(&client->session, &item));
        gw_item_release(&item);
    }
    assert_false(gw_session_next(&client->session, &item));
    teardown_hub();
}

/* A subscription that resumed from after the last value has not brought it. */
static void test_snapshot_beside_a_resumed_filter(void **state)
{
    (void)state;
    setup_hub(10, 100000, 1000);
    send_message(0, "1", false);
    struct client *client = &clients[0];
    gw_session_open(&client->session, hub, &ops);
    struct gw_subscribed out;
    assert_int_equal(subscribe(client, "a/#", GW_START_CURSOR, EPOCH ".1", &out), GW_OK);
    gw_session_catch_up(&client->session);
    struct gw_item item;
    assert_false(gw_session_next(&client->session, &item));
    assert_int_equal(subscribe(client, "a", GW_START_LAST, NULL, &out), GW_OK);
    assert_int_equal(out.snapshot, 1);
    gw_session_catch_up(&client->session);
    assert_true(gw_session_next(&client->session, &item));
    gw_item_release(&item);
    assert_false(gw_session_next(&client->session, &item));
    teardown_hub();
}

static void test_snapshot_larger_than_the_queue(void **state)
{
    (void)state;
    setup_hub(10, 150, 1000); /* room for about one message */
    for (unsigned i = 0; i < 4; i++) {
        for (unsigned c = 0; c < 6; c++)
            send_message(c, "1", false);
    }
    struct client *client = &clients[0];
    gw_session_open(&client->session, hub, &ops);
    struct gw_subscribed out;
    assert_int_equal(subscribe(client, "#", GW_START_LAST, NULL, &out), GW_OK);
    assert_int_equal(out.snapshot, 6);
    gw_session_catch_up(&client->session);
    struct gw_item item;
    for (uint64_t seq = 19; seq <= 24; seq++) { /* last values only, none of the history before them */
        assert_true(gw_session_next(&client->session, &item));
        assert_int_equal(item.type, GW_ITEM_MESSAGE);
        assert_int_equal(item.u.message->seq, seq);
        gw_item_release(&item);
    }
    assert_false(gw_session_next(&client->session, &item));
    assert_false(client->session.lagging);
    teardown_hub();
}

static void test_repeats_and_clears(void **state)
{
    (void)state;
    setup_hub(10, 100000, 1000);
    send_message(0, "1", true);
    send_message(0, "1", true); /* the broker sends it again: no news */
    assert_int_equal(gw_hub_last(hub, NULL, "a", 1)->seq, 1);
    send_message(0, "1", false); /* the device says it again: news */
    assert_int_equal(gw_hub_last(hub, NULL, "a", 1)->seq, 3);
    send_message(0, "2", true);
    assert_int_equal(gw_hub_last(hub, NULL, "a", 1)->seq, 4);
    teardown_hub();
}

static void test_refusals(void **state)
{
    (void)state;
    setup_hub(10, 100000, 1000);
    struct client *client = &clients[0];
    struct gw_subscribed out;
    gw_session_open(&client->session, hub, &ops);
    assert_int_equal(subscribe(client, "a/#/b", GW_START_LAST, NULL, &out), GW_ERR_BAD_REQUEST);
    assert_int_equal(subscribe(client, "a", GW_START_CURSOR, "x", &out), GW_ERR_BAD_REQUEST);
    assert_int_equal(subscribe(client, "$other", GW_START_LAST, NULL, &out), GW_ERR_UNKNOWN_CHANNEL);
    assert_int_equal(client->session.sub_count, 0);
    for (char name[2] = "a"; name[0] < 'a' + 10; name[0]++)
        assert_int_equal(subscribe(client, name, GW_START_LAST, NULL, &out), GW_OK);
    assert_int_equal(subscribe(client, "z", GW_START_LAST, NULL, &out), GW_ERR_LIMIT);
    assert_false(gw_session_unsubscribe(&client->session, "z", 1));
    assert_true(gw_session_unsubscribe(&client->session, "b", 1));
    assert_int_equal(subscribe(client, "z", GW_START_LAST, NULL, &out), GW_OK);
    teardown_hub();
}

static void test_control_flood_is_bounded(void **state)
{
    (void)state;
    setup_hub(10, 1000, 1000);
    struct client *client = &clients[0];
    gw_session_open(&client->session, hub, &ops);
    for (int i = 0; i < 100 && !client->kicked; i++) {
        struct gw_buf text;
        gw_buf_init(&text);
        gw_buf_printf(&text, "%0100d", i);
        gw_session_push(&client->session, &text);
    }
    assert_true(client->kicked);
    assert_int_equal(client->session.queued_bytes, 0);
    teardown_hub();
}

static unsigned refs_of(const struct gw_message *msg)
{
    return atomic_load(&msg->refs);
}

/* Every session's reference is a real one until the end of the turn in which it was given back, and no longer. */
static void test_references(void **state)
{
    (void)state;
    enum { READERS = 5 };
    setup_hub(4, 100000, 1000);
    struct gw_subscribed out;
    for (unsigned i = 0; i < READERS; i++) {
        gw_session_open(&clients[i].session, hub, &ops);
        assert_int_equal(subscribe(&clients[i], "#", GW_START_LAST, NULL, &out), GW_OK);
        gw_session_catch_up(&clients[i].session);
    }
    send_message(0, "1", false);
    struct gw_message *first = gw_message_ref(gw_channel_find(hub, "a", 1, gw_hash("a", 1))->last);
    store.seq += GW_GIVEBACK_SLOTS - 1; /* so that the next one has the same slot */
    send_message(1, "2", false);
    struct gw_message *second = gw_message_ref(gw_channel_find(hub, "a/b", 3, gw_hash("a/b", 3))->last);
    assert_int_equal(second->seq - first->seq, GW_GIVEBACK_SLOTS);
    const unsigned kept = 3; /* ours, the last value, the history */
    assert_int_equal(refs_of(first), READERS + kept);
    assert_int_equal(refs_of(second), READERS + kept);

    struct gw_item item;
    for (unsigned i = 0; i + 1 < READERS; i++) {
        for (unsigned j = 0; j < 2; j++) {
            assert_true(gw_session_next(&clients[i].session, &item));
            assert_ptr_equal(item.u.message, j ? second : first);
            gw_session_release(&clients[i].session, &item);
        }
    }
    assert_int_equal(refs_of(second), 2 + kept); /* the last one waits for the turn's end */
    gw_hub_flush(hub);
    assert_int_equal(refs_of(first), 1 + kept); /* of the reader that has not taken it yet */
    assert_int_equal(refs_of(second), 1 + kept);
    gw_session_close(&clients[READERS - 1].session);
    assert_int_equal(refs_of(first), kept);
    assert_int_equal(refs_of(second), kept);
    teardown_hub();
    assert_int_equal(refs_of(first), 1);
    gw_message_unref(first);
    gw_message_unref(second);
}

static void take_in(const char *channel, uint64_t seq)
{
    const struct gw_message_spec spec = {.channel = channel,
                                         .channel_len = strlen(channel),
                                         .json = "2",
                                         .json_len = 1,
                                         .payload = "2",
                                         .payload_len = 1,
                                         .epoch = EPOCH,
                                         .seq = seq,
                                         .route = GW_ROUTE_BY_NAME};
    store.sink.message(store.sink.context, &spec);
    take_inbox(true);
}

/* Messages of another node have no place in this one's table of routes. */
static void test_routes_by_name(void **state)
{
    (void)state;
    setup_hub(5, 100000, 1000);
    take_in("$s", 1);
    take_in("a/b", 2);
    take_in("$other", 3); /* no route of ours makes it */
    assert_int_equal(gw_channel_find(hub, "$s", 2, gw_hash("$s", 2))->route, 1);
    assert_int_equal(gw_channel_find(hub, "a/b", 3, gw_hash("a/b", 3))->route, 0);
    assert_null(gw_channel_find(hub, "$other", 6, gw_hash("$other", 6)));
    char cursor[64];
    gw_hub_cursor(hub, cursor);
    assert_string_equal(cursor, EPOCH ".3");

    /* A reload takes the route of a/b away, and moves the one of $s. */
    struct gw_config *next = make_config(5, 100000, 1000);
    free(next->routes[0].topic);
    next->routes[0].topic = strdup("$s");
    next->routes[0].history.count = 1;
    free(next->routes[1].topic);
    next->routes[1].topic = strdup("x/#");
    struct gw_routes *table = gw_routes_build(next);
    struct gw_event event = {.type = GW_EVENT_RELOAD, .u.reload = {table, next, NULL}};
    gw_hub_handle(hub, &event);
    take_in("$s", 4);
    take_in("a/b", 5);
    take_in("x/y", 6);
    const struct gw_channel *moved = gw_channel_find(hub, "$s", 2, gw_hash("$s", 2));
    assert_int_equal(moved->route, 0);
    assert_int_equal(moved->engine->count(moved->history), 1); /* the new policy holds */
    assert_int_equal(gw_hub_last(hub, NULL, "a/b", 3)->seq, 2);
    assert_int_equal(gw_hub_last(hub, NULL, "x/y", 3)->seq, 6);
    teardown_hub();
}

/* Numbers begin anew: whoever subscribes is ended, and comes back with a cursor that is of another epoch. */
static void test_new_epoch(void **state)
{
    (void)state;
    setup_hub(10, 100000, 1000);
    for (unsigned i = 0; i < 3; i++)
        send_message(0, "1", false);
    struct client *subscriber = &clients[0], *other = &clients[1], *again = &clients[2];
    struct gw_subscribed out;
    gw_session_open(&subscriber->session, hub, &ops);
    gw_session_open(&other->session, hub, &ops);
    assert_int_equal(subscribe(subscriber, "a", GW_START_NOW, NULL, &out), GW_OK);
    store.sink.epoch(store.sink.context, "second");
    take_inbox(true);
    assert_true(subscriber->kicked);
    assert_false(other->kicked);
    assert_null(gw_hub_last(hub, NULL, "a", 1));
    char cursor[64];
    gw_hub_cursor(hub, cursor);
    assert_string_equal(cursor, "second.0");

    struct gw_message_spec spec = {.channel = "a",
                                   .channel_len = 1,
                                   .json = "2",
                                   .json_len = 1,
                                   .payload = "2",
                                   .payload_len = 1,
                                   .epoch = "second",
                                   .seq = 1};
    store.sink.message(store.sink.context, &spec);
    take_inbox(true);
    assert_int_equal(subscribe(other, "a", GW_START_LAST, NULL, &out), GW_OK);
    gw_session_catch_up(&other->session);
    struct gw_item item;
    assert_true(gw_session_next(&other->session, &item));
    assert_int_equal(item.type, GW_ITEM_MESSAGE);
    gw_item_release(&item);

    gw_session_open(&again->session, hub, &ops);
    assert_int_equal(subscribe(again, "a", GW_START_CURSOR, EPOCH ".3", &out), GW_OK);
    assert_false(out.recovered);
    gw_session_catch_up(&again->session);
    assert_true(gw_session_next(&again->session, &item));
    assert_int_equal(item.type, GW_ITEM_GAP);
    assert_string_equal(item.u.gap->reason, "epoch");
    gw_item_release(&item);
    assert_true(gw_session_next(&again->session, &item));
    assert_int_equal(item.type, GW_ITEM_MESSAGE);
    assert_int_equal(item.u.message->seq, 1);
    gw_item_release(&item);
    teardown_hub();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_routes_by_name),
        cmocka_unit_test(test_new_epoch),
        cmocka_unit_test(test_slices),
        cmocka_unit_test(test_snapshot),
        cmocka_unit_test(test_snapshot_beside_a_resumed_filter),
        cmocka_unit_test(test_snapshot_larger_than_the_queue),
        cmocka_unit_test(test_repeats_and_clears),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_control_flood_is_bounded),
        cmocka_unit_test(test_references),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
