/* JSON scanning and the codecs. */
#include "base/json_scan.h"
#include "check.h"
#include "codec/json_pointer.h"
#include "gateway/codec.h"

/* In the manner of the JSON parsing test suite: y must pass, n must fail, and what is left open as we want it. */
static const char *const valid[] = {
    "0",
    "-0",
    "1e400",
    "-1.5E+10",
    "123456789012345678901234567890",
    "\"\"",
    "\"\\u0000\"",
    "\"\\uD800\"",
    "\"\\uDd1e\\uD834\"",
    "null",
    "true",
    "false",
    "[]",
    "{}",
    " [ ] ",
    "\t{\n}\r",
    "[1,2 , 3]",
    "{\"a\":1,\"a\":2}",
    "{\"\":{}}",
    "[[[[]]]]",
    "{\"a\":[{\"b\":null}]}",
    "\"\xc3\xbc\xf0\x9d\x84\x9e\"",
    "\"\x7f\"",
    "[-0.0]",
    "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
    "[\"a\"]\n",
    "{\"\\u0061\":1}",
    "\"\xef\xbf\xbf\"",
};
static const char *const invalid[] = {
    "",
    " ",
    "nul",
    "nulll",
    "True",
    "01",
    "-",
    "-01",
    "+1",
    ".5",
    "5.",
    "1e",
    "1e+",
    "0x1",
    "NaN",
    "Infinity",
    "-Infinity",
    "\"",
    "\"a",
    "\"\n\"",
    "\"\t\"",
    "\"\\x00\"",
    "\"\\u00A\"",
    "\"\\u00G0\"",
    "\"\\",
    "'a'",
    "[",
    "]",
    "[1",
    "[1,",
    "[1,]",
    "[,1]",
    "[1 2]",
    "[1}",
    "{",
    "}",
    "{\"a\"",
    "{\"a\":",
    "{\"a\":1",
    "{\"a\":1,",
    "{\"a\":1,}",
    "{a:1}",
    "{1:1}",
    "{\"a\" 1}",
    "{\"a\":1]",
    "{\"a\":1 \"b\":2}",
    "{null:null}",
    "1 2",
    "{}{}",
    "[]x",
    "\xef\xbb\xbf{}",
    "\"\xff\"",
    "[\"\xe5\"]",
    "\"\xed\xa0\x80\"",
    "\"\xc0\xaf\"",
    "[\x0c]",
    "[\xe2\x81\xa0]",
    "<null>",
    "[\"\\a\"]",
    "9.3e+",
    "2.e3",
    "[1e]",
};

static void test_json_valid(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(valid); i++)
        CHECK_ROW(gw_json_valid(valid[i], strlen(valid[i])), valid[i]);
    for (size_t i = 0; i < COUNT(invalid); i++) {
        /* From the heap to the byte, so that reading beyond the end is seen. */
        size_t len = strlen(invalid[i]);
        char *exact = malloc(len ? len : 1);
        memcpy(exact, invalid[i], len);
        CHECK_ROW(!gw_json_valid(exact, len), invalid[i]);
        free(exact);
    }
    assert_false(gw_json_valid("[\0]", 3));
    char deep[2 * 100000];
    memset(deep, '[', 100000);
    memset(deep + 100000, ']', 100000);
    assert_true(gw_json_valid(deep + 100000 - GW_JSON_DEPTH_MAX, GW_JSON_DEPTH_MAX * 2));
    assert_false(gw_json_valid(deep + 100000 - GW_JSON_DEPTH_MAX - 1, GW_JSON_DEPTH_MAX * 2 + 2));
    assert_false(gw_json_valid(deep, sizeof deep));
}

/* Strings are scanned many bytes at a time: each byte at each place of strings of each length counts all the same. */
static void test_json_string_bytes(void **state)
{
    (void)state;
    for (size_t len = 1; len <= 40; len++) {
        for (size_t at = 0; at < len; at++) {
            for (unsigned byte = 0; byte < 256; byte++) {
                char *text = malloc(len + 2); /* exact, so that ASan sees a read behind it */
                memset(text, 'x', len + 2);
                text[0] = text[len + 1] = '"';
                text[1 + at] = (char)byte;
                bool plain = byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
                assert_int_equal(gw_json_valid(text, len + 2), plain);
                free(text);
            }
        }
    }
}

