/* Patterns and the route table. */
#include "check.h"
#include "gateway/codec.h"
#include "route/routes.h"
#include "topic/pattern.h"

static const struct {
    const char *pattern, *name, *captures; /* NULL: no match */
} matches[] = {
    {"a/{x}", "a/b", "x=b;"},
    {"a/{x}", "a/", "x=;"},
    {"a/{x}", "a", NULL},
    {"a/{x}", "a/b/c", NULL},
    {"{x}/{y...}", "a/b/c", "x=a;y=b/c;"},
    {"{x}/{y...}", "a", NULL},
    {"{y...}", "a/b", "y=a/b;"},
    {"{y...}", "$SYS/b", NULL},
    {"$SYS/{y...}", "$SYS/b", "y=b;"},
    {"+/{x}/#", "a/b", "x=b;"},
    {"+/{x}/#", "a/b/c/d", "x=b;"},
    {"a/#", "a", ""},
    {"küche/{x}", "küche/licht", "x=licht;"},
    {"z/{d...}/set", "z/a/set", "d=a;"},
    {"z/{d...}/set", "z/a/b/c/set", "d=a/b/c;"},
    {"z/{d...}/set", "z/set/set", "d=set;"},
    {"z/{d...}/set", "z/set", NULL},
    {"z/{d...}/set", "z/a/set/", NULL},
    {"z/{d...}/set", "z//set", "d=;"},
    {"z/{d...}/set", "z///set", "d=/;"},
    {"z/{d...}/set", "z/a/sets", NULL},
    {"z/{d...}/set", "z/a/Set", NULL},
    {"z/{d...}/set", "z", NULL},
    {"z/{d...}/set", "y/a/set", NULL},
    {"{d...}/{last}", "a/b", "d=a;last=b;"},
    {"{d...}/{last}", "a/b/c", "d=a/b;last=c;"},
    {"{d...}/{last}", "a", NULL},
    {"{d...}/{last}", "$SYS/b", NULL},
    {"{x}/{d...}/s/+/{y}", "1/2/3/s/4/5", "x=1;d=2/3;y=5;"},
    {"{x}/{d...}/s/+/{y}", "1/s/4/5", NULL},
    {"{x}/{d...}/s/+/{y}", "1/s/s/4/5", "x=1;d=s;y=5;"},
};

static void test_match(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(matches); i++) {
        struct gw_buf error = {0}, got = {0};
        size_t offset;
        gw_buf_adds(&got, "");
        struct gw_pattern *pattern = gw_pattern_compile(matches[i].pattern, GW_PATTERN_TOPIC, &error, &offset);
        assert_non_null(pattern);
        struct gw_captures captures;
        bool match = gw_pattern_match(pattern, matches[i].name, strlen(matches[i].name), &captures);
        CHECK_ROW(match == (matches[i].captures != NULL), matches[i].pattern);
        for (size_t c = 0; match && c < captures.count; c++)
            gw_buf_printf(&got, "%s=%.*s;", captures.items[c].name, (int)captures.items[c].value_len,
                          captures.items[c].value);
        if (match)
            CHECK_ROW(!strcmp(got.data, matches[i].captures), matches[i].pattern);
        gw_pattern_free(pattern);
        gw_buf_fini(&got);
        gw_buf_fini(&error);
    }
}

