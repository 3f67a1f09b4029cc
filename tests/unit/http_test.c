/* HTTP requests, percent-encoding, chunked bodies, WebSocket frame headers. (Illegal ones: also over the wire in
 * tests/integration.) */
#include "check.h"
#include "http/http1.h"
#include "websocket/wsframe.h"

static int parse(const char *text, struct gw_request *request)
{
    const char *why;
    return gw_http_parse(text, strlen(text), 8192, request, &why);
}

static void test_octet_by_octet(void **state)
{
    (void)state;
    static const char text[] = "\r\nGET /a%20b?x=1&y HTTP/1.1\r\nHost: h\r\nCoNNection:  Upgrade , "
                               "keep-alive\t\r\nupgrade: WebSocket\r\n\r\n";
    struct gw_request request;
    const char *why;
    for (size_t len = 0; len < sizeof text - 1; len++) {
        char *exact = malloc(len ? len : 1);
        memcpy(exact, text, len);
        assert_int_equal(gw_http_parse(exact, len, 8192, &request, &why), 0);
        free(exact);
    }
    assert_int_equal(parse(text, &request), sizeof text - 1);
    assert_int_equal(request.method, GW_GET);
    assert_true(request.upgrade && request.keep_alive);
    assert_int_equal(request.query.len, 5);
    struct gw_request plain;
    assert_true(parse("GET / HTTP/1.1\r\nHost: h\r\n\r\n", &plain) > 0);
    assert_true(plain.keep_alive && !plain.upgrade);
    struct gw_slice header = gw_request_header(&request, "connection");
    assert_int_equal(header.len, strlen("Upgrade , keep-alive"));
}

static void test_query(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"channel=rooms/+/t", "channel=rooms/+/t;"},
        {"channel=rooms%2F%2B%2Ft", "channel=rooms/+/t;"},
        {"channel=sp+ace/x", "channel=sp ace/x;"},
        {"channel=+", "channel=+;"},
        {"channel=a/+", "channel=a/+;"},
        {"channel=rooms%2F+%2Ft", "channel=rooms/+/t;"},
        {"channel=a%2Bb", "channel=a+b;"},
        {"a=1&b=2&&c", "a=1;b=2;c=;"},
        {"a=b=c", "a=b=c;"},
        {"%61=%C3%BC", "a=\xc3\xbc;"},
        {"a=%2", NULL},
        {"a=%zz", NULL},
        {"%", NULL},
        {"a=1&b=%ff", NULL},
        {"", ""},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct gw_params params = {.query = {rows[i][0], strlen(rows[i][0])}};
        struct gw_buf got = {0};
        gw_buf_adds(&got, "");
        while (gw_params_next(&params))
            gw_buf_printf(&got, "%s=%s;", params.key.data, params.value.data);
        CHECK_ROW(params.bad == (rows[i][1] == NULL), rows[i][0]);
        if (!params.bad)
            CHECK_ROW(!strcmp(got.data, rows[i][1]), rows[i][0]);
        CHECK_ROW((gw_params_end(&params, NULL) != NULL) == (rows[i][1] == NULL), rows[i][0]);
        gw_buf_fini(&got);
    }
}

static void test_paths(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"/channels/a//b", "a//b"}, {"/channels/a%2F%2fb", "a//b"},
        {"/channels/../x", "../x"}, {"/channels/a+b", "a+b"},
        {"/channels/%00", ""},      {"/channels/%2", NULL},
        {"/channel/x", NULL},       {"/channels/", ""},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct gw_request request = {.path = {rows[i][0], strlen(rows[i][0])}};
        struct gw_buf rest = {0};
        bool bad;
        bool good = gw_request_path_after(&request, "/channels/", &rest, &bad);
        CHECK_ROW(good == (rows[i][1] != NULL), rows[i][0]);
        if (good)
            CHECK_ROW(!strcmp(rest.data ? rest.data : "", rows[i][1]), rows[i][0]);
        gw_buf_fini(&rest);
    }
}