static void test_json_prefixes(void **state)
{
    (void)state;
    static const char text[] =
        "{\"a\":[1,{\"b\":\"\\u00e9\\n\"},-1.5e3,null,true],\"data\":{\"x\":[]},\"c\":\"\xc3\xbc\"}";
    for (size_t len = 0; len < sizeof text - 1; len++) {
        char *exact = malloc(len ? len : 1);
        memcpy(exact, text, len);
        assert_false(gw_json_valid(exact, len));
        free(exact);
    }
    assert_true(gw_json_valid(text, sizeof text - 1));
}

static void test_json_find(void **state)
{
    (void)state;
    static const struct {
        const char *text, *key, *value;
    } rows[] = {
        {"{\"a\":1}", "a", "1"},
        {" { \"x\" : [1,{\"a\":9}] , \"a\" : \"b\" } ", "a", "\"b\""},
        {"{\"a\":1,\"a\":{\"b\":2}}", "a", "{\"b\":2}"},
        {"{\"\\u0064ata\":5}", "data", "5"},
        {"{\"b\":{\"a\":1}}", "a", NULL},
        {"[\"a\",1]", "a", NULL},
        {"{}", "a", NULL},
        {"5", "a", NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct gw_slice value = {0};
        bool found = gw_json_find(rows[i].text, strlen(rows[i].text), rows[i].key, &value);
        CHECK_ROW(found == (rows[i].value != NULL), rows[i].text);
        if (found)
            CHECK_ROW(value.len == strlen(rows[i].value) && !memcmp(value.data, rows[i].value, value.len),
                      rows[i].text);
    }
    assert_int_equal(gw_json_member_count("{\"a\":1,\"b\":[1,2]}", 17), 2);
    assert_int_equal(gw_json_member_count("[1,2]", 5), 0);
}

static void test_json_unescape(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"\"\"", ""},
        {"\"a\\n\\t\\\"\\\\\\/\\b\\f\\r\"", "a\n\t\"\\/\b\f\r"},
        {"\"\\u00fc\\u20ac\"", "\xc3\xbc\xe2\x82\xac"},
        {"\"\\ud834\\udd1e\"", "\xf0\x9d\x84\x9e"},
        {"\"\\ud834\"", "\xef\xbf\xbd"},
        {"\"\\udd1ex\"", "\xef\xbf\xbdx"},
        {"\"\\ud834\\u0041\"", "\xef\xbf\xbd"
                               "A"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct gw_buf out = {0};
        gw_json_unescape(rows[i][0], strlen(rows[i][0]), &out);
        assert_string_equal(out.data ? out.data : "", rows[i][1]);
        gw_buf_fini(&out);
    }
}

/* --- codecs ---------------------------------------------------------------------------------------------------- */

