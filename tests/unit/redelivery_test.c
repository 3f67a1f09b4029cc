/* What a broker sends again after a reconnect is known again, and nothing else is taken for it. */
#include <string.h>

#include "check.h"
#include "mqtt/redelivery.h"

static struct gw_redelivery redelivery;

static bool again_on(const char *topic, int mid, const char *payload)
{
    struct gw_packet packet = {
        .topic = topic,
        .topic_len = strlen(topic),
        .payload = payload,
        .payload_len = strlen(payload),
        .mid = (uint16_t)mid,
        .qos = 1,
    };
    return gw_redelivery_is_double(&redelivery, &packet);
}

static bool again(int mid, const char *payload)
{
    return again_on("a/b", mid, payload);
}

static int begin(void **state)
{
    (void)state;
    memset(&redelivery, 0, sizeof redelivery);
    gw_redelivery_connected(&redelivery, false);
    return 0;
}

static void test_sent_again(void **state)
{
    (void)state;
    for (int mid = 1; mid <= 5; mid++)
        assert_false(again(mid, "x"));
    gw_redelivery_connected(&redelivery, true);
    assert_true(again(3, "x")); /* 1 and 2 were acknowledged in time */
    assert_true(again(4, "x"));
    assert_true(again(5, "x"));
    assert_false(again(6, "x"));
    gw_redelivery_connected(&redelivery, true); /* and once more, over two connections */
    assert_true(again(5, "x"));
    assert_true(again(6, "x"));
    assert_false(again(7, "x"));
}

static void test_new_messages(void **state)
{
    (void)state;
    assert_false(again(1, "x"));
    assert_false(again(1, "x")); /* in the middle of a connection nothing is redelivered */
    assert_false(again(2, "y"));
    gw_redelivery_connected(&redelivery, true);
    assert_false(again(2, "z")); /* another payload */
    assert_false(again(2, "y")); /* something new has come before */
    gw_redelivery_connected(&redelivery, true);
    assert_false(again_on("a/c", 2, "y")); /* another topic */
}

static void test_order(void **state)
{
    (void)state;
    assert_false(again(1, "x"));
    assert_false(again(2, "y"));
    gw_redelivery_connected(&redelivery, true);
    assert_true(again(2, "y"));
    assert_false(again(1, "x"));
}

static void test_forgotten_session(void **state)
{
    (void)state;
    assert_false(again(1, "x"));
    gw_redelivery_connected(&redelivery, false);
    assert_false(again(1, "x"));
}

static void test_more_than_it_remembers(void **state)
{
    (void)state;
    for (int mid = 1; mid <= GW_REDELIVERY_MAX + 10; mid++)
        assert_false(again(mid, "x"));
    gw_redelivery_connected(&redelivery, true);
    for (int mid = 11; mid <= GW_REDELIVERY_MAX + 10; mid++)
        assert_true(again(mid, "x"));
    assert_false(again(1, "x"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_sent_again, begin),
        cmocka_unit_test_setup(test_new_messages, begin),
        cmocka_unit_test_setup(test_order, begin),
        cmocka_unit_test_setup(test_forgotten_session, begin),
        cmocka_unit_test_setup(test_more_than_it_remembers, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