static void test_template(void **state)
{
    (void)state;
    struct gw_buf error = {0}, out = {0};
    size_t offset;
    struct gw_pattern *topic = gw_pattern_compile("z/{a}/{r...}", GW_PATTERN_TOPIC, &error, &offset);
    struct gw_pattern *channel = gw_pattern_compile("x/pre-{a}-post/{r...}", GW_PATTERN_CHANNEL, &error, &offset);
    struct gw_pattern *publish = gw_pattern_compile("z/{r...}/{a}/set", GW_PATTERN_PUBLISH, &error, &offset);
    struct gw_captures captures;
    assert_true(gw_pattern_match(topic, "z/1/2/3", 7, &captures));
    assert_true(gw_pattern_expand(channel, &captures, &out));
    assert_string_equal(out.data, "x/pre-1-post/2/3");
    assert_string_equal(gw_pattern_filter(channel), "x/+/#");
    char name[64];
    strcpy(name, out.data);
    assert_true(gw_pattern_match(channel, name, strlen(name), &captures));
    gw_buf_clear(&out);
    assert_true(gw_pattern_expand(publish, &captures, &out));
    assert_string_equal(out.data, "z/2/3/1/set");
    assert_false(gw_pattern_match(channel, "x/pre-post/2", 12, &captures));
    assert_null(gw_pattern_tail(channel));
    assert_true(gw_pattern_has_rest(channel, "r") && !gw_pattern_has_rest(channel, "a"));
    assert_string_equal(gw_pattern_tail(publish), "{a}/set");
    assert_string_equal(gw_pattern_filter(publish), "z/#");
    gw_pattern_free(topic);
    gw_pattern_free(channel);
    gw_pattern_free(publish);
    gw_buf_fini(&out);
    gw_buf_fini(&error);
}

/* --- patterns as sets: tried on every name of up to five levels
 * ----------------------------------------------------- */

static const char *const sets[] = {
    "a",
    "a/b",
    "a/#",
    "#",
    "+",
    "+/#",
    "+/b",
    "a/+",
    "a/+/b",
    "a/{r...}",
    "a/{r...}/b",
    "{r...}",
    "{r...}/b",
    "{r...}/a/b",
    "{x}/{r...}",
    "a/{r...}/{y}",
    "{x}/{r...}/b",
    "a/b/{r...}",
    "a/{r...}/a/b",
    "a/b/{r...}/b",
    "a/+/+/+/#",
    "b/{r...}/a",
    "$s/#",
    "$s/{r...}/b",
    "+/{r...}/+",
    "+/+",
    "a/b/#",
    "{x}/b/#",
};

static void for_every_name(void (*visit)(void *context, const char *name), void *context)
{
    static const char *const words[] = {"a", "b", "c", "$s", ""};
    for (size_t levels = 1, count = COUNT(words); levels <= 5; levels++, count *= COUNT(words)) {
        for (size_t number = 0; number < count; number++) {
            char name[64] = "";
            size_t rest = number;
            for (size_t i = 0; i < levels; i++, rest /= COUNT(words)) {
                strcat(name, i ? "/" : "");
                strcat(name, words[rest % COUNT(words)]);
            }
            if (*name)
                visit(context, name);
        }
    }
}

struct two {
    struct gw_pattern *a, *b;
    bool common, outside; /* a name of both; one of b alone */
};

static void compare_sets(void *context, const char *name)
{
    struct two *two = context;
    if (!gw_pattern_match(two->b, name, strlen(name), NULL))
        return;
    bool in_a = gw_pattern_match(two->a, name, strlen(name), NULL);
    two->common |= in_a;
    two->outside |= !in_a;
}

static void test_sets(void **state)
{
    (void)state;
    struct gw_buf error = {0};
    size_t offset;
    for (size_t i = 0; i < COUNT(sets); i++) {
        for (size_t j = 0; j < COUNT(sets); j++) {
            char row[64];
            snprintf(row, sizeof row, "%s and %s", sets[i], sets[j]);
            struct two two = {gw_pattern_compile(sets[i], GW_PATTERN_TOPIC, &error, &offset),
                              gw_pattern_compile(sets[j], GW_PATTERN_TOPIC, &error, &offset), false, false};
            assert_true(two.a && two.b);
            for_every_name(compare_sets, &two);
            struct gw_buf sample = {0};
            CHECK_ROW(gw_pattern_sample(two.a, two.b, 0, &sample) == two.common, row);
            bool covers = gw_pattern_covers(two.a, two.b);
            CHECK_ROW(!covers || !two.outside, row);
            /* Where it may say no although it does: what a `+` in front and a `#` say together. */
            CHECK_ROW(covers || two.outside || !strcmp(sets[i], "+/#"), row);
            gw_buf_fini(&sample);
            gw_pattern_free(two.a);
            gw_pattern_free(two.b);
        }
    }
    gw_buf_fini(&error);
}

