/* Packets of Socket.IO and payloads of Engine.IO. */
#include "base/json_scan.h"
#include "check.h"
#include "socketio/packet.h"

static struct gw_slice slice(const char *text)
{
    return (struct gw_slice){text, strlen(text)};
}

static bool is(struct gw_slice value, const char *text)
{
    return value.len == strlen(text) && !memcmp(value.data, text, value.len);
}

static void test_good(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum gw_sio_type type;
        const char *space;
        int64_t id; /* -1: none */
        const char *json;
        unsigned attachments;
    } rows[] = {
        {"0", GW_SIO_CONNECT, "/", -1, NULL, 0},
        {"0{\"token\":\"x\"}", GW_SIO_CONNECT, "/", -1, "{\"token\":\"x\"}", 0},
        {"0/custom", GW_SIO_CONNECT, "/custom", -1, NULL, 0},
        {"0/custom,", GW_SIO_CONNECT, "/custom", -1, NULL, 0},
        {"0/custom,{}", GW_SIO_CONNECT, "/custom", -1, "{}", 0},
        {"1", GW_SIO_DISCONNECT, "/", -1, NULL, 0},
        {"1/a,", GW_SIO_DISCONNECT, "/a", -1, NULL, 0},
        {"2[\"m\"]", GW_SIO_EVENT, "/", -1, "[\"m\"]", 0},
        {"212[\"m\",{\"a\":1}]", GW_SIO_EVENT, "/", 12, "[\"m\",{\"a\":1}]", 0},
        {"2/n,0[1,2]", GW_SIO_EVENT, "/n", 0, "[1,2]", 0},
        {"2[\"connected\"]", GW_SIO_EVENT, "/", -1, "[\"connected\"]", 0},
        {"30[]", GW_SIO_ACK, "/", 0, "[]", 0},
        {"51-[\"b\",{\"_placeholder\":true,\"num\":0}]", GW_SIO_BINARY_EVENT, "/", -1,
         "[\"b\",{\"_placeholder\":true,\"num\":0}]", 1},
        {"510-/n,77[\"b\"]", GW_SIO_BINARY_EVENT, "/n", 77, "[\"b\"]", 10},
        {"61-8[{\"_placeholder\":true,\"num\":0}]", GW_SIO_BINARY_ACK, "/", 8, "[{\"_placeholder\":true,\"num\":0}]",
         1},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct gw_sio_packet packet;
        const char *why = gw_sio_parse(rows[i].text, strlen(rows[i].text), &packet);
        CHECK_ROW(!why, rows[i].text);
        CHECK_ROW(packet.type == rows[i].type, rows[i].text);
        CHECK_ROW(is(packet.space, rows[i].space), rows[i].text);
        CHECK_ROW(packet.has_id == (rows[i].id >= 0), rows[i].text);
        CHECK_ROW(!packet.has_id || packet.id == (uint64_t)rows[i].id, rows[i].text);
        CHECK_ROW(rows[i].json ? is(packet.json, rows[i].json) : !packet.json.data, rows[i].text);
        CHECK_ROW(packet.attachments == rows[i].attachments, rows[i].text);
    }
}

static void test_bad(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "",
        "7",
        "x",
        "9[\"m\"]",
        "0[]",
        "0\"text\"",
        "0{",
        "1{}",
        "1[]",
        "2",
        "2{}",
        "2[]",
        "2[{}]",
        "2[null,1]",
        "2[true]",
        "2[\"connect\"]",
        "2[\"connect_error\",1]",
        "2[\"disconnect\"]",
        "2[\"disconnecting\"]",
        "2[\"newListener\"]",
        "2[\"removeListener\"]",
        "2[\"\\u0063onnect\"]",
        "2[\"m\"",
        "2[\"m\"]x",
        "2/n[\"m\"]",
        "212345678901234567[\"m\"]",
        "3",
        "3{}",
        "4{\"message\":\"x\"}",
        "5[\"b\"]",
        "5-[\"b\"]",
        "51[\"b\"]",
        "511-[\"b\"]",
        "599999999999999999999-[\"b\"]",
        "2[\"\xff\"]",
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct gw_sio_packet packet;
        CHECK_ROW(gw_sio_parse(rows[i], strlen(rows[i]), &packet), rows[i]);
    }
}

