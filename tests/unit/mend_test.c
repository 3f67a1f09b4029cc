/* Text that is nearly JSON: what is wrong, where, and what is made of it. */
#include "base/json_mend.h"
#include "base/json_scan.h"
#include "check.h"

/* As devices and programs write them; a length only where the text holds a NUL. */
static const struct {
    const char *text;
    size_t len; /* 0: strlen */
    enum gw_json_flaw_kind first;
    size_t at;        /* of the first flaw */
    const char *json; /* NULL: it can't be mended */
} rows[] = {
    /* numbers that are none */
    {"{\"temperature\":nan,\"humidity\":40}", 0, GW_JSON_NAN, 15, "{\"temperature\":null,\"humidity\":40}"},
    {"{\"signal\":NaN}", 0, GW_JSON_NAN, 10, "{\"signal\":null}"},
    {"[-nan,+NaN,NAN]", 0, GW_JSON_NAN, 1, "[null,null,null]"},
    {"[nan(0x8000000000000),-nan(ind)]", 0, GW_JSON_NAN, 1, "[null,null]"},
    {"[1.#QNAN,-1.#IND,1.#INF,-1.#INF00]", 0, GW_JSON_NAN, 1, "[null,null,null,null]"},
    {"[1.#INF]", 0, GW_JSON_INFINITY, 1, "[null]"},
    {"[Infinity,-Infinity,inf,-INF,+inf]", 0, GW_JSON_INFINITY, 1, "[null,null,null,null,null]"},
    {"{\"p\":ovf}", 0, GW_JSON_NAN, 5, "{\"p\":null}"},
    {"nan", 0, GW_JSON_NAN, 0, "null"},
    {"{\"a\":-none}", 0, GW_JSON_BARE_WORD, 5, NULL},
    {"{\"a\":nano}", 0, GW_JSON_BARE_WORD, 5, NULL},
    /* words */
    {"{'connected': True, 'hum': 66.5, 'x': None}", 0, GW_JSON_SINGLE_QUOTE, 1,
     "{\"connected\":true,\"hum\":66.5,\"x\":null}"},
    {"[True,FALSE,Null,NULL]", 0, GW_JSON_CASE, 1, "[true,false,null,null]"},
    {"[undefined,None,nil,(null)]", 0, GW_JSON_NONE, 1, "[null,null,null,null]"},
    {"(null)", 0, GW_JSON_NONE, 0, "null"},
    {"{\"state\":ON}", 0, GW_JSON_BARE_WORD, 9, NULL},
    {"offline", 0, GW_JSON_BARE_WORD, 0, NULL},
    {"truely", 0, GW_JSON_BARE_WORD, 0, NULL},
    /* quotes and names */
    {"{'a':'b'}", 0, GW_JSON_SINGLE_QUOTE, 1, "{\"a\":\"b\"}"},
    {"['it\\'s \"x\"']", 0, GW_JSON_SINGLE_QUOTE, 1, "[\"it's \\\"x\\\"\"]"},
    {"[\"it's\"]", 0, GW_JSON_SOUND, 0, "[\"it's\"]"},
    {"{temp:1,$b_2:2,a-b.c:3}", 0, GW_JSON_BARE_NAME, 1, "{\"temp\":1,\"$b_2\":2,\"a-b.c\":3}"},
    {"{1:2}", 0, GW_JSON_BARE_NAME, 1, "{\"1\":2}"},
    {"{-:2}", 0, GW_JSON_UNEXPECTED, 1, NULL},
    {"{\\\"a\\\":1}", 0, GW_JSON_ESCAPED_QUOTE, 1, NULL},
    {"{\xe2\x80\x9c"
     "a\xe2\x80\x9d:1}",
     0, GW_JSON_CURLY_QUOTE, 1, NULL},
    /* commas */
    {"{\"a\":1,}", 0, GW_JSON_TRAILING_COMMA, 7, "{\"a\":1}"},
    {"[1,2,]", 0, GW_JSON_TRAILING_COMMA, 5, "[1,2]"},
    {"[[1,],[2,],]", 0, GW_JSON_TRAILING_COMMA, 4, "[[1],[2]]"},
    {"{\"a\":1,,\"b\":2}", 0, GW_JSON_EXTRA_COMMA, 7, "{\"a\":1,\"b\":2}"},
    {"{,\"a\":1}", 0, GW_JSON_EXTRA_COMMA, 1, "{\"a\":1}"},
    {"{,}", 0, GW_JSON_EXTRA_COMMA, 1, "{}"},
    {"[1,,2]", 0, GW_JSON_MISSING, 3, "[1,null,2]"},
    {"[,1]", 0, GW_JSON_MISSING, 1, "[null,1]"},
    {"[,]", 0, GW_JSON_MISSING, 1, "[null]"},
    {"{\"a\":,\"b\":}", 0, GW_JSON_MISSING, 5, "{\"a\":null,\"b\":null}"},
    {"{\"battery\":0,\"humidity\":61,13,\"p\":1008,7}", 0, GW_JSON_DECIMAL_COMMA, 27, NULL},
    {"{\"t\":21,5}", 0, GW_JSON_DECIMAL_COMMA, 8, NULL},
    {"{\"a\":1 \"b\":2}", 0, GW_JSON_UNEXPECTED, 7, NULL},
    {"[1 2]", 0, GW_JSON_UNEXPECTED, 3, NULL},
    {"{\"a\":1];", 0, GW_JSON_UNEXPECTED, 6, NULL},
    {"{\"a\"=1}", 0, GW_JSON_UNEXPECTED, 4, NULL},
    {"{\"a\":1};", 0, GW_JSON_UNEXPECTED, 7, NULL},
    /* comments and blanks */
    {"{/* c */\"a\":1 // end\n}", 0, GW_JSON_COMMENT, 1, "{\"a\":1}"},
    {"1 // the rest", 0, GW_JSON_COMMENT, 2, "1"},
    {"{\"a\":1 /* open", 0, GW_JSON_CUT_OFF, 14, NULL},
    {"/", 0, GW_JSON_UNEXPECTED, 0, NULL},
    {"[\"a // b\",/**/1]", 0, GW_JSON_COMMENT, 10, "[\"a // b\",1]"},
    {"[\v1,\f2,\xc2\xa0"
     "3]",
     0, GW_JSON_BLANK, 1, "[1,2,3]"},
    {" { \"a\" : [ ] } \r\n", 0, GW_JSON_SOUND, 0, "{\"a\":[]}"},
    /* inside of texts */
    {"\"a\tb\nc\"", 0, GW_JSON_CONTROL, 2, "\"a\\u0009b\\u000ac\""},
    {"\"a\0b\"", 5, GW_JSON_CONTROL, 2, "\"a\\u0000b\""},
    {"\"C:\\data\\x41\\q\"", 0, GW_JSON_ESCAPE, 3, "\"C:\\\\data\\u0041\\\\q\""},
    {"\"\\u12\"", 0, GW_JSON_ESCAPE, 1, "\"\\\\u12\""},
    {"\"\\xg\"", 0, GW_JSON_ESCAPE, 1, "\"\\\\xg\""},
    {"\"21\xb0"
     "C\"",
     0, GW_JSON_NOT_UTF8, 3,
     "\"21\xc2\xb0"
     "C\""},
    {"\"\xe4\x80\xff\"", 0, GW_JSON_NOT_UTF8, 1, "\"\xc3\xa4\xef\xbf\xbd\xc3\xbf\""},
    {"\"\xed\xa0\x80\"", 0, GW_JSON_NOT_UTF8, 1, "\"\xc3\xad\xc2\xa0\xef\xbf\xbd\""},
    {"{\"a\":\xb0}", 0, GW_JSON_UNEXPECTED, 5, NULL},
    /* numbers */
    {"[007,-007,00,0,-0]", 0, GW_JSON_ZEROS, 1, "[7,-7,0,0,-0]"},
    {"[00.5]", 0, GW_JSON_ZEROS, 1, "[0.5]"},
    {"[+1,+1.5e3]", 0, GW_JSON_PLUS, 1, "[1,1.5e3]"},
    {"[.5,-.5,+.5,5.,-5.,5.e3]", 0, GW_JSON_POINT, 1, "[0.5,-0.5,0.5,5,-5,5e3]"},
    {"[0x1F,0Xff,-0x10,0xFFFFFFFFFFFFFFFF]", 0, GW_JSON_HEX, 1, "[31,255,-16,18446744073709551615]"},
    {"[0x10000000000000000]", 0, GW_JSON_BAD_NUMBER, 1, NULL},
    {"[0x]", 0, GW_JSON_BAD_NUMBER, 1, NULL},
    {"[.]", 0, GW_JSON_BAD_NUMBER, 1, NULL},
    {"[-]", 0, GW_JSON_BAD_NUMBER, 1, NULL},
    {"[1e]", 0, GW_JSON_BAD_NUMBER, 1, NULL},
    {"[--1]", 0, GW_JSON_BAD_NUMBER, 1, NULL},
    {"[1.2.3]", 0, GW_JSON_UNEXPECTED, 4, NULL},
    {"[12:30]", 0, GW_JSON_UNEXPECTED, 3, NULL},
    {"[21.5C]", 0, GW_JSON_UNEXPECTED, 5, NULL},
    {"-", 0, GW_JSON_CUT_OFF, 1, NULL},
    {"[12345678901234567890123,1e400]", 0, GW_JSON_SOUND, 0, "[12345678901234567890123,1e400]"},
    /* the beginning and the end */
    {"\xef\xbb\xbf{\"a\":1}", 0, GW_JSON_BOM, 0, "{\"a\":1}"},
    {"{\"a\":1}\0", 8, GW_JSON_NUL_BEHIND, 7, "{\"a\":1}"},
    {"{\"a\":1}\0\0old\"}", 14, GW_JSON_NUL_BEHIND, 7, "{\"a\":1}"},
    {"5\0", 2, GW_JSON_NUL_BEHIND, 1, "5"},
    {"{\"a\":1,\0", 8, GW_JSON_NUL, 7, NULL},
    {"\0{}", 3, GW_JSON_NUL, 0, NULL},
    {"", 0, GW_JSON_EMPTY, 0, NULL},
    {" \r\n\t", 0, GW_JSON_EMPTY, 4, NULL},
    {"\0", 1, GW_JSON_EMPTY, 0, NULL},
    {"\xef\xbb\xbf", 0, GW_JSON_BOM, 0, NULL},
    {"\xff\xfe{\0}\0", 6, GW_JSON_UTF16, 0, NULL},
    {"{\0\"\0a\0\"\0:\0001\0}\0", 14, GW_JSON_UTF16, 0, NULL},
    {"\0{\0\"\0a\0\"\0:\0001\0}", 14, GW_JSON_UTF16, 0, NULL},
    {"\x1f\x8b\x08", 0, GW_JSON_GZIP, 0, NULL},
    {"{\"a\":{\"b\":[1,2", 0, GW_JSON_CUT_OFF, 14, NULL},
    {"{\"a\":\"b", 0, GW_JSON_CUT_OFF, 7, NULL},
    {"{\"a\":\"b\\", 0, GW_JSON_CUT_OFF, 8, NULL},
    {"{\"a", 0, GW_JSON_CUT_OFF, 3, NULL},
    {"{\"a\"", 0, GW_JSON_CUT_OFF, 4, NULL},
    {"{\"a\":", 0, GW_JSON_CUT_OFF, 5, NULL},
    {"{\"a\":1,", 0, GW_JSON_CUT_OFF, 7, NULL},
    {"{", 0, GW_JSON_CUT_OFF, 1, NULL},
    {"[1,", 0, GW_JSON_CUT_OFF, 3, NULL},
    {"{\"a\":1}{\"b\":2}", 0, GW_JSON_SECOND, 7, NULL},
    {"{\"a\":1}\n{\"b\":2}", 0, GW_JSON_SECOND, 8, NULL},
    {"1 2", 0, GW_JSON_SECOND, 2, NULL},
    {"]", 0, GW_JSON_UNEXPECTED, 0, NULL},
    {"<html>", 0, GW_JSON_UNEXPECTED, 0, NULL},
    {"\x81\xa1"
     "a\x01",
     0, GW_JSON_UNEXPECTED, 0, NULL},
    {"{\"a\":1,\"a\":2}", 0, GW_JSON_SOUND, 0, "{\"a\":1,\"a\":2}"},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t len = rows[i].len ? rows[i].len : strlen(rows[i].text);
        /* From the heap to the byte, so that reading beyond the end is seen. */
        char *exact = malloc(len ? len : 1);
        memcpy(exact, rows[i].text, len);
        struct gw_json_flaw first, last;
        struct gw_buf out = {0};
        bool mended = gw_json_mend(exact, len, &out, &first, &last);
        CHECK_ROW(mended == (rows[i].json != NULL), rows[i].text);
        CHECK_ROW(first.kind == rows[i].first && first.at == rows[i].at, rows[i].text);
        CHECK_ROW(mended == (last.kind == GW_JSON_SOUND), rows[i].text);
        CHECK_ROW(gw_json_valid(exact, len) == (first.kind == GW_JSON_SOUND), rows[i].text);
        if (mended)
            CHECK_ROW(!strcmp(out.data, rows[i].json) && gw_json_valid(out.data, out.len), rows[i].text);
        free(exact);
        gw_buf_fini(&out);
    }
}