/* --- the table ------------------------------------------------------------------------------------------------- */

static struct gw_config *table(size_t count, const char *const (*from)[3], const int *qos)
{
    struct gw_config *config = calloc(1, sizeof *config);
    config->limits.levels = 200;
    atomic_init(&config->refs, 1);
    config->file = strdup("test");
    config->route_count = count;
    config->routes = calloc(count, sizeof *config->routes);
    for (size_t i = 0; i < count; i++) {
        struct gw_cfg_route *route = &config->routes[i];
        route->topic = strdup(from[i][0]);
        route->channel = from[i][1] ? strdup(from[i][1]) : NULL;
        route->publish = from[i][2] != NULL;
        route->publish_topic = from[i][2] && *from[i][2] ? strdup(from[i][2]) : NULL;
        route->codec = gw_codec_find("auto");
        route->qos = qos ? qos[i] : 1;
    }
    return config;
}

static void note_channel(void *context, const struct gw_routed *routed)
{
    gw_buf_printf(context, "%u:%.*s;", routed->route, (int)routed->channel_len, routed->channel);
}

static const char *const rows[][3] = {
    {"a/{x}", "c/{x}", "a/{x}/set"}, {"a/b", "c/b", NULL}, {"a/#", NULL, NULL},
    {"lamps/{id}", NULL, ""},        {"+/b", "any", NULL}, {"$SYS/{r...}", "sys/{r...}", NULL},
};

/* Rows of a topic and the channels that it makes. */
static void check_matches(const struct gw_routes *routes, size_t count, const char *const topics[][2])
{
    for (size_t i = 0; i < count; i++) {
        struct gw_buf got = {0};
        gw_buf_adds(&got, "");
        gw_routes_match(routes, topics[i][0], strlen(topics[i][0]), note_channel, &got);
        CHECK_ROW(!strcmp(got.data, topics[i][1]), topics[i][0]);
        gw_buf_fini(&got);
    }
}

static void test_table(void **state)
{
    (void)state;
    struct gw_config *config = table(COUNT(rows), rows, NULL);
    struct gw_routes *routes = gw_routes_build(config);
    static const char *const topics[][2] = {
        {"a/b", "0:c/b;2:a/b;4:any;"}, /* c/b comes from two routes: the first makes it */
        {"a/z", "0:c/z;2:a/z;"},
        {"a", "2:a;"},
        {"q/b", "4:any;"},
        {"lamps/7", "3:lamps/7;"},
        {"$SYS/broker/load", "5:sys/broker/load;"},
        {"nothing/here", ""},
    };
    check_matches(routes, COUNT(topics), topics);
    static const struct {
        const char *channel, *topic;
        enum gw_err err;
    } targets[] = {
        {"c/b", "a/b/set", GW_OK},         {"c/q", "a/q/set", GW_OK},       {"lamps/1", "lamps/1", GW_OK},
        {"a/b", NULL, GW_ERR_FORBIDDEN},   {"any", NULL, GW_ERR_FORBIDDEN}, {"nowhere", NULL, GW_ERR_UNKNOWN_CHANNEL},
        {"c/+", NULL, GW_ERR_BAD_REQUEST}, {"", NULL, GW_ERR_BAD_REQUEST},
    };
    for (size_t i = 0; i < COUNT(targets); i++) {
        struct gw_publish_target target = {0};
        enum gw_err err = gw_routes_publish_target(routes, targets[i].channel, strlen(targets[i].channel), &target);
        CHECK_ROW(err == targets[i].err, targets[i].channel);
        if (err == GW_OK)
            CHECK_ROW(!strcmp(target.topic.data, targets[i].topic), targets[i].channel);
        gw_buf_fini(&target.topic);
    }
    assert_true(gw_routes_channel_possible(routes, "#", 1));
    assert_true(gw_routes_channel_possible(routes, "c/+", 3));
    assert_true(gw_routes_channel_possible(routes, "any", 3));
    assert_true(gw_routes_channel_possible(routes, "any/#", 5)); /* it matches the parent level too */
    assert_false(gw_routes_channel_possible(routes, "nowhere/#", 9));
    gw_routes_unref(routes);
    gw_config_unref(config);
}

