#include "check.h"
#include "gateway/history.h"

static struct gw_message *make(uint64_t seq, size_t payload, int64_t ts)
{
    char *text = calloc(1, payload + 3);
    memset(text + 1, 'x', payload);
    text[0] = text[payload + 1] = '"';
    struct gw_message_spec spec = {.channel = "c",
                                   .channel_len = 1,
                                   .json = text,
                                   .json_len = payload + 2,
                                   .payload = text,
                                   .payload_len = payload + 2,
                                   .epoch = "e",
                                   .seq = seq,
                                   .ts = ts};
    struct gw_message *msg = gw_message_create(&spec);
    free(text);
    return msg;
}

static const struct gw_history_engine *engine;

static void append(struct gw_history *history, uint64_t seq, size_t payload, int64_t ts)
{
    struct gw_message *msg = make(seq, payload, ts);
    engine->append(history, msg, ts);
    gw_message_unref(msg);
}

struct seen {
    uint64_t seqs[64];
    size_t count, stop_after;
};

static bool collect(void *context, struct gw_message *msg)
{
    struct seen *seen = context;
    seen->seqs[seen->count++] = msg->seq;
    return seen->count != seen->stop_after;
}

static struct seen read_after(struct gw_history *history, uint64_t after)
{
    struct seen seen = {.count = 0};
    engine->read(history, after, collect, &seen);
    return seen;
}

static void test_count(void **state)
{
    (void)state;
    struct gw_history_limits limits = {.count = 5, .bytes = 1 << 20};
    struct gw_history *history = engine->open(&limits, 0);
    assert_int_equal(engine->evicted(history), 0);
    for (uint64_t seq = 10; seq <= 100; seq += 10)
        append(history, seq, 1, 0);
    assert_int_equal(engine->count(history), 5);
    assert_int_equal(engine->evicted(history), 50);
    struct seen seen = read_after(history, 75);
    assert_int_equal(seen.count, 3);
    assert_int_equal(seen.seqs[0], 80);
    assert_int_equal(read_after(history, 80).seqs[0], 90);
    assert_int_equal(read_after(history, 0).count, 5);
    assert_int_equal(read_after(history, 100).count, 0);
    seen = (struct seen){.stop_after = 2};
    engine->read(history, 0, collect, &seen);
    assert_int_equal(seen.count, 2);
    limits.count = 2;
    engine->limit(history, &limits, 0);
    assert_int_equal(engine->count(history), 2);
    assert_int_equal(engine->evicted(history), 80);
    engine->drop(history);
    assert_int_equal(engine->count(history), 0);
    assert_int_equal(engine->bytes(history), 0);
    assert_int_equal(engine->evicted(history), 100);
    append(history, 110, 1, 0);
    assert_int_equal(read_after(history, 0).seqs[0], 110);
    engine->close(history);
}

static void test_bytes_and_age(void **state)
{
    (void)state;
    struct gw_message *sample = make(1, 1000, 0);
    size_t each = gw_message_size(sample);
    gw_message_unref(sample);
    struct gw_history_limits limits = {.count = 100, .bytes = each * 3, .age_ms = 1000};
    struct gw_history *history = engine->open(&limits, 0);
    for (uint64_t seq = 1; seq <= 5; seq++)
        append(history, seq, 1000, 0);
    assert_int_equal(engine->count(history), 3);
    assert_true(engine->bytes(history) <= limits.bytes);
    assert_int_equal(engine->evicted(history), 2);
    engine->expire(history, 1000);
    assert_int_equal(engine->count(history), 3);
    engine->expire(history, 1001);
    assert_int_equal(engine->count(history), 0);
    assert_int_equal(engine->evicted(history), 5);
    append(history, 6, 10, 2000);
    append(history, 7, 10000, 2000); /* larger than the bound: nothing before it may stay either */
    assert_int_equal(engine->count(history), 0);
    assert_int_equal(engine->evicted(history), 7);
    engine->close(history);
}

static void test_none(void **state)
{
    (void)state;
    struct gw_history_limits limits = {.count = 0, .bytes = 1000};
    struct gw_history *history = engine->open(&limits, 0);
    append(history, 3, 1, 0);
    assert_int_equal(engine->count(history), 0);
    assert_int_equal(engine->evicted(history), 3);
    engine->close(history);
}

static void test_message(void **state)
{
    (void)state;
    struct gw_message_spec spec = {.channel = "a\"b",
                                   .channel_len = 3,
                                   .json = "\"x\"",
                                   .json_len = 3,
                                   .payload = "x",
                                   .payload_len = 1,
                                   .epoch = "ep",
                                   .seq = 7,
                                   .ts = 1764000000123,
                                   .retained = true};
    struct gw_message *msg = gw_message_create(&spec);
    static const char text[] = "{\"type\":\"message\",\"channel\":\"a\\\"b\",\"data\":\"x\",\"cursor\":\"ep.7\","
                               "\"ts\":1764000000123,\"retained\":true}";
    assert_int_equal(msg->text.len, sizeof text - 1);
    assert_memory_equal(msg->text.data, text, sizeof text - 1);
    assert_string_equal(msg->channel.data, "a\"b");
    assert_int_equal(msg->payload.len, 1);
    assert_int_equal(msg->frame_len, 2);
    assert_int_equal(msg->frame[1], sizeof text - 1);
    assert_memory_equal(gw_message_tail(msg).data, "\"channel\"", 9);
    assert_int_equal(gw_message_cursor(msg).len, 4);
    assert_memory_equal(gw_message_cursor(msg).data, "ep.7", 4);
    gw_message_unref(msg);
    uint8_t header[GW_WS_HEADER_MAX];
    static const struct {
        uint64_t len;
        size_t header;
    } rows[] = {{0, 2}, {125, 2}, {126, 4}, {65535, 4}, {65536, 10}, {1ull << 40, 10}};
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(gw_ws_header(header, 1, rows[i].len), rows[i].header);
}

int main(void)
{
    engine = gw_history_find("memory");
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_count), cmocka_unit_test(test_bytes_and_age),
                                       cmocka_unit_test(test_none), cmocka_unit_test(test_message)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
