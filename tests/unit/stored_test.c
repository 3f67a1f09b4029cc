/* Which last values the broker may have forgotten, and a clear that counts for values from before only. */
#include "hub/stored.h"

#include "check.h"
#include "gateway/codec.h"
#include "hub/hub_private.h"
#include "hub/inbox.h"
#include "route/routes.h"
#include "topic/pattern.h"

#define SINCE 5000

static struct gw_config *config;
static struct gw_hub *hub;
static struct gw_timers timers;
static uint64_t head;
static struct gw_stored_ask *answer;

static int setup(void **state)
{
    (void)state;
    static const char *const topics[][2] = {{"home/#", NULL}, {"a/{x}/+", "x/{x}"}, {"b/{x}", "x/{x}"}};
    config = calloc(1, sizeof *config);
    atomic_init(&config->refs, 1);
    config->file = strdup("test");
    config->route_count = COUNT(topics);
    config->routes = calloc(COUNT(topics), sizeof *config->routes);
    for (size_t i = 0; i < COUNT(topics); i++) {
        config->routes[i].topic = strdup(topics[i][0]);
        config->routes[i].channel = topics[i][1] ? strdup(topics[i][1]) : NULL;
        config->routes[i].codec = gw_codec_find("auto");
        config->routes[i].history_engine = gw_history_find("memory");
        config->routes[i].history = (struct gw_history_limits){.count = 10, .bytes = 1 << 20};
    }
    config->limits = (struct gw_cfg_limits){.queue_bytes = 1 << 20, .channels = 20000, .history_bytes = 1 << 24};
    struct gw_routes *routes = gw_routes_build(config);
    gw_timers_init(&timers);
    struct gw_hub_setup hub_setup = {.epoch = "test", .config = config, .routes = routes, .timers = &timers};
    hub = gw_hub_create(&hub_setup);
    gw_hub_tick(hub, 1000, 1000000);
    gw_routes_unref(routes);
    head = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gw_stored_ask_free(answer);
    answer = NULL;
    gw_hub_destroy(hub);
    gw_timers_fini(&timers);
    gw_config_unref(config);
    return 0;
}

enum kind { LIVE, LIVE_STORED, RETAINED, CLEAR, GONE };

static void send(const char *name, int64_t ts, enum kind kind)
{
    bool clear = kind == CLEAR || kind == GONE;
    struct gw_message_spec spec = {.channel = name,
                                   .channel_len = strlen(name),
                                   .json = clear ? "null" : "1",
                                   .json_len = clear ? 4 : 1,
                                   .payload = clear ? "" : "1",
                                   .payload_len = !clear,
                                   .epoch = "test",
                                   .seq = ++head,
                                   .ts = ts,
                                   .route = kind == GONE ? GW_ROUTE_BY_NAME : name[0] == 'x',
                                   .retained = kind == RETAINED || kind == GONE,
                                   .stored = kind == RETAINED || kind == LIVE_STORED,
                                   .clear = clear};
    struct gw_event event = {.type = GW_EVENT_MESSAGE, .u.message = gw_message_create(&spec)};
    gw_hub_handle(hub, &event);
}

static void take_answer(void *context, struct gw_stored_ask *ask)
{
    (void)context;
    assert_null(answer);
    answer = ask;
}

static struct gw_stored_ask *make_ask(void)
{
    struct gw_stored_ask *ask = calloc(1, sizeof *ask);
    ask->answer = take_answer;
    ask->since_ms = SINCE;
    return ask;
}

static void run(struct gw_stored_ask *ask)
{
    gw_stored_ask_free(answer);
    answer = NULL;
    struct gw_event event = {.type = GW_EVENT_STORED, .u.stored = ask};
    gw_hub_handle(hub, &event);
    for (int turns = 0; !answer && turns < 100; turns++) {
        assert_true(gw_hub_busy(hub));
        gw_hub_flush(hub);
    }
    assert_non_null(answer);
    assert_false(gw_hub_busy(hub));
}

static bool has_value(const char *name)
{
    return gw_hub_last(hub, NULL, name, strlen(name)) != NULL;
}

static void test_which_are_in_question(void **state)
{
    (void)state;
    send("home/retained", 1, RETAINED);
    send("home/published", 1, LIVE_STORED);
    send("home/event", 1, LIVE);
    send("home/both", 1, RETAINED);
    send("home/both", 2, LIVE); /* the broker has the first one still */
    send("home/fresh", SINCE, RETAINED);
    send("home/known", 1, RETAINED);
    send("home/cleared", 1, RETAINED);
    send("home/cleared", 2, CLEAR);
    send("x/1", 1, RETAINED);
    struct gw_stored_ask *ask = make_ask();
    gw_hash_set_add(&ask->known, gw_hash("home/known", 10));
    gw_buf_add(&ask->without, "\0\0\1", 3); /* route 2 may make x/1 too, and the broker has not granted it */
    run(ask);
    assert_int_equal(answer->count, 3);
    static const char all[] = "home/retained\0home/published\0home/both";
    assert_int_equal(answer->names.len, sizeof all);
    assert_memory_equal(answer->names.data, all, sizeof all);

    run(make_ask());
    assert_int_equal(answer->count, 5);      /* known, and x/1 */
    send("home/known", SINCE + 1, RETAINED); /* it repeats the last value, and so leaves it as it is: */
    run(make_ask());
    assert_int_equal(answer->count, 5); /* `known` is for that */
}