/* Routes that except some of their topics, and rests before a fixed end, in both directions. */
static void test_except(void **state)
{
    (void)state;
    static const char *const from[][3] = {
        {"z/{d...}", "dev/{d...}", "z/{d...}/set"},
        {"z/{d...}/availability", "online/{d...}", NULL},
        {"p/#", NULL, ""},
        {"q/+/{id}", "q/{id}", "q/all/{id}"},
    };
    static const char *const except[][3] = {{"z/{any...}/set", "z/{any...}/availability", "z/bridge/#"},
                                            {NULL},
                                            {"p/private/#", "p/+/x"},
                                            {"q/+/no", "q/1/+"}};
    struct gw_config *config = table(COUNT(from), from, NULL);
    for (size_t i = 0; i < COUNT(from); i++) {
        struct gw_strings *list = &config->routes[i].except;
        list->items = calloc(3, sizeof *list->items);
        for (size_t j = 0; j < 3 && except[i][j]; j++)
            list->items[list->count++] = strdup(except[i][j]);
    }
    struct gw_routes *routes = gw_routes_build(config);
    static const char *const topics[][2] = {
        {"z/a/b", "0:dev/a/b;"},
        {"z/a/set", ""},
        {"z/a/b/set", ""},
        {"z/set", "0:dev/set;"},
        {"z/bridge", ""},
        {"z/bridge/x", ""},
        {"z/bridges", "0:dev/bridges;"},
        {"z/bridge/availability", "1:online/bridge;"},
        {"z/a/b/availability", "1:online/a/b;"},
        {"z/availability", "0:dev/availability;"},
        {"p", "2:p;"},
        {"p/private", ""},
        {"p/private/deep/er", ""},
        {"p/1/x", ""},
        {"p/1/y", "2:p/1/y;"},
        {"q/2/yes", "3:q/yes;"},
        {"q/1/yes", ""},
        {"q/2/no", ""},
    };
    check_matches(routes, COUNT(topics), topics);
    static const struct {
        const char *channel, *topic; /* NULL: refused; "": refused because it is excepted */
    } targets[] = {
        {"dev/a/b", "z/a/b/set"},
        {"dev/a/set", ""},
        {"dev/bridge", ""},
        {"dev/bridge/request/permit_join", ""},
        {"dev/set", "z/set/set"},
        {"online/a/b", NULL},
        {"p/1/y", "p/1/y"},
        {"p/private/1", ""},
        {"p/1/x", ""},
        {"q/yes", "q/all/yes"},
        {"q/no", ""},
        {"nowhere", NULL},
    };
    for (size_t i = 0; i < COUNT(targets); i++) {
        struct gw_publish_target target = {0};
        const char *channel = targets[i].channel;
        bool excepted = targets[i].topic && !*targets[i].topic;
        enum gw_err err = gw_routes_publish_target(routes, channel, strlen(channel), &target);
        CHECK_ROW((err == GW_OK) == (targets[i].topic && *targets[i].topic), channel);
        CHECK_ROW(!excepted || err == GW_ERR_UNKNOWN_CHANNEL, channel);
        CHECK_ROW(excepted == (target.why && strstr(target.why, "excepts")), channel);
        CHECK_ROW(err != GW_OK || !strcmp(target.topic.data, targets[i].topic), channel);
        CHECK_ROW(gw_routes_channel_possible(routes, channel, strlen(channel)) ==
                      (!excepted && strcmp(channel, "nowhere") != 0),
                  channel);
        CHECK_ROW((gw_routes_of_channel(routes, channel, strlen(channel)) != NULL) ==
                      (!excepted && strcmp(channel, "nowhere") != 0),
                  channel);
        gw_buf_fini(&target.topic);
    }
    assert_true(gw_routes_channel_possible(routes, "p/+", 3));
    assert_false(gw_routes_channel_possible(routes, "p/private/+", 11));
    assert_false(gw_routes_channel_possible(routes, "p/private/#", 11));
    assert_true(gw_routes_channel_possible(routes, "online/+/b", 10));
    gw_routes_unref(routes);
    gw_config_unref(config);
    static const char *const ends[][3] = {{"z/{d...}/availability", NULL, NULL}, {"+/{d...}/on/{what}", NULL, NULL}};
    config = table(COUNT(ends), ends, NULL);
    routes = gw_routes_build(config);
    const struct gw_subscription *subs;
    assert_int_equal(gw_routes_subscriptions(routes, &subs), 1);
    assert_string_equal(subs[0].filter, "+/#");
    assert_false(gw_routes_channel_possible(routes, "z/+/set", 7));
    assert_false(gw_routes_channel_possible(routes, "z/+", 3));
    assert_true(gw_routes_channel_possible(routes, "z/+/+", 5));
    assert_true(gw_routes_channel_possible(routes, "y/1/2/+/+", 9));
    assert_false(gw_routes_channel_possible(routes, "y/1/2/off/+", 11));
    gw_routes_unref(routes);
    gw_config_unref(config);
}

