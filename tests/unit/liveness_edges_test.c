/* What a channel's state is where things go wrong: at limits.channels, in the turn of a reload, with an engine that
 * takes nothing. */
#include "liveness_world.h"

/* Times at which nothing is told: another process does that, or the engine takes nothing. However many come and go,
 * the table stays near its limit. */
static void test_nothing_is_told(void **state)
{
    (void)state;
    int64_t now = 1000;
    struct gw_routes *routes = make_routes(STALE_MS, NULL, 20);
    struct gw_liveness *liveness = gw_liveness_create(now);
    uint64_t counts[GW_STATE_COUNT], all = 0;
    gw_liveness_configure(liveness, routes);
    gw_liveness_up(liveness, true, false, false, now);
    for (unsigned i = 0; i < 20000; i++) {
        char name[16];
        snprintf(name, sizeof name, "c/%u", i);
        say(liveness, name, i % 2, false, ++now); /* every second one is of unknown state, which is not told */
        if (i % 4 == 3)
            say(liveness, name, true, true, ++now);
    }
    gw_liveness_count(liveness, counts);
    for (unsigned i = 0; i < GW_STATE_COUNT; i++)
        all += counts[i];
    assert_true(all <= 20 + 1024 + 1);
    gw_liveness_destroy(liveness);
    gw_routes_unref(routes);
}

/* What was given up at limits.channels and comes back: clients know it as unknown, and must hear that it lives. */
static void test_given_up_and_back(void **state)
{
    (void)state;
    int64_t now = 1000;
    struct gw_routes *routes = make_routes(STALE_MS, NULL, 20);
    struct gw_liveness *liveness = gw_liveness_create(now);
    struct heard heard = {{0}, 0};
    gw_liveness_configure(liveness, routes);
    gw_liveness_up(liveness, true, false, false, now);
    for (unsigned step = 0; step < 2000; step++) {
        unsigned index = step * 7 % CHANNELS;
        char name[16];
        snprintf(name, sizeof name, "c/%u", index);
        say(liveness, name, false, false, ++now);
        listen_to(liveness, &heard, now);
        assert_true(heard.states[index] == GW_STATE_NONE || heard.states[index] == GW_STATE_LIVE);
    }
    gw_liveness_destroy(liveness);
    gw_routes_unref(routes);
}

static struct gw_routes *make_some(size_t count, const char *const *topics, const char *const *words)
{
    struct gw_config *config = calloc(1, sizeof *config);
    atomic_init(&config->refs, 1);
    config->file = strdup("test");
    config->route_count = count;
    config->routes = calloc(count, sizeof *config->routes);
    for (size_t i = 0; i < count; i++) {
        config->routes[i].topic = strdup(topics[i]);
        config->routes[i].codec = gw_codec_find("auto");
        config->routes[i].history_engine = gw_history_find("memory");
        config->routes[i].available_topic = strdup(words[i]);
    }
    config->limits.channels = 1000;
    struct gw_routes *routes = gw_routes_build(config);
    gw_config_unref(config);
    return routes;
}

/* What comes in the turn of a reload, before the channels have met it. */
static void test_reload_and_news(void **state)
{
    (void)state;
    int64_t now = 1000;
    static const char *const shorter_topics[] = {"c/{id}"}, *const shorter_words[] = {"c/{id}/availability"};
    static const char *const longer_topics[] = {"other/{id}", "c/{id}"};
    static const char *const longer_words[] = {"other/{id}/availability", "c/{id}/availability"};
    struct gw_routes *first = make_routes(0, "c/{id}/availability", 1000);
    struct gw_routes *shorter = make_some(1, shorter_topics, shorter_words);
    struct gw_routes *longer = make_some(2, longer_topics, longer_words);
    struct gw_liveness *liveness = gw_liveness_create(now);
    struct heard heard = {{0}, 0};
    gw_liveness_configure(liveness, longer);
    gw_liveness_up(liveness, true, false, false, now);
    say(liveness, "c/1", false, false, now);
    available(liveness, "c/1/availability", "online", true, now);
    gw_liveness_configure(liveness, shorter); /* its index is beyond the end */
    available(liveness, "c/1/availability", "offline", true, now);
    listen_to(liveness, &heard, now);
    assert_int_equal(heard.states[1], GW_STATE_OFFLINE);
    gw_liveness_configure(liveness, longer);
    available(liveness, "c/1/availability", "online", true, now);
    gw_liveness_configure(liveness, shorter);
    const struct gw_message_spec other = {
        .channel = "c/1", .channel_len = 3, .route = GW_ROUTE_BY_NAME, .state = GW_STATE_STALE};
    gw_liveness_message(liveness, &other, now); /* another process has told it */
    listen_to(liveness, &heard, now);
    assert_int_equal(heard.states[1], GW_STATE_LIVE);
    /* A route without it, and the payload is cleared: channel and word go together. */
    struct gw_routes *without = make_routes(STALE_MS, NULL, 1000);
    gw_liveness_configure(liveness, first);
    available(liveness, "c/1/availability", "", true, now);
    gw_liveness_configure(liveness, without);
    available(liveness, "c/1/availability", "offline", false, now);
    gw_liveness_tick(liveness, now);
    listen_to(liveness, &heard, now);
    assert_int_equal(heard.states[1], GW_STATE_LIVE);
    gw_liveness_destroy(liveness);
    gw_routes_unref(first);
    gw_routes_unref(shorter);
    gw_routes_unref(longer);
    gw_routes_unref(without);
}

/* The engine takes nothing: it is tried again, and not without a pause. */
static void test_untold(void **state)
{
    (void)state;
    int64_t now = 1000;
    struct gw_routes *routes = make_routes(STALE_MS, NULL, 20);
    struct gw_liveness *liveness = gw_liveness_create(now);
    struct gw_liveness_change change = {.route = 0};
    gw_liveness_configure(liveness, routes);
    gw_liveness_up(liveness, true, false, false, now);
    gw_liveness_tick(liveness, now);
    say(liveness, "c/1", true, false, now);
    assert_int_equal(gw_liveness_wait(liveness, true, now, 500), 0);
    assert_true(gw_liveness_next(liveness, &change, now));
    gw_liveness_untold(liveness, &change, now);
    assert_false(gw_liveness_next(liveness, &change, now));
    int64_t wait = gw_liveness_wait(liveness, true, now, 500);
    assert_in_range(wait, 50, 200);
    assert_true(gw_liveness_next(liveness, &change, now + wait));
    assert_int_equal(change.state, GW_STATE_UNKNOWN);
    /* Two are underway, and the older one comes back: the newer one is still the last that was told. */
    say(liveness, "c/1", false, false, now + wait);
    assert_true(gw_liveness_next(liveness, &change, now + wait));
    assert_int_equal(change.state, GW_STATE_LIVE);
    const struct gw_message_spec back = {
        .channel = "c/1", .channel_len = 3, .route = GW_ROUTE_BY_NAME, .state = GW_STATE_UNKNOWN};
    gw_liveness_message(liveness, &back, now + wait);
    assert_false(gw_liveness_next(liveness, &change, now + wait));
    gw_liveness_lost(liveness); /* the newer one never comes */
    assert_true(gw_liveness_next(liveness, &change, now + wait));
    assert_int_equal(change.state, GW_STATE_LIVE);
    gw_buf_fini(&change.channel);
    gw_liveness_destroy(liveness);
    gw_routes_unref(routes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_told),
        cmocka_unit_test(test_given_up_and_back),
        cmocka_unit_test(test_reload_and_news),
        cmocka_unit_test(test_untold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
