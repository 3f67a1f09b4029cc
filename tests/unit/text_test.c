/* Cursor, UTF-8, base64, buffers. */
#include "base/base64.h"
#include "check.h"
#include "gateway/buf.h"
#include "gateway/utf8.h"
#include "message/cursor.h"

static void test_cursor(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
        uint64_t seq;
    } rows[] = {
        {"abc.1", true, 1},
        {"A-_9.0", true, 0},
        {"a.18446744073709551615", true, UINT64_MAX},
        {"a.18446744073709551616", false, 0},
        {"a.007", true, 7},
        {"a.", false, 0},
        {".1", false, 0},
        {"a", false, 0},
        {"", false, 0},
        {"a.1 ", false, 0},
        {"a.-1", false, 0},
        {"a.+1", false, 0},
        {"a.1.2", false, 0},
        {"a b.1", false, 0},
        {"aaaaaaaaaaaaaaaaaaaaaaaa.1", true, 1},
        {"aaaaaaaaaaaaaaaaaaaaaaaaa.1", false, 0},
        {"\xc3\xbc.1", false, 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct gw_cursor cursor = {.seq = 99};
        bool good = gw_cursor_parse(&cursor, rows[i].text, strlen(rows[i].text));
        CHECK_ROW(good == rows[i].good, rows[i].text);
        CHECK_ROW(!good || cursor.seq == rows[i].seq, rows[i].text);
    }
    char epoch[GW_EPOCH_MAX + 1], other[GW_EPOCH_MAX + 1], text[GW_CURSOR_MAX];
    gw_epoch_make(epoch);
    gw_epoch_make(other);
    assert_int_equal(strlen(epoch), 11);
    assert_string_not_equal(epoch, other);
    struct gw_cursor back;
    size_t len = gw_cursor_format(text, epoch, UINT64_MAX);
    assert_int_equal(len, strlen(text));
    assert_true(gw_cursor_parse(&back, text, len));
    assert_string_equal(back.epoch, epoch);
    assert_true(back.seq == UINT64_MAX);
}

static void test_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool valid;
    } rows[] = {
        {"plain ascii, longer than eight bytes", true},
        {"\xc3\xbc", true},
        {"\xe2\x82\xac", true},
        {"\xf0\x9d\x84\x9e", true},
        {"\xed\x9f\xbf", true},
        {"\xee\x80\x80", true},
        {"\xf4\x8f\xbf\xbf", true},
        {"\xef\xbf\xbf", true},
        {"\x80", false},
        {"\xbf", false},
        {"\xc0\x80", false},
        {"\xc1\xbf", false},
        {"\xe0\x80\x80", false},
        {"\xe0\x9f\xbf", false},
        {"\xed\xa0\x80", false},
        {"\xed\xbf\xbf", false},
        {"\xf0\x80\x80\x80", false},
        {"\xf0\x8f\xbf\xbf", false},
        {"\xf4\x90\x80\x80", false},
        {"\xf5\x80\x80\x80", false},
        {"\xff", false},
        {"\xc3", false},
        {"\xe2\x82", false},
        {"\xf0\x9d\x84", false},
        {"12345678\xc3", false},
        {"1234567\xc3\xbc", true},
        {"\xc3(", false},
        {"\xe2(\xa1", false},
        {"\xe2\x82(", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        CHECK_ROW(gw_utf8_valid(rows[i].text, strlen(rows[i].text)) == rows[i].valid, rows[i].text);
    assert_true(gw_utf8_valid("a\0b", 3));
    assert_true(gw_utf8_valid("", 0));
}

static void test_base64(void **state)
{
    (void)state;
    /* RFC 4648 section 10 */
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"},
                                           {"\xff\xfe", "//4="}};
    for (size_t i = 0; i < COUNT(pairs); i++) {
        struct gw_buf out = {0};
        gw_base64_encode(&out, pairs[i][0], strlen(pairs[i][0]));
        assert_string_equal(out.data, pairs[i][1]);
        gw_buf_clear(&out);
        assert_true(gw_base64_decode(&out, pairs[i][1], strlen(pairs[i][1])));
        assert_string_equal(out.data, pairs[i][0]);
        gw_buf_fini(&out);
    }
    static const char *const bad[] = {
        "Z", "Zg", "Zg=", "Zg==Zg==", "Zh==", "Zm9=", "Z===", "====", "Zm 9", "Zm9v\n", "Zm-_"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct gw_buf out = {0};
        CHECK_ROW(!gw_base64_decode(&out, bad[i], strlen(bad[i])), bad[i]);
        assert_int_equal(out.len, 0);
        gw_buf_fini(&out);
    }
}

static void test_buf(void **state)
{
    (void)state;
    struct gw_buf buf = {0};
    gw_buf_add_json_string(&buf, "a\"\\\n\x01\0z\x7f\xc3\xbc", 10);
    assert_string_equal(buf.data, "\"a\\\"\\\\\\n\\u0001\\u0000z\x7f\xc3\xbc\"");
    gw_buf_clear(&buf);
    gw_buf_addu(&buf, 0);
    gw_buf_addu(&buf, UINT64_MAX);
    assert_string_equal(buf.data, "018446744073709551615");
    gw_buf_consume(&buf, 1);
    assert_int_equal(buf.data[0], '1');
    gw_buf_clear(&buf);
    for (int i = 0; i < 500; i++)
        gw_buf_printf(&buf, "%s", "0123456789012345678901234567890123456789");
    assert_int_equal(buf.len, 20000);
    assert_int_equal(strlen(buf.data), 20000);
    char *taken = gw_buf_take(&buf);
    assert_int_equal(strlen(taken), 20000);
    assert_null(buf.data);
    free(taken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cursor), cmocka_unit_test(test_utf8),
                                       cmocka_unit_test(test_base64), cmocka_unit_test(test_buf)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
