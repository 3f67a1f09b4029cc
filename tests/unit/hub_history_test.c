/* The history of a channel, above all of one that has had a single message and therefore no instance of its engine:
 * to everybody else it is a history like any other. */
#include "check.h"
#include "gateway/clock.h"
#include "hub/channel/channel.h"
#include "hub/channel/history.h"
#include "hub/inbox.h"
#include "hub_world.h"
#include "route/routes.h"

#define QUEUE   100000
#define HOUR    ((int64_t)3600 * 1000)
#define PLENTY  10
#define CHANNEL 0
#define LARGEST ((size_t)1 << 20)
#define NAME    "a"
#define ONE     "1"

static struct gw_channel *channel(void)
{
    return gw_channel_find(hub, NAME, strlen(NAME), gw_hash(NAME, strlen(NAME)));
}

static void reload(const struct gw_history_limits *limits, const char *engine)
{
    struct gw_config *next = make_config(limits->count, QUEUE, 1000);
    for (size_t i = 0; i < next->route_count; i++) {
        next->routes[i].history = *limits;
        next->routes[i].history_engine = gw_history_find(engine);
    }
    struct gw_routes *table = gw_routes_build(next);
    struct gw_event event = {.type = GW_EVENT_RELOAD, .u.reload = {table, next, NULL}};
    gw_hub_flush(hub);
    gw_hub_handle(hub, &event);
    check_history_bytes();
}

struct read {
    uint64_t seqs[8];
    size_t count;
};

static bool read_one(void *context, struct gw_message *msg)
{
    struct read *read = context;
    read->seqs[read->count++] = msg->seq;
    return true;
}

/* The history holds these numbers after `after`, and nothing that is gone is newer than `evicted`. */
static void check_history(uint64_t after, uint64_t first, uint64_t last, uint64_t evicted)
{
    struct read read = {0};
    gw_channel_history_read(channel(), after, read_one, &read);
    assert_int_equal(read.count, last < first ? 0 : last - first + 1);
    for (size_t i = 0; i < read.count; i++)
        assert_int_equal(read.seqs[i], first + i);
    assert_int_equal(gw_channel_history_evicted(channel()), evicted);
    check_history_bytes();
}

static void test_one_message(void **state)
{
    (void)state;
    setup_hub(PLENTY, QUEUE, 1000);
    send_message(CHANNEL, ONE, false);
    assert_null(channel()->history);
    assert_int_equal(gw_channel_history_count(channel()), 1);
    assert_int_equal(hub->channels.history_bytes, gw_message_size(channel()->last));
    check_history(0, 1, 1, 0);
    check_history(1, 1, 0, 0);
    send_message(CHANNEL, "2", false);
    assert_non_null(channel()->history);
    check_history(0, 1, 2, 0);
    check_history(1, 2, 2, 0);
    teardown_hub();
}

static void test_bounds_of_one(void **state)
{
    (void)state;
    setup_hub(1, QUEUE, 1000);
    send_message(CHANNEL, ONE, false);
    assert_null(channel()->history);
    check_history(0, 1, 1, 0);
    send_message(CHANNEL, "2", false);
    check_history(0, 2, 2, 1);
    teardown_hub();

    setup_hub(0, QUEUE, 1000);
    send_message(CHANNEL, ONE, false);
    check_history(0, 1, 0, 1);
    assert_int_equal(channel()->last->seq, 1);
    teardown_hub();

    setup_hub(PLENTY, QUEUE, 1000);
    config->routes[0].history.bytes = 10; /* less than any message */
    send_message(CHANNEL, ONE, false);
    check_history(0, 1, 0, 1);
    teardown_hub();
}

/* The value goes, the history stays: it has the message that cleared it, too. */
static void test_cleared(void **state)
{
    (void)state;
    setup_hub(PLENTY, QUEUE, 1000);
    send_message(CHANNEL, ONE, false);
    send_message(CHANNEL, "", false);
    assert_null(channel()->last);
    check_history(0, 1, 2, 0);
    send_message(CHANNEL, "3", false);
    check_history(0, 1, 3, 0);
    teardown_hub();

    setup_hub(PLENTY, QUEUE, 1000);
    send_message(CHANNEL, "", false); /* the first that comes */
    assert_null(channel()->last);
    check_history(0, 1, 1, 0);
    teardown_hub();
}