static const struct {
    const char *codec, *payload;
    size_t len;       /* 0: strlen */
    const char *json; /* NULL: refused */
    bool binary;
} decodes[] = {
    {"auto", "21.5", 0, "21.5", false},
    {"auto", "ON", 0, "\"ON\"", false},
    {"auto", "{\"a\":1}\n", 0, "{\"a\":1}\n", false},
    {"auto", "\xff\xfe", 0, "{\"base64\":\"//4=\"}", true},
    {"auto", "\0", 1, "\"\\u0000\"", false},
    {"auto", "{\"a\":1}{\"b\":2}", 0, "\"{\\\"a\\\":1}{\\\"b\\\":2}\"", false},
    {"auto", "a\r\nb", 0, "\"a\\r\\nb\"", false},
    {"json", "{\"a\":1}", 0, "{\"a\":1}", false},
    {"json", "ON", 0, NULL, false},
    {"json", "\"\xff\"", 0, NULL, false},
    {"json", "null", 0, "null", false},
    {"json", " ", 0, NULL, false},
    {"json", "{\"a\":nan}", 0, NULL, false},
    {"lenient", " {\"a\":1}\n", 0, " {\"a\":1}\n", false},
    {"lenient", "{'a':nan,}", 0, "{\"a\":null}", false},
    {"lenient", "{\"a\":1}\0", 8, "{\"a\":1}", false},
    {"lenient", "\"21\xb0\"", 0, "\"21\xc2\xb0\"", false},
    {"lenient", "ON", 0, NULL, false},
    {"lenient", "null", 0, "null", false},
    {"auto", "null", 0, "null", false},
    {"text", "null", 0, "\"null\"", false},
    {"number", "null", 0, NULL, false},
    {"base64", "null", 0, "\"bnVsbA==\"", false},
    {"text", "5", 0, "\"5\"", false},
    {"text",
     "a\xff"
     "b",
     0,
     "\"a\xef\xbf\xbd"
     "b\"",
     true},
    {"number", "5", 0, "5", false},
    {"number", " 5.50\n", 0, "5.50", false},
    {"number", "+5", 0, "5", false},
    {"number", ".5", 0, "0.5", false},
    {"number", "-.5e3", 0, "-0.5e3", false},
    {"number", "5.", 0, "5", false},
    {"number", "007", 0, "7", false},
    {"number", "000", 0, "0", false},
    {"number", "1e400", 0, "1e400", false},
    {"number", "-", 0, NULL, false},
    {"number", ".", 0, NULL, false},
    {"number", "1e", 0, NULL, false},
    {"number", "1 2", 0, NULL, false},
    {"number", "ON", 0, NULL, false},
    {"number", "nan", 0, NULL, false},
    {"number", "true", 0, NULL, false},
    {"number", "\"5\"", 0, NULL, false},
    {"number", " ", 0, NULL, false},
    {"base64", "\x00\xff", 2, "\"AP8=\"", true},
    {"base64", "a", 0, "\"YQ==\"", false},
};

static void test_decode(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(decodes); i++) {
        struct gw_buf scratch = {0};
        struct gw_decoded decoded;
        size_t len = decodes[i].len ? decodes[i].len : strlen(decodes[i].payload);
        enum gw_err err = gw_codec_find(decodes[i].codec)->decode(decodes[i].payload, len, &scratch, &decoded);
        CHECK_ROW((err == GW_OK) == (decodes[i].json != NULL), decodes[i].payload);
        if (err == GW_OK) {
            CHECK_ROW(decoded.len == strlen(decodes[i].json) && !memcmp(decoded.json, decodes[i].json, decoded.len),
                      decodes[i].payload);
            CHECK_ROW(decoded.binary == decodes[i].binary, decodes[i].payload);
            CHECK_ROW(gw_json_valid(decoded.json, decoded.len), decodes[i].payload);
        }
        gw_buf_fini(&scratch);
    }
    assert_null(gw_codec_find("nonsense"));
}

static const struct {
    const char *codec, *json, *payload; /* NULL: refused */
} encodes[] = {
    {"auto", "\"ON\"", "ON"},
    {"auto", "5", "5"},
    {"auto", "{\"base64\":\"YQ==\"}", "a"},
    {"auto", "{\"base64\":\"?\"}", NULL},
    {"auto", "{\"base64\":5}", "{\"base64\":5}"},
    {"auto", "{\"base64\":\"YQ==\",\"x\":1}", "{\"base64\":\"YQ==\",\"x\":1}"},
    {"auto", "\"\"", ""},
    {"json", "\"ON\"", "\"ON\""},
    {"json", "{\"a\": 1e400}", "{\"a\": 1e400}"},
    {"text", "\"a\\nb\"", "a\nb"},
    {"text", "[1]", "[1]"},
    {"number", "-5.0", "-5.0"},
    {"number", "\"5\"", NULL},
    {"number", "true", NULL},
    {"number", "[5]", NULL},
    {"base64", "\"YQ==\"", "a"},
    {"base64", "{\"base64\":\"YQ==\"}", "a"},
    {"base64", "\"Y\"", NULL},
    {"base64", "5", NULL},
    {"base64", "{\"x\":1}", NULL},
};

static void test_encode(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(encodes); i++) {
        struct gw_buf out = {0};
        const char *why = NULL;
        enum gw_err err =
            gw_codec_find(encodes[i].codec)->encode(encodes[i].json, strlen(encodes[i].json), &out, &why);
        CHECK_ROW((err == GW_OK) == (encodes[i].payload != NULL), encodes[i].json);
        if (err == GW_OK)
            CHECK_ROW(!strcmp(out.data ? out.data : "", encodes[i].payload), encodes[i].json);
        else
            CHECK_ROW(why != NULL, encodes[i].json);
        gw_buf_fini(&out);
    }
}

