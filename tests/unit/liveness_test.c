/* What a channel's state is: the rule by a table, the rhythm by courses of messages, and the whole against a plain
 * model. The clock is the test's. */
#include "liveness_world.h"

#define NEVER GW_NEVER_MS
#define NOT   GW_NOT_MS
#define NONE  GW_WORD_NONE
#define ON    GW_WORD_ONLINE
#define OFF   GW_WORD_OFFLINE

static void test_rule(void **state)
{
    (void)state;
    static const struct {
        const char *row;
        struct gw_liveness_facts facts; /* now, seen, limit, {listening since, away}, word, when */
        enum gw_state expected;
        int64_t until;
    } rows[] = {
        {"a message just now", {100, 100, 50, {0, 0}, NONE, NEVER}, GW_STATE_LIVE, 150},
        {"the last moment", {149, 100, 50, {0, 0}, NONE, NEVER}, GW_STATE_LIVE, 150},
        {"silence", {150, 100, 50, {0, 0}, NONE, NEVER}, GW_STATE_STALE, NOT},
        {"a stored value", {10, NEVER, 50, {0, 0}, NONE, NEVER}, GW_STATE_UNKNOWN, 50},
        {"a stored value, and silence", {50, NEVER, 50, {0, 0}, NONE, NEVER}, GW_STATE_STALE, NOT},
        {"a break, and time left", {120, 100, 50, {110, 105}, NONE, NEVER}, GW_STATE_LIVE, 150},
        {"silence with a break", {150, 100, 50, {110, 105}, NONE, NEVER}, GW_STATE_UNKNOWN, 160},
        {"silence after a break", {160, 100, 50, {110, 105}, NONE, NEVER}, GW_STATE_STALE, NOT},
        {"the broker away", {149, 100, 50, {NOT, 105}, NONE, NEVER}, GW_STATE_LIVE, 150},
        {"the broker away for long", {100000, 100, 50, {NOT, 105}, NONE, NEVER}, GW_STATE_UNKNOWN, NOT},
        {"never connected, stored", {100000, NEVER, 50, {NOT, 0}, NONE, NEVER}, GW_STATE_UNKNOWN, NOT},
        {"offline is said", {100, 100, 50, {0, 0}, OFF, 90}, GW_STATE_OFFLINE, NOT},
        {"offline, the broker away", {100, 100, 0, {NOT, 50}, OFF, 20}, GW_STATE_OFFLINE, NOT},
        {"online and silent", {150, 100, 50, {0, 0}, ON, 149}, GW_STATE_STALE, NOT},
        {"online alone", {100, NEVER, 0, {0, 0}, ON, 90}, GW_STATE_LIVE, NOT},
        {"a message alone", {100, 50, 0, {0, 0}, NONE, NEVER}, GW_STATE_LIVE, NOT},
        {"nothing said", {100, NEVER, 0, {0, 0}, NONE, NEVER}, GW_STATE_UNKNOWN, NOT},
        {"online, just away", {200, NEVER, 0, {NOT, 100}, ON, 90}, GW_STATE_LIVE, 10100},
        {"online, long away", {10100, NEVER, 0, {NOT, 100}, ON, 90}, GW_STATE_UNKNOWN, NOT},
        {"online, shortly away, back", {300, NEVER, 0, {250, 100}, ON, 90}, GW_STATE_LIVE, 2250},
        {"online, and it was not said again", {2250, NEVER, 0, {250, 100}, ON, 90}, GW_STATE_UNKNOWN, NOT},
        {"online, said again", {2250, NEVER, 0, {250, 100}, ON, 260}, GW_STATE_LIVE, NOT},
        {"online, long away, back", {30000, 50, 0, {30000, 100}, ON, 90}, GW_STATE_UNKNOWN, NOT},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        int64_t until;
        CHECK_ROW(gw_liveness_rule(&rows[i].facts, &until) == rows[i].expected, rows[i].row);
        CHECK_ROW(until == rows[i].until, rows[i].row);
    }
}

/* Messages at these distances. Returns the limit after them. */
static int64_t course(struct gw_rhythm *rhythm, int64_t *now, const int64_t *gaps, size_t count)
{
    const struct gw_listening listening = {0, 0};
    for (size_t i = 0; i < count; i++) {
        *now += gaps[i];
        gw_rhythm_note(rhythm, &listening, *now);
    }
    return gw_rhythm_limit(rhythm);
}

