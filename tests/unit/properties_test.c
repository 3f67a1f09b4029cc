/* properties_test.c: blocks of properties (properties.h): what is written is read, and nothing is read beyond a
 * block. */
#include "check.h"
#include "gateway/message.h"
#include "gateway/properties.h"

#define BLOCK(text)                                                                                                  \
    {                                                                                                                \
        text, sizeof(text) - 1                                                                                       \
    }

static void test_there_and_back(void **state)
{
    (void)state;
    static const struct gw_property properties[] = {
        {.id = GW_PROPERTY_PAYLOAD_FORMAT, .byte = 1},
        {.id = GW_PROPERTY_USER, .name = {"k", 1}, .value = {"v", 1}},
        {.id = GW_PROPERTY_CONTENT_TYPE, .value = {"a/b", 3}},
        {.id = GW_PROPERTY_USER, .name = {"", 0}, .value = {"", 0}},
        {.id = GW_PROPERTY_CORRELATION, .value = {"\0\xff", 2}},
        {.id = GW_PROPERTY_RESPONSE_TOPIC, .value = {"r/s", 3}},
    };
    struct gw_buf block = {0};
    for (size_t i = 0; i < COUNT(properties); i++)
        gw_properties_add(&block, &properties[i]);
    size_t at = 0, i = 0;
    struct gw_property found;
    const struct gw_slice all = {block.data, block.len};
    for (; gw_properties_next(all, &at, &found); i++) {
        assert_int_equal(found.id, properties[i].id);
        assert_int_equal(found.byte, properties[i].byte);
        assert_int_equal(found.name.len, properties[i].name.len);
        assert_int_equal(found.value.len, properties[i].value.len);
        assert_memory_equal(found.value.data ? found.value.data : "",
                            properties[i].value.data ? properties[i].value.data : "", found.value.len);
    }
    assert_int_equal(i, COUNT(properties));
    assert_int_equal(gw_properties_find(all, GW_PROPERTY_CONTENT_TYPE).len, 3);
    assert_null(gw_properties_find((struct gw_slice){block.data, 2}, GW_PROPERTY_CONTENT_TYPE).data);
    /* Cut anywhere, and in a block of memory of its own, so that a read beyond its end is found. */
    for (size_t len = 0; len < block.len; len++) {
        char *copy = malloc(len ? len : 1);
        memcpy(copy, block.data, len);
        for (at = 0; gw_properties_next((struct gw_slice){copy, len}, &at, &found);)
            assert_true(at <= len);
        free(copy);
    }
    gw_buf_fini(&block);
}

static const struct row {
    const char *name;
    struct gw_slice block;
    unsigned found;
} rows[] = {
    {"nothing", BLOCK(""), 0},
    {"expiry, identifiers, alias and delay are passed over",
     BLOCK("\2\0\0\0\1\x0b\xff\1\x23\0\1\x18\0\0\0\1\1\1\x0b\1"), 1},
    {"an identifier of four bytes", BLOCK("\x0b\xff\xff\xff\x7f\1\0"), 1},
    {"one that is none", BLOCK("\1\1\x7f\1\1"), 1},
    {"a text longer than the block", BLOCK("\3\0\5ab"), 0},
    {"a name without a value", BLOCK("\x26\0\1k"), 0},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        unsigned found = 0;
        struct gw_property property;
        for (size_t at = 0; gw_properties_next(rows[i].block, &at, &property);)
            found++;
        CHECK_ROW(found == rows[i].found, rows[i].name);
    }
}

/* A message holds them, wherever its payload is; other forms of it at another position too. */
static void test_messages(void **state)
{
    (void)state;
    static const struct gw_slice block = {"\3\0\3a/b", 6};
    static const char *const payloads[] = {"1", "other"};
    for (size_t i = 0; i < COUNT(payloads); i++) {
        struct gw_message_spec spec = {.channel = "a",
                                       .channel_len = 1,
                                       .json = "1",
                                       .json_len = 1,
                                       .payload = payloads[i],
                                       .payload_len = strlen(payloads[i]),
                                       .epoch = "E",
                                       .seq = 1};
        struct gw_message *bare = gw_message_create(&spec);
        spec.properties = block;
        struct gw_message *with = gw_message_create(&spec), *moved = gw_message_at(with, "F", 22);
        assert_int_equal(gw_message_properties(bare).len, 0);
        assert_int_equal(gw_message_size(with), gw_message_size(bare) + block.len);
        assert_int_equal(gw_message_properties(moved).len, block.len);
        assert_memory_equal(gw_message_properties(with).data, block.data, block.len);
        assert_memory_equal(gw_message_properties(moved).data, block.data, block.len);
        assert_string_equal(moved->channel.data, "a");
        gw_message_unref(bare);
        gw_message_unref(with);
        gw_message_unref(moved);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
