/* The same model as in hub_test.c with a part of a turn for each session: subscriptions come and go while they walk
 * the sequence in slices. */
#include "check.h"
#include "gateway/hub.h"
#include "gateway/topic.h"
#include "hub/session/fetch.h"
#include "hub_world.h"
#include "message/cursor.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_slices)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