static void test_rhythm(void **state)
{
    (void)state;
    struct gw_rhythm rhythm = {.at_ms = NEVER};
    int64_t now = 1000, minute = 60000;
    const int64_t regular[] = {0, minute, minute, minute};
    assert_int_equal(course(&rhythm, &now, regular, 3), GW_RHYTHM_MAX_MS); /* it is not known yet */
    now = 1000;
    rhythm = (struct gw_rhythm){.at_ms = NEVER};
    assert_int_equal(course(&rhythm, &now, regular, 4), 4 * minute);
    const int64_t burst[] = {10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10}; /* one message, so to say */
    course(&rhythm, &now, burst, COUNT(burst));
    assert_int_equal(gw_rhythm_limit(&rhythm), 4 * minute);
    const int64_t away[] = {100 * minute}; /* it was off, which says little */
    course(&rhythm, &now, away, 1);
    assert_in_range(gw_rhythm_limit(&rhythm), 7 * minute, 8 * minute);
    for (unsigned i = 0; i < 40; i++)
        course(&rhythm, &now, &minute, 1);
    assert_in_range(gw_rhythm_limit(&rhythm), 4 * minute, 5 * minute);
    const int64_t second = 1000;
    for (unsigned i = 0; i < 3000; i++)
        course(&rhythm, &now, &second, 1);
    assert_int_equal(gw_rhythm_limit(&rhythm), GW_RHYTHM_MIN_MS);
    const int64_t day = 86400 * 1000;
    for (unsigned i = 0; i < 40; i++)
        course(&rhythm, &now, &day, 1);
    assert_int_equal(gw_rhythm_limit(&rhythm), GW_RHYTHM_MAX_MS);
    /* What lies between two connections is no interval. */
    const struct gw_listening back = {now + 5000, now + 1};
    const struct gw_rhythm before = rhythm;
    gw_rhythm_note(&rhythm, &back, now + 6000);
    assert_int_equal(rhythm.interval_ms, before.interval_ms);
    assert_int_equal(rhythm.at_ms, now + 6000);
}

/* --- the whole -------------------------------------------------------------------------------------------------- */

/* Every channel, by a plain look at when it spoke. */
static void test_against_a_model(void **state)
{
    (void)state;
    struct gw_routes *routes = make_routes(STALE_MS, NULL, 1000);
    uint64_t seed = 5;
    int64_t now = 1000000, listening = now;
    struct gw_liveness *liveness = gw_liveness_create(now);
    gw_liveness_configure(liveness, routes);
    gw_liveness_up(liveness, true, false, false, now);
    struct heard heard = {{0}, 0};
    int64_t seen[CHANNELS];
    bool known[CHANNELS] = {false};
    for (unsigned i = 0; i < CHANNELS; i++) {
        seen[i] = NEVER;
        heard.states[i] = GW_STATE_LIVE;
    }
    for (unsigned step = 0; step < 20000; step++) {
        unsigned index = check_random(&seed) % (step % 4000 < 2000 ? CHANNELS : CHANNELS / 2);
        char name[16];
        snprintf(name, sizeof name, "c/%u", index);
        bool retained = check_random(&seed) % 8 == 0;
        if (check_random(&seed) % 300 == 0) { /* the broker goes for a while */
            gw_liveness_up(liveness, false, false, false, now);
            now += 300;
            gw_liveness_up(liveness, true, false, false, now);
            listening = now;
        } else {
            say(liveness, name, retained, false, now);
            known[index] = true;
            if (!retained)
                seen[index] = now;
        }
        now += check_random(&seed) % 200;
        gw_liveness_tick(liveness, now);
        listen_to(liveness, &heard, now);
        for (unsigned i = 0; i < CHANNELS; i++) {
            int64_t until, late = now - LATE_MS;
            struct gw_liveness_facts facts = {now, seen[i], STALE_MS, {listening, listening}, NONE, NEVER};
            enum gw_state due = known[i] ? gw_liveness_rule(&facts, &until) : GW_STATE_LIVE;
            facts.now_ms = late > seen[i] ? late : now;
            enum gw_state before = known[i] ? gw_liveness_rule(&facts, &until) : GW_STATE_LIVE;
            assert_true(heard.states[i] == due || heard.states[i] == before);
        }
    }
    uint64_t counts[GW_STATE_COUNT], all = 0;
    gw_liveness_count(liveness, counts);
    for (unsigned i = 0; i < GW_STATE_COUNT; i++)
        all += counts[i];
    assert_int_equal(all, CHANNELS);
    assert_true(heard.changes > 100);
    gw_liveness_destroy(liveness);
    gw_routes_unref(routes);
}