static void test_reload(void **state)
{
    (void)state;
    static const struct gw_history_limits most = {.count = PLENTY, .bytes = LARGEST};
    static const struct {
        struct gw_history_limits limits;
        bool kept;
    } rows[] = {
        {{.count = 1, .bytes = LARGEST}, true},
        {{.count = 200, .bytes = LARGEST}, true},
        {{.count = PLENTY, .bytes = LARGEST, .age_ms = 3 * HOUR}, true},
        {{.count = 0, .bytes = LARGEST}, false},
        {{.count = PLENTY, .bytes = 10}, false},
        {{.count = PLENTY, .bytes = LARGEST, .age_ms = HOUR}, false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        setup_hub(PLENTY, QUEUE, 1000);
        send_message(CHANNEL, ONE, false);
        gw_hub_tick(hub, now_ms, gw_wall_ms() + 2 * HOUR);
        reload(&rows[i].limits, "memory");
        bool kept = rows[i].kept;
        check_history(0, 1, kept, kept ? 0 : 1);
        assert_int_equal(channel()->last->seq, 1); /* whatever becomes of the history */
        reload(&most, "memory");                   /* what is gone is gone */
        check_history(0, 1, kept, kept ? 0 : 1);
        send_message(CHANNEL, "2", false);
        check_history(0, kept ? 1 : 2, 2, kept ? 0 : 1);
        teardown_hub();
    }
}

/* limits.history: the oldest go, and are told as missing only where a newer value has come. */
static void test_all_histories_are_bounded(void **state)
{
    (void)state;
    setup_hub(PLENTY, QUEUE, 1000);
    send_message(CHANNEL, ONE, false);
    config->limits.history_bytes = 2 * gw_message_size(channel()->last) + 20;
    send_message(1, ONE, false);
    assert_null(channel()->history);
    send_message(2, ONE, false);
    assert_int_equal(atomic_load(&hub->stats.history_evicted), 1);
    check_history(0, 1, 0, 1);
    assert_int_equal(gw_channel_evicted(channel()), 0);
    assert_int_equal(gw_channel_missing(channel()), 1);
    send_message(CHANNEL, "2", false);
    assert_int_equal(gw_channel_evicted(channel()), 1);
    check_history(0, 4, 4, 1);
    teardown_hub();
}

/* What the engine loses counts as missing; of the history no more is gone than was in it. */
static void test_lost_since(void **state)
{
    (void)state;
    setup_hub(PLENTY, QUEUE, 1000);
    send_message(CHANNEL, ONE, false);
    store.seq = 9;
    store.sink.lost(store.sink.context, 9);
    take_inbox(true);
    check_history(0, 1, 1, 0);
    assert_int_equal(gw_channel_evicted(channel()), 9);
    config->limits.history_bytes = 10;
    gw_channels_relimit(hub);
    check_history(0, 1, 0, 1);
    assert_int_equal(gw_channel_evicted(channel()), 9);
    config->limits.history_bytes = LARGEST;
    send_message(CHANNEL, "2", false);
    check_history(0, 10, 10, 1);
    teardown_hub();
}

/* --- `store: disk` ---------------------------------------------------------------------------------------------- */

static uint64_t kept[8], kept_evicted;
static unsigned kept_count, forgotten;

static void keeper_keep(struct gw_engine_store *to, const struct gw_engine_channel *numbers, struct gw_message *msg)
{
    assert_ptr_equal(to, &store);
    assert_true(numbers->kept);
    kept[kept_count++] = msg->seq;
    kept_evicted = numbers->evicted;
}

static void keeper_update(struct gw_engine_store *to, const struct gw_engine_channel *numbers)
{
    assert_ptr_equal(to, &store);
    kept_evicted = numbers->evicted;
}

static void keeper_forget(struct gw_engine_store *to, const struct gw_engine_channel *numbers, bool whole)
{
    assert_ptr_equal(to, &store);
    assert_true(numbers->kept && !whole);
    forgotten++;
}

static const struct gw_engine keeper = {
    .name = "keeper", .keep = keeper_keep, .update = keeper_update, .forget = keeper_forget};

/* The single message is stored when its route begins to keep it, with or without a history, and forgotten once. */
static void test_kept_from_now_on(void **state)
{
    (void)state;
    for (uint32_t count = 0; count < 3; count++) {
        setup_hub(PLENTY, QUEUE, 1000);
        hub->keeper = &keeper;
        hub->store = &store;
        kept_count = forgotten = 0;
        send_message(CHANNEL, ONE, false);
        assert_int_equal(kept_count, 0);
        const struct gw_history_limits limits = {.count = count, .bytes = LARGEST};
        reload(&limits, "disk");
        assert_int_equal(kept_count, 1);
        assert_int_equal(kept[0], 1);
        assert_int_equal(kept_evicted, count ? 0 : 1);
        check_history(0, 1, count ? 1 : 0, count ? 0 : 1);
        send_message(CHANNEL, "2", false);
        assert_int_equal(kept_count, 2);
        assert_int_equal(kept[1], 2);
        reload(&limits, "memory");
        assert_int_equal(forgotten, 1);
        check_history(0, count ? 3 - count : 1, count ? 2 : 0, 2 - count);
        teardown_hub();
    }
}

static void test_kept_from_the_start(void **state)
{
    (void)state;
    setup_hub(PLENTY, QUEUE, 1000);
    config->routes[0].history_engine = gw_history_find("disk");
    hub->keeper = &keeper;
    hub->store = &store;
    kept_count = 0;
    send_message(CHANNEL, ONE, false);
    assert_non_null(channel()->history);
    assert_int_equal(kept_count, 1);
    check_history(0, 1, 1, 0);
    teardown_hub();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_message),
        cmocka_unit_test(test_bounds_of_one),
        cmocka_unit_test(test_cleared),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_all_histories_are_bounded),
        cmocka_unit_test(test_lost_since),
        cmocka_unit_test(test_kept_from_now_on),
        cmocka_unit_test(test_kept_from_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