static void test_many_in_slices(void **state)
{
    (void)state;
    char name[32];
    for (int i = 0; i < 10000; i++) {
        snprintf(name, sizeof name, "home/%d", i);
        send(name, 1, RETAINED);
    }
    run(make_ask());
    assert_int_equal(answer->count, GW_STORED_NAMES);
    struct gw_stored_ask *ask = make_ask();
    gw_hub_flush(hub);
    struct gw_event event = {.type = GW_EVENT_STORED, .u.stored = ask};
    gw_stored_ask_free(answer);
    answer = NULL;
    gw_hub_handle(hub, &event);
    assert_null(answer); /* a turn of the loop does only a part */
    struct gw_event reload = {.type = GW_EVENT_RELOAD,
                              .u.reload = {gw_routes_build(config), gw_config_ref(config), NULL}};
    gw_hub_handle(hub, &reload);
    assert_non_null(answer);
    assert_true(answer->broken_off);
}

static void test_a_clear_for_what_is_old(void **state)
{
    (void)state;
    send("home/old", SINCE - 1, RETAINED);
    send("home/new", SINCE, LIVE);
    send("home/old", SINCE, GONE);
    send("home/new", SINCE, GONE);
    assert_false(has_value("home/old"));
    assert_true(has_value("home/new"));
    uint64_t repeats = atomic_load(&gw_hub_stats(hub)->repeats);
    send("home/old", SINCE, GONE); /* another node may say the same */
    assert_int_equal(atomic_load(&gw_hub_stats(hub)->repeats), repeats + 1);
    struct gw_channel *channel = gw_channel_find(hub, "home/old", 8, gw_hash("home/old", 8));
    assert_non_null(channel);
    assert_int_equal(channel->engine->count(channel->history), 2);
    assert_false(channel->stored);
    send("home/old", 9, LIVE);
    assert_true(has_value("home/old"));
}

static void test_a_clear_looks_as_always(void **state)
{
    (void)state;
    struct gw_message_spec spec = {
        .channel = "c", .channel_len = 1, .json = "null", .json_len = 4, .payload = "", .epoch = "e", .seq = 1};
    spec.clear = spec.retained = spec.stored = true;
    struct gw_message *msg = gw_message_create(&spec);
    assert_null(memmem(msg->text.data, msg->text.len, "retained", 8));
    assert_false(msg->stored);
    gw_message_unref(msg);
}

static void add_filter(void *context, const struct gw_cfg_route *route, const char *filter)
{
    assert_non_null(route);
    gw_buf_printf(context, "%s;", filter);
}

static void test_topics_of_a_channel(void **state)
{
    (void)state;
    struct gw_buf all = {0};
    gw_routes_topics_of_channel(hub->routes, "x/7", 3, add_filter, &all);
    assert_string_equal(all.data, "a/7/+;b/7;");
    gw_buf_clear(&all);
    gw_routes_topics_of_channel(hub->routes, "home/a/b", 8, add_filter, &all);
    assert_string_equal(all.data, "home/a/b;");
    gw_buf_fini(&all);
}

static void test_set(void **state)
{
    (void)state;
    struct gw_hash_set set = {0}, other = {0};
    uint64_t random = 1;
    assert_false(gw_hash_set_has(&set, 0));
    for (int i = 0; i < 10000; i++)
        gw_hash_set_add(i % 2 ? &set : &other, check_random(&random));
    gw_hash_set_add(&set, 0);
    gw_hash_set_add(&set, 0);
    gw_hash_set_merge(&set, &other);
    random = 1;
    for (int i = 0; i < 10000; i++)
        assert_true(gw_hash_set_has(&set, check_random(&random)));
    assert_true(gw_hash_set_has(&set, 0));
    assert_false(gw_hash_set_has(&set, UINT64_C(1) << 40));
    assert_in_range(set.count, 9990, 10001);
    gw_hash_set_fini(&set);
    gw_hash_set_fini(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_which_are_in_question, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_in_slices, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_clear_for_what_is_old, setup, teardown),
        cmocka_unit_test_setup_teardown(test_topics_of_a_channel, setup, teardown),
        cmocka_unit_test(test_a_clear_looks_as_always),
        cmocka_unit_test(test_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