static void test_availability(void **state)
{
    (void)state;
    struct gw_routes *routes = make_routes(0, "c/{id}/availability", 1000);
    int64_t now = 1000;
    struct gw_liveness *liveness = gw_liveness_create(now);
    struct heard heard = {{0}, 0};
    gw_liveness_configure(liveness, routes);
    gw_liveness_up(liveness, true, false, false, now);
    available(liveness, "c/1/availability", "offline", true, now); /* before its channel is there */
    available(liveness, "d/1/availability", "offline", false, now);
    say(liveness, "c/1", true, false, now);
    listen_to(liveness, &heard, now);
    assert_int_equal(heard.states[1], GW_STATE_OFFLINE);
    static const char *const online[] = {
        "online",
        "ONLINE\n",
        "\"online\"",
        "{\"state\":\"online\"}",
        " { \"a\": 1, \"state\" : \"Online\" } ",
        "{\"state\":\"online\",\"more\":\"0123456789012345678901234567890123456789012345"
        "6789012345678901234567890123456789012345678901234567890123456789\"}"};
    static const char *const offline[] = {"offline",     "1",       "{\"state\":\"offline\"}",
                                          "{\"state\":", "{}",      "null",
                                          "onlin",       "onlinee", "{\"state\":\"\"}"};
    for (size_t i = 0; i < COUNT(offline); i++) {
        available(liveness, "c/1/availability", online[i % COUNT(online)], true, now);
        listen_to(liveness, &heard, now);
        CHECK_ROW(heard.states[1] == GW_STATE_LIVE, online[i % COUNT(online)]);
        available(liveness, "c/1/availability", offline[i], true, now);
        listen_to(liveness, &heard, now);
        CHECK_ROW(heard.states[1] == GW_STATE_OFFLINE, offline[i]);
    }
    available(liveness, "c/1/availability", "", true, now); /* cleared: nothing is known */
    listen_to(liveness, &heard, now);
    assert_int_equal(heard.states[1], GW_STATE_UNKNOWN);
    gw_liveness_destroy(liveness);
    gw_routes_unref(routes);
}

static void test_leaving(void **state)
{
    (void)state;
    int64_t now = 1000;
    struct gw_routes *routes = make_routes(STALE_MS, NULL, 20), *without = make_routes(0, NULL, 20);
    struct gw_liveness *liveness = gw_liveness_create(now);
    struct heard heard = {{0}, 0};
    uint64_t counts[GW_STATE_COUNT];
    gw_liveness_configure(liveness, routes);
    gw_liveness_up(liveness, true, false, false, now);
    for (unsigned i = 0; i < CHANNELS; i++) { /* twice as many as limits.channels */
        char name[16];
        snprintf(name, sizeof name, "c/%u", i);
        say(liveness, name, false, false, now + i);
        listen_to(liveness, &heard, now + i);
    }
    unsigned unknown = 0;
    for (unsigned i = 0; i < CHANNELS; i++)
        unknown += heard.states[i] == GW_STATE_UNKNOWN;
    assert_int_equal(unknown, CHANNELS - 20);
    /* What is cleared has no state, and nothing is told of it. */
    unsigned before = heard.changes;
    say(liveness, "c/39", true, true, now + 50);
    listen_to(liveness, &heard, now + 50);
    assert_int_equal(heard.changes, before);
    now += 100 + STALE_MS + LATE_MS;
    gw_liveness_tick(liveness, now - 1000);
    gw_liveness_tick(liveness, now);
    listen_to(liveness, &heard, now);
    gw_liveness_count(liveness, counts);
    assert_int_equal(counts[GW_STATE_STALE] + counts[GW_STATE_UNKNOWN], 19);
    /* A route without both lets go of all of them: they are live again. */
    gw_liveness_configure(liveness, without);
    gw_liveness_tick(liveness, now + 10);
    listen_to(liveness, &heard, now + 10);
    gw_liveness_count(liveness, counts);
    for (unsigned i = 0; i < GW_STATE_COUNT; i++)
        assert_int_equal(counts[i], 0);
    gw_liveness_destroy(liveness);
    gw_routes_unref(routes);
    gw_routes_unref(without);
}

/* A turn that comes much too late has heard nothing: nobody is called stale for that. */
static void test_held_up(void **state)
{
    (void)state;
    int64_t now = 1000;
    struct gw_routes *routes = make_routes(STALE_MS, NULL, 20);
    struct gw_liveness *liveness = gw_liveness_create(now);
    struct heard heard = {{0}, 0};
    gw_liveness_configure(liveness, routes);
    gw_liveness_up(liveness, true, false, false, now);
    say(liveness, "c/0", false, false, now);
    gw_liveness_tick(liveness, now);
    now += 10 * STALE_MS;
    gw_liveness_tick(liveness, now);
    listen_to(liveness, &heard, now);
    assert_int_equal(heard.states[0], GW_STATE_UNKNOWN);
    for (unsigned i = 0; i < STALE_MS / 500 + 1; i++)
        gw_liveness_tick(liveness, now += 500);
    listen_to(liveness, &heard, now);
    assert_int_equal(heard.states[0], GW_STATE_STALE);
    gw_liveness_destroy(liveness);
    gw_routes_unref(routes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rule),         cmocka_unit_test(test_rhythm),  cmocka_unit_test(test_against_a_model),
        cmocka_unit_test(test_availability), cmocka_unit_test(test_leaving), cmocka_unit_test(test_held_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
