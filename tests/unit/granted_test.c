/* What is told of the filters that the broker has not granted: every code has its word, and the text stays JSON and
 * bounded, whatever the filters hold. */
#include "mqtt/granted.h"

#include <jansson.h>

#include "check.h"
#include "gateway/config.h"

static struct gw_routes *make_routes(const char *const *topics, size_t count)
{
    struct gw_config *config = calloc(1, sizeof *config);
    atomic_init(&config->refs, 1);
    config->routes = calloc(count, sizeof *config->routes);
    config->route_count = count;
    for (size_t i = 0; i < count; i++) {
        config->routes[i].topic = strdup(topics[i]);
        config->routes[i].qos = 1;
    }
    struct gw_routes *routes = gw_routes_build(config);
    gw_config_unref(config);
    return routes;
}

static json_t *report(const struct gw_granted *granted)
{
    struct gw_buf text = {0};
    gw_buf_addc(&text, '{');
    gw_buf_add(&text, granted->json.data, granted->json.len);
    gw_buf_addc(&text, '}');
    json_t *root = json_loadb(text.data, text.len, 0, NULL);
    gw_buf_fini(&text);
    assert_non_null(root);
    return root;
}

static void test_every_answer_has_a_word(void **state)
{
    (void)state;
    static const struct {
        int answer;
        const char *word;
    } rows[] = {
        {0x80, "unspecified"},
        {0x83, "implementation_specific"},
        {0x87, "not_authorized"},
        {0x8f, "topic_filter_invalid"},
        {0x91, "packet_identifier_in_use"},
        {0x97, "quota_exceeded"},
        {0x9e, "shared_subscriptions_not_supported"},
        {0xa1, "subscription_identifiers_not_supported"},
        {0xa2, "wildcards_not_supported"},
        {GW_SUB_FAILED, "not_sent"},
        {GW_SUB_LEFT_OUT, "connection_closed"},
        {0xff, "other"},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        CHECK_ROW(!strcmp(gw_granted_reason(rows[i].answer), rows[i].word), rows[i].word);
}

static void test_counts_and_routes(void **state)
{
    (void)state;
    static const char *const topics[] = {"a/#", "a/{x}", "b/\"q\"/{y}", "c/#"};
    struct gw_routes *routes = make_routes(topics, COUNT(topics));
    struct gw_subscriptions subs = {0};
    struct gw_granted granted;
    gw_granted_init(&granted);
    gw_subscriptions_change(&subs, routes, NULL, NULL);
    assert_int_equal(subs.count, 3); /* a/# speaks for a/+ */
    gw_granted_read(&granted, &subs, routes);
    assert_int_equal(granted.granted, 0);

    for (size_t i = 0; i < subs.count; i++)
        subs.items[i].answer = subs.items[i].filter[0] == 'a' ? 0x87 : subs.items[i].filter[0] == 'b' ? 0x97 : 0;
    gw_granted_read(&granted, &subs, routes);
    assert_int_equal(granted.wanted, 3);
    assert_int_equal(granted.granted, 1);
    assert_int_equal(granted.lowered, 1);
    json_t *root = report(&granted);
    json_t *refused = json_object_get(root, "refused");
    assert_int_equal(json_array_size(refused), 2);
    json_t *first = json_array_get(refused, 0);
    assert_string_equal(json_string_value(json_object_get(first, "filter")), "a/#");
    assert_int_equal(json_array_size(json_object_get(first, "routes")), 2);
    assert_string_equal(json_string_value(json_array_get(json_object_get(json_array_get(refused, 1), "routes"), 0)),
                        "b/\"q\"/{y}");
    json_decref(root);
    gw_granted_fini(&granted);
    gw_subscriptions_fini(&subs);
    gw_routes_unref(routes);
}

static void test_the_text_is_bounded(void **state)
{
    (void)state;
    enum { MANY = 1000 };
    char *topics[MANY];
    for (size_t i = 0; i < MANY; i++) {
        topics[i] = malloc(2000);
        snprintf(topics[i], 2000, "%zu/%01900d/{x}", i, 7);
    }
    struct gw_routes *routes = make_routes((const char *const *)topics, MANY);
    struct gw_subscriptions subs = {0};
    struct gw_granted granted;
    gw_granted_init(&granted);
    gw_subscriptions_change(&subs, routes, NULL, NULL);
    for (size_t i = 0; i < MANY; i++)
        subs.items[i].answer = 0x80;
    gw_granted_read(&granted, &subs, routes);
    assert_true(granted.json.len < 32768);
    json_t *root = report(&granted);
    size_t named = json_array_size(json_object_get(root, "refused"));
    assert_in_range(named, 1, 20);
    assert_int_equal(json_integer_value(json_object_get(root, "more")), (int)(MANY - named));
    json_decref(root);
    gw_granted_fini(&granted);
    gw_subscriptions_fini(&subs);
    gw_routes_unref(routes);
    for (size_t i = 0; i < MANY; i++)
        free(topics[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_answer_has_a_word),
        cmocka_unit_test(test_counts_and_routes),
        cmocka_unit_test(test_the_text_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