static void test_payload(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *packets[4];
    } rows[] = {
        {"4hello", {"4hello"}},
        {"4a\x1e"
         "4b\x1e"
         "bAQID",
         {"4a", "4b", "bAQID"}},
        {"", {""}},
        {"\x1e", {"", ""}},
        {"4a\x1e", {"4a", ""}},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t at = 0, n = 0;
        struct gw_slice packet;
        for (; gw_eio_next(rows[i].text, strlen(rows[i].text), &at, &packet); n++)
            CHECK_ROW(n < 4 && rows[i].packets[n] && is(packet, rows[i].packets[n]), rows[i].text);
        CHECK_ROW(n == 4 || !rows[i].packets[n], rows[i].text);
    }
}

static void test_fill(void **state)
{
    (void)state;
    static const struct {
        const char *json, *filled; /* NULL: it can't be */
    } rows[] = {
        {"[1,\"{\\\"_placeholder\\\":true,\\\"num\\\":0}\"]", "[1,\"{\\\"_placeholder\\\":true,\\\"num\\\":0}\"]"},
        {"[{\"_placeholder\":true,\"num\":0}]", "[{\"base64\":\"AQID\"}]"},
        {"[{\"a\":[{\"_placeholder\":true,\"num\":1},{\"_placeholder\":true,\"num\":0}]}]",
         "[{\"a\":[{\"base64\":\"\"},{\"base64\":\"AQID\"}]}]"},
        {"[ { \"_placeholder\" : true , \"num\" : 0 } ]", "[ {\"base64\":\"AQID\"} ]"},
        {"[{\"_placeholder\":true,\"num\":2}]", NULL},
        {"[{\"_placeholder\":true,\"num\":999}]", NULL},
        {"[{\"_placeholder\":true,\"num\":0,\"x\":1}]", "[{\"_placeholder\":true,\"num\":0,\"x\":1}]"},
        {"[{\"_placeholder\":false,\"num\":0}]", "[{\"_placeholder\":false,\"num\":0}]"},
        {"[\"a\\\\\",{\"_placeholder\":true,\"num\":0}]", "[\"a\\\\\",{\"base64\":\"AQID\"}]"},
    };
    struct gw_buf attachments[2] = {0};
    gw_buf_add(&attachments[0], "\1\2\3", 3);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct gw_buf out = {0};
        bool filled = gw_sio_fill(slice(rows[i].json), attachments, 2, &out);
        CHECK_ROW(filled == (rows[i].filled != NULL), rows[i].json);
        CHECK_ROW(!filled || !strcmp(out.data, rows[i].filled), rows[i].json);
        CHECK_ROW(!filled || gw_json_valid(out.data, out.len), rows[i].json);
        gw_buf_fini(&out);
    }
    gw_buf_fini(&attachments[0]);
    unsigned num;
    assert_true(gw_sio_placeholder(slice("{\"_placeholder\":true,\"num\":3} "), &num));
    assert_int_equal(num, 3);
    assert_false(gw_sio_placeholder(slice("{\"_placeholder\":true,\"num\":3}x"), &num));
    assert_false(gw_sio_placeholder(slice("[{\"_placeholder\":true,\"num\":3}]"), &num));
    assert_false(gw_sio_placeholder(slice("{\"_placeholder\":true,\"num\":}"), &num));
}

static void test_head(void **state)
{
    (void)state;
    struct gw_buf out = {0};
    gw_sio_add_head(&out, GW_SIO_EVENT, "/");
    gw_sio_add_head(&out, GW_SIO_CONNECT, "/custom");
    gw_sio_add_head_id(&out, GW_SIO_ACK, "/custom", 12);
    gw_sio_add_head_id(&out, GW_SIO_ACK, "/", 9007199254740991);
    assert_string_equal(out.data, "4240/custom,43/custom,12439007199254740991");
    gw_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good), cmocka_unit_test(test_bad),  cmocka_unit_test(test_payload),
        cmocka_unit_test(test_fill), cmocka_unit_test(test_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