/* What is refused is explained; what is sent as it is stays strict. */
static void test_explain(void **state)
{
    (void)state;
    static const struct {
        const char *codec, *payload, *said;
    } said[] = {
        {"json", "{\"t\":nan}", "NaN at byte 6 is not JSON; the device should send null (codec: lenient takes it)"},
        {"json", "{\"t\":nan", "NaN at byte 6 is not JSON; the device should send null"},
        {"json", "ON", "a word at byte 1 has no double quotes, and is none of true, false and null"},
        {"lenient", "{'t':nan",
         "the text is cut off at byte 9, where a comma or } should be; is a buffer in the device "
         "too small?"},
        {"number", "21.5 C", "0x20 at byte 5 belongs to no number"},
        {"number", "21,5", "',' at byte 3 belongs to no number"},
        {"number", "-nan", "NaN or infinity at byte 1; JSON has no such number, so the device should send nothing"},
        {"number", " ", "nothing but blanks"},
        {"number", "1.2.3", "5 bytes of digits, points and signs are no number"},
    };
    for (size_t i = 0; i < COUNT(said); i++) {
        struct gw_buf out = {0};
        gw_codec_find(said[i].codec)->explain(said[i].payload, strlen(said[i].payload), &out);
        CHECK_ROW(!strcmp(out.data, said[i].said), out.data);
        gw_buf_fini(&out);
    }
    const struct gw_codec *lenient = gw_codec_find("lenient");
    assert_true(lenient->publishable("{\"a\":1}", 7));
    assert_false(lenient->publishable("{\"a\":nan}", 9));
    assert_false(lenient->publishable("{\"a\":1}\0", 8));
}

/* The examples of RFC 6901 section 5, and more. */
static void test_json_pointer(void **state)
{
    (void)state;
    static const char document[] =
        " {\"foo\":[\"bar\",\"baz\"],\"\":0,\"a/b\":1,\"c%d\":2,\"e^f\":3,\"g|h\":4,\"i\\\\j\":5,"
        "\"k\\\"l\":6,\" \":7,\"m~n\":8,\"o\":{\"p\":[ {\"q\": -1.5 } ,[],[ 1 , 2 ]]}} ";
    static const struct {
        const char *pointer, *value; /* NULL: nothing is there */
    } rows[] = {
        {"/foo", "[\"bar\",\"baz\"]"},
        {"/foo/0", "\"bar\""},
        {"/foo/1", "\"baz\""},
        {"/foo/2", NULL},
        {"/foo/01", NULL},
        {"/foo/-", NULL},
        {"/foo/", NULL},
        {"/", "0"},
        {"/a~1b", "1"},
        {"/c%d", "2"},
        {"/e^f", "3"},
        {"/g|h", "4"},
        {"/i\\j", "5"},
        {"/k\"l", "6"},
        {"/ ", "7"},
        {"/m~0n", "8"},
        {"/m~n", "8"},
        {"/o/p/0/q", "-1.5"},
        {"/o/p/1", "[]"},
        {"/o/p/1/0", NULL},
        {"/o/p/2/1", "2"},
        {"/o/p/2/99999999999999999999", NULL},
        {"/none", NULL},
        {"/foo/0/x", NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct gw_slice value;
        bool found = gw_json_pointer(document, sizeof document - 1, rows[i].pointer, &value);
        CHECK_ROW(found == (rows[i].value != NULL), rows[i].pointer);
        if (found)
            CHECK_ROW(value.len == strlen(rows[i].value) && !memcmp(value.data, rows[i].value, value.len),
                      rows[i].pointer);
    }
    struct gw_slice value;
    assert_true(gw_json_pointer(" 21.5\n", 6, "", &value) && value.len == 4);
    assert_false(gw_json_pointer("[]", 2, "/0", &value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_valid),
        cmocka_unit_test(test_json_prefixes),
        cmocka_unit_test(test_json_string_bytes),
        cmocka_unit_test(test_json_find),
        cmocka_unit_test(test_json_pointer),
        cmocka_unit_test(test_json_unescape),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_encode),
        cmocka_unit_test(test_explain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
