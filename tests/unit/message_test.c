/* The text of a message at the bounds of the places that it is put together in. */
#include <inttypes.h>

#include "check.h"
#include "gateway/buf.h"
#include "gateway/message.h"
#include "message/cursor.h"

/* Names around the length up to which no memory is asked for, of bytes that take most in JSON; the largest numbers.
 */
static void test_longest(void **state)
{
    (void)state;
    char name[130], epoch[GW_EPOCH_MAX + 1];
    memset(name, 1, sizeof name);
    memset(epoch, 'e', GW_EPOCH_MAX);
    epoch[GW_EPOCH_MAX] = '\0';
    for (size_t len = 98; len <= sizeof name; len++) {
        const struct gw_message_spec spec = {.channel = name,
                                             .channel_len = len,
                                             .json = "1",
                                             .json_len = 1,
                                             .payload = "1",
                                             .payload_len = 1,
                                             .epoch = epoch,
                                             .seq = UINT64_MAX,
                                             .ts = INT64_MAX,
                                             .retained = true};
        struct gw_message *msg = gw_message_create(&spec);
        struct gw_buf expected = {0};
        gw_buf_adds(&expected, GW_MESSAGE_PREFIX "\"channel\":\"");
        for (size_t i = 0; i < len; i++)
            gw_buf_adds(&expected, "\\u0001");
        gw_buf_printf(&expected, "\",\"data\":1,\"cursor\":\"%s.%" PRIu64 "\",\"ts\":%" PRId64 ",\"retained\":true}",
                      epoch, UINT64_MAX, INT64_MAX);
        assert_int_equal(msg->text.len, expected.len);
        assert_memory_equal(msg->text.data, expected.data, expected.len);
        assert_int_equal(gw_message_cursor(msg).len, strlen(epoch) + 1 + 20);
        assert_int_equal(msg->channel.len, len);
        assert_int_equal(gw_message_size(msg), sizeof *msg + msg->text.len + len + 1); /* the payload is `data` */
        gw_buf_fini(&expected);
        gw_message_unref(msg);
    }
}

static void test_longest_state(void **state)
{
    (void)state;
    const struct gw_message_spec spec = {.channel = "a",
                                         .channel_len = 1,
                                         .json = "\"stale\"",
                                         .json_len = 7,
                                         .payload = "",
                                         .epoch = "e",
                                         .seq = 1,
                                         .ts = -1,
                                         .state = GW_STATE_STALE,
                                         .since = INT64_MAX,
                                         .seen = INT64_MAX};
    struct gw_message *msg = gw_message_create(&spec);
    struct gw_buf expected = {0};
    gw_buf_printf(&expected,
                  GW_STATUS_PREFIX "\"channel\":\"a\",\"since\":%" PRId64 ",\"seen\":%" PRId64
                                   ",\"state\":\"stale\",\"cursor\":\"e.1\",\"ts\":0}",
                  INT64_MAX, INT64_MAX);
    assert_int_equal(msg->text.len, expected.len);
    assert_memory_equal(msg->text.data, expected.data, expected.len);
    gw_buf_fini(&expected);
    gw_message_unref(msg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_longest), cmocka_unit_test(test_longest_state)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