/* Every beginning of every row ends in an answer, and what is mended is valid. */
static void test_beginnings(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t len = rows[i].len ? rows[i].len : strlen(rows[i].text);
        for (size_t part = 0; part < len; part++) {
            char *exact = malloc(part ? part : 1);
            memcpy(exact, rows[i].text, part);
            struct gw_json_flaw first, last;
            struct gw_buf out = {0};
            if (gw_json_mend(exact, part, &out, &first, &last))
                CHECK_ROW(gw_json_valid(out.data, out.len), rows[i].text);
            CHECK_ROW(first.at <= part && last.at <= part, rows[i].text);
            free(exact);
            gw_buf_fini(&out);
        }
    }
}

static void test_depth(void **state)
{
    (void)state;
    char deep[2 * (GW_JSON_DEPTH_MAX + 1)];
    memset(deep, '[', GW_JSON_DEPTH_MAX + 1);
    memset(deep + GW_JSON_DEPTH_MAX + 1, ']', GW_JSON_DEPTH_MAX + 1);
    struct gw_json_flaw first, last;
    struct gw_buf out = {0};
    assert_true(gw_json_mend(deep + 1, sizeof deep - 2, &out, &first, &last));
    assert_false(gw_json_mend(deep, sizeof deep, &out, &first, &last));
    assert_int_equal(last.kind, GW_JSON_DEPTH);
    assert_int_equal(last.at, GW_JSON_DEPTH_MAX);
    gw_buf_fini(&out);
}

