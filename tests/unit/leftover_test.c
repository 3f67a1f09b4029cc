/* Every filter that matches a topic is tried, and none that does not. */
#include "mqtt/leftover.h"

#include "check.h"
#include "gateway/topic.h"

static size_t list(const char *topic, struct gw_buf *out)
{
    size_t count = 0;
    gw_buf_clear(out);
    gw_leftover_list(topic, strlen(topic), out);
    for (const char *at = out->data; at < out->data + out->len; at += strlen(at) + 1) {
        CHECK_ROW(gw_topic_filter_valid(at, strlen(at)), at);
        CHECK_ROW(topic[0] == '$' || gw_topic_matches(at, strlen(at), topic, strlen(topic)), at);
        count++;
    }
    return count;
}

static bool has(const struct gw_buf *all, const char *filter)
{
    for (const char *at = all->data; at < all->data + all->len; at += strlen(at) + 1) {
        if (!strcmp(at, filter))
            return true;
    }
    return false;
}

static void test_all_that_match(void **state)
{
    (void)state;
    struct gw_buf all = {0};
    /* Two exact levels in all ways, and each of the prefixes with #. */
    assert_int_equal(list("a/b", &all), 4 + 4 + 2 + 1);
    static const char *const wanted[] = {"a/b", "a/+", "+/b", "+/+", "a/b/#", "a/#", "#", "+/#", "+/+/#"};
    for (size_t i = 0; i < COUNT(wanted); i++)
        CHECK_ROW(has(&all, wanted[i]), wanted[i]);
    assert_int_equal(list("a", &all), 2 + 2 + 1);
    assert_int_equal(list("/a", &all), 4 + 4 + 2 + 1);
    assert_true(has(&all, "/a") && has(&all, "/+") && has(&all, "+/a") && has(&all, "/#"));
    assert_int_equal(list("1/2/3/4/5/6/7/8", &all), 256 + 511);
    assert_true(has(&all, "+/2/+/4/+/6/+/8") && has(&all, "+/+/3/#"));
    gw_buf_fini(&all);
}

static void test_deep_ones_are_bounded(void **state)
{
    (void)state;
    char topic[401];
    struct gw_buf all = {0};
    for (size_t levels = 9; levels <= 200; levels++) {
        for (size_t i = 0; i < levels; i++)
            memcpy(topic + 2 * i, "x/", 2);
        topic[2 * levels - 1] = '\0';
        assert_in_range(list(topic, &all), 1500, GW_LEFTOVER_FILTERS);
        assert_true(has(&all, topic) && has(&all, "#") && has(&all, "x/#") && has(&all, "x/x/x/#") &&
                    has(&all, "+/x/#"));
    }
    gw_buf_fini(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_that_match),
        cmocka_unit_test(test_deep_ones_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