static void test_subscriptions(void **state)
{
    (void)state;
    static const char *const filters[][3] = {{"a/#", 0, 0},   {"a/{x}", 0, 0}, {"a/+", 0, 0},   {"b/+/c", 0, 0},
                                             {"b/x/c", 0, 0}, {"+/q", 0, 0},   {"$SYS/#", 0, 0}};
    static const int qos[] = {1, 0, 2, 1, 1, 0, 0};
    struct gw_config *config = table(COUNT(filters), filters, qos);
    struct gw_routes *routes = gw_routes_build(config);
    const struct gw_subscription *subs;
    /* a/+ needs qos 2, so a/# does not cover it; b/+/c covers b/x/c. */
    static const struct gw_subscription expected[] = {
        {"a/#", 1}, {"a/+", 2}, {"b/+/c", 1}, {"+/q", 0}, {"$SYS/#", 0}};
    assert_int_equal(gw_routes_subscriptions(routes, &subs), COUNT(expected));
    for (size_t i = 0; i < COUNT(expected); i++) {
        assert_string_equal(subs[i].filter, expected[i].filter);
        assert_int_equal(subs[i].qos, expected[i].qos);
    }
    assert_int_equal(gw_routes_canonical_subscription(routes, "a/x", 3), 1); /* the one with the highest qos */
    assert_int_equal(gw_routes_canonical_subscription(routes, "a/x/y", 5), 0);
    assert_int_equal(gw_routes_canonical_subscription(routes, "z/q", 3), 3);
    gw_routes_unref(routes);
    gw_config_unref(config);
}

static void test_many_routes(void **state)
{
    (void)state;
    enum { N = 3000 };
    static char text[N][32];
    static const char *made[N][3];
    for (size_t i = 0; i < N; i++) {
        snprintf(text[i], sizeof text[i], "site%zu/{x}/t", i);
        made[i][0] = text[i];
    }
    struct gw_config *config = table(N, (const char *const(*)[3])made, NULL);
    struct gw_routes *routes = gw_routes_build(config);
    struct gw_buf got = {0};
    gw_routes_match(routes, "site2999/a/t", 12, note_channel, &got);
    assert_string_equal(got.data, "2999:site2999/a/t;");
    gw_buf_fini(&got);
    gw_routes_unref(routes);
    gw_config_unref(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_match),      cmocka_unit_test(test_template),
                                       cmocka_unit_test(test_sets),       cmocka_unit_test(test_table),
                                       cmocka_unit_test(test_except),     cmocka_unit_test(test_subscriptions),
                                       cmocka_unit_test(test_many_routes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