static void test_words(void **state)
{
    (void)state;
    static const struct {
        const char *text, *said;
    } said[] = {
        {"{\"temperature\":nan}", "NaN at byte 16 is not JSON; the device should send null"},
        {"{\"a\":1",
         "the text is cut off at byte 7, where a comma or } should be; is a buffer in the device too small?"},
        {"{\"a\"=1}", "'=' at byte 5, where a colon should be"},
        {"{\"a\":\xb0}", "0xb0 at byte 6, where a value should be"},
        {"offline", "a word at byte 1 has no double quotes, and is none of true, false and null"},
        {"{\"a\":1}{", "a second value begins at byte 8; one message holds one value"},
        {"{\"h\":61,13}", "a number where a name belongs at byte 9; is it a decimal comma? JSON has a decimal point"},
    };
    for (size_t i = 0; i < COUNT(said); i++) {
        struct gw_json_flaw first, last;
        struct gw_buf out = {0};
        (void)gw_json_mend(said[i].text, strlen(said[i].text), &out, &first, &last);
        gw_buf_clear(&out);
        gw_json_flaw_describe(&first, &out);
        CHECK_ROW(!strcmp(out.data, said[i].said), out.data);
        gw_buf_fini(&out);
    }
    /* Every kind has its words. */
    for (int kind = GW_JSON_SOUND + 1; kind <= GW_JSON_UNEXPECTED; kind++) {
        const struct gw_json_flaw flaw = {.kind = (enum gw_json_flaw_kind)kind, .at = 11};
        struct gw_buf out = {0};
        gw_json_flaw_describe(&flaw, &out);
        CHECK_ROW(strstr(out.data, "at byte 12") && !strstr(out.data, "(null)"), out.data);
        gw_buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_beginnings),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