static void test_chunked(void **state)
{
    (void)state;
    static const struct {
        const char *text, *body; /* NULL: malformed */
        long error;
    } rows[] = {
        {"5\r\nhello\r\n0\r\n\r\n", "hello", 0},
        {"5;ext=1\r\nhello\r\n3\r\nabc\r\n0\r\nTrailer: x\r\n\r\n", "helloabc", 0},
        {"A\r\nhelloworld\r\n0\r\n\r\n", "helloworld", 0},
        {"5 ; a = \"q\\\"\xc3\xa4;\" ;b\r\nhello\r\n0;x\r\nA: b\r\nC:\r\n\r\n", "hello", 0},
        {"5  \t\r\nhello\r\n0\r\n\r\n", NULL, -1}, /* blanks come before an extension only */
        {"5;\r\n", NULL, -1},                      /* an extension has a name, and after `=` a value */
        {"5;a=\r\n", NULL, -1},
        {"5\nhello\r\n", NULL, -1},          /* a bare LF */
        {"5\r\nhello\n0\r\n\r\n", NULL, -1}, /* ... behind the data */
        {"5\r\nhello\r\n0\n\n", NULL, -1},   /* ... behind the last chunk */
        {"5;a\nhello\r\n", NULL, -1},        /* ... in an extension */
        {"5\rhello\r\n", NULL, -1},          /* a bare CR */
        {"5;a\r\rb\r\n", NULL, -1},
        {"5;a\001b\r\n", NULL, -1}, /* a control character in an extension */
        {"5;a=\"\001\"\r\n", NULL, -1},
        {"5 x\r\n", NULL, -1}, /* junk behind the size */
        {"5_000\r\n", NULL, -1},
        {"0x5\r\n", NULL, -1},
        {"+5\r\n", NULL, -1},
        {" 5\r\n", NULL, -1},
        {"5\r\nhello\r\r\n", NULL, -1},
        {"0\r\nno field\r\n\r\n", NULL, -1}, /* trailers that are no fields */
        {"0\r\n: x\r\n\r\n", NULL, -1},
        {"0\r\nA : x\r\n\r\n", NULL, -1},
        {"0\r\nA: \001\r\n\r\n", NULL, -1},
        {"0\r\nA: b\n\r\n", NULL, -1},
        {"0\r\n folded\r\n\r\n", NULL, -1},
        {"0\r\n\r\n", "", 0},
        {"x\r\n", NULL, -1},
        {"\r\n", NULL, -1},
        {"5\r\nhelloX", NULL, -1},
        {"ffffffff\r\n", NULL, -2},
        {"fffffffff\r\n", NULL, -2},
        {"3e9\r\n", NULL, -2},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (int split = 0; split < 2; split++) { /* in one piece, then byte by byte */
            struct gw_chunked chunked = {0};
            struct gw_buf out = {0};
            long result = 0;
            size_t len = strlen(rows[i].text), step = split ? 1 : len;
            for (size_t at = 0; at < len && result >= 0; at += step)
                result = gw_chunked_feed(&chunked, rows[i].text + at, step, 1000, &out);
            CHECK_ROW(rows[i].body ? chunked.state == GW_CHUNK_DONE : result == rows[i].error, rows[i].text);
            if (rows[i].body)
                CHECK_ROW(!strcmp(out.data ? out.data : "", rows[i].body), rows[i].text);
            gw_buf_fini(&out);
        }
    }
}

static void test_frames(void **state)
{
    (void)state;
    struct gw_ws_frame frame;
    const char *why;
    const uint8_t small[] = {0x81, 0x85, 1, 2, 3, 4};
    for (size_t len = 0; len < sizeof small; len++)
        assert_int_equal(gw_ws_read_header(small, len, 100, false, &frame, &why), 0);
    assert_int_equal(gw_ws_read_header(small, sizeof small, 100, false, &frame, &why), 1);
    assert_true(frame.fin && frame.opcode == GW_WS_TEXT && frame.payload_len == 5 && frame.header_len == 6);
    assert_int_equal(gw_ws_read_header(small, sizeof small, 4, false, &frame, &why), -1009);
    const uint8_t large[] = {0x02, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 9, 9, 9, 9};
    assert_int_equal(gw_ws_read_header(large, sizeof large, 65536, false, &frame, &why), 1);
    assert_true(!frame.fin && frame.payload_len == 65536 && frame.header_len == 14);
    char data[] = "hello, masked world";
    char copy[sizeof data];
    memcpy(copy, data, sizeof data);
    const uint8_t mask[4] = {7, 0, 255, 128};
    gw_ws_unmask(data, sizeof data - 1, mask);
    for (size_t i = 0; i < sizeof data - 1; i++)
        assert_int_equal((uint8_t)data[i], (uint8_t)copy[i] ^ mask[i % 4]);
    gw_ws_unmask(data, sizeof data - 1, mask);
    assert_string_equal(data, copy);
    static const unsigned good[] = {1000, 1001, 1003, 1007, 1011, 3000, 4999},
                          bad[] = {0, 999, 1004, 1005, 1006, 1015, 2999, 5000};
    for (size_t i = 0; i < COUNT(good); i++)
        assert_true(gw_ws_close_code_valid(good[i]));
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(gw_ws_close_code_valid(bad[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_octet_by_octet), cmocka_unit_test(test_query),
                                       cmocka_unit_test(test_paths), cmocka_unit_test(test_chunked),
                                       cmocka_unit_test(test_frames)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
