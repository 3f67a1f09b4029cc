/* Types and tags of payloads, their addresses, and parts of them. */
#include "check.h"
#include "gateway/codec.h"
#include "gateway/media.h"
#include "gateway/message.h"
#include "http/range.h"

static void test_allowed(void **state)
{
    (void)state;
    static const char *const yes[] = {"image/jpeg",
                                      "IMAGE/PNG",
                                      "image/vnd.ms-dds",
                                      "audio/ogg; codecs=opus",
                                      "video/mp4",
                                      "text/plain; charset=utf-8",
                                      "text/plain;charset=utf-8",
                                      "application/json",
                                      "application/vnd.company.thing+json"};
    static const char *const no[] = {"",
                                     "image",
                                     "image/",
                                     "/png",
                                     "image/svg+xml",
                                     "image/SVG+XML",
                                     "image/svg",
                                     "image/svg+xml; charset=utf-8",
                                     "text/html",
                                     "text/xml",
                                     "text/css",
                                     "text/javascript",
                                     "application/javascript",
                                     "application/ecmascript",
                                     "application/xml",
                                     "application/xhtml+xml",
                                     "application/vnd.mozilla.xul+xml",
                                     "application/wasm",
                                     "application/jsonp",
                                     "multipart/x-mixed-replace",
                                     "text/event-stream",
                                     "image/png, text/html",
                                     "image/png;",
                                     "image/png; x",
                                     "image/png; x=",
                                     "image/png; x=\"y\"",
                                     "image/png\r\nX: y",
                                     "image/png ",
                                     " image/png",
                                     "image/p\xc3\xa4g"};
    for (size_t i = 0; i < COUNT(yes); i++)
        CHECK_ROW(gw_media_type_allowed(yes[i], strlen(yes[i])), yes[i]);
    for (size_t i = 0; i < COUNT(no); i++)
        CHECK_ROW(!gw_media_type_allowed(no[i], strlen(no[i])), no[i]);
    char longest[129] = "image/";
    memset(longest + 6, 'x', 122);
    assert_true(gw_media_type_allowed(longest, 127));
    assert_false(gw_media_type_allowed(longest, 128));
    assert_false(gw_media_type_allowed("image/png\0", 10));
}

#define BYTES(text) text, sizeof text - 1

static void test_sniffed(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        const char *type;
    } rows[] = {
        {BYTES("\xff\xd8\xff\xe0"), "image/jpeg"},
        {BYTES("\x89PNG\r\n\x1a\n"), "image/png"},
        {BYTES("GIF87a"), "image/gif"},
        {BYTES("GIF89a"), "image/gif"},
        {BYTES("RIFF\1\2\3\4WEBPVP8L"), "image/webp"},
        {BYTES("RIFX\1\2\3\4WEBPVP8L"), "application/octet-stream"},
        {BYTES("GIF90a"), "text/plain; charset=utf-8"},
        {BYTES("<svg xmlns='http://www.w3.org/2000/svg'/>"), "text/plain; charset=utf-8"},
        {BYTES("<html>"), "text/plain; charset=utf-8"},
        {BYTES("{}"), "application/json"},
        {BYTES("21.5\n"), "application/json"},
        {BYTES("a\0b"), "application/octet-stream"},
        {BYTES("\xff\xfe<\0h\0"), "application/octet-stream"},
        {BYTES("\xff\xd8"), "application/octet-stream"},
        {BYTES("\x1b[1m"), "text/plain; charset=utf-8"},
        {BYTES(""), "text/plain; charset=utf-8"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *exact = malloc(rows[i].len + 1); /* so that ASan sees a read beyond it */
        memcpy(exact, rows[i].bytes, rows[i].len);
        exact = realloc(exact, rows[i].len ? rows[i].len : 1);
        CHECK_ROW(!strcmp(gw_media_sniff(exact, rows[i].len), rows[i].type), rows[i].type);
        free(exact);
    }
}

static struct gw_slice type_of(const char *of_route, const char *said)
{
    struct gw_buf block = {0};
    if (said) {
        const struct gw_property property = {.id = GW_PROPERTY_CONTENT_TYPE, .value = {said, strlen(said)}};
        gw_properties_add(&block, &property);
    }
    static char text[128];
    struct gw_slice type = gw_media_type(of_route, (struct gw_slice){block.data, block.len}, "GIF89a", 6);
    snprintf(text, sizeof text, "%.*s", (int)type.len, type.data);
    gw_buf_fini(&block);
    return (struct gw_slice){text, type.len};
}

static void test_who_says_it(void **state)
{
    (void)state;
    assert_string_equal(type_of("image/bmp", "image/png").data, "image/bmp");
    assert_string_equal(type_of(NULL, "image/png").data, "image/png");
    assert_string_equal(type_of(NULL, "text/html").data, "image/gif");
    assert_string_equal(type_of(NULL, NULL).data, "image/gif");
    assert_true(gw_media_is_picture((struct gw_slice){"Image/x", 7}));
    assert_false(gw_media_is_picture((struct gw_slice){"image/", 6}));
}

static void test_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *channel, *address;
    } rows[] = {
        {"cam/door", "channels/cam/door/raw?v=T"}, {"a b/\xc3\xbc?#%", "channels/a%20b/%C3%BC%3F%23%25/raw?v=T"},
        {"/a", "channels/%2Fa/raw?v=T"},           {"a/", "channels/a%2F/raw?v=T"},
        {"a//b", "channels/a%2F%2Fb/raw?v=T"},     {"a/../b", "channels/a%2F..%2Fb/raw?v=T"},
        {"./b", "channels/.%2Fb/raw?v=T"},         {"a/..", "channels/a%2F../raw?v=T"},
        {"a/...", "channels/a/.../raw?v=T"},       {"x/raw", "channels/x/raw/raw?v=T"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct gw_buf out = {0};
        gw_media_address(&out, rows[i].channel, strlen(rows[i].channel), "T");
        CHECK_ROW(!strcmp(out.data, rows[i].address), rows[i].address);
        gw_buf_fini(&out);
    }
}

static void test_tags(void **state)
{
    (void)state;
    char one[GW_MEDIA_TAG], two[GW_MEDIA_TAG];
    gw_media_tag("abc", 3, one);
    assert_string_equal(one, "ungWv48Bz-pBQUDe"); /* SHA-256 of FIPS 180-2, appendix B.1 */
    gw_media_tag("abd", 3, two);
    assert_string_not_equal(one, two);
    const struct gw_message_spec spec = {.channel = "c",
                                         .channel_len = 1,
                                         .json = "\"x\"",
                                         .json_len = 3,
                                         .payload = "abc",
                                         .payload_len = 3,
                                         .epoch = "E",
                                         .seq = 1};
    struct gw_message *msg = gw_message_create(&spec);
    const char *tag = gw_media_tag_of(msg);
    assert_string_equal(tag, one);
    assert_ptr_equal(gw_media_tag_of(msg), tag);
    gw_message_unref(msg);
}

static void test_blob(void **state)
{
    (void)state;
    const struct gw_codec *blob = gw_codec_find("blob");
    struct gw_buf scratch = {0}, payload = {0};
    struct gw_decoded decoded;
    const char *why;
    const struct gw_codec_place place = {.channel = "c/\"", .channel_len = 3, .content_type = "application/cbor"};
    assert_int_equal(blob->decode_at("abc", 3, &place, &scratch, &decoded), GW_OK);
    assert_string_equal(
        decoded.json,
        "{\"url\":\"channels/c/%22/raw?v=ungWv48Bz-pBQUDe\",\"type\":\"application/cbor\",\"bytes\":3}");
    assert_true(decoded.binary && !decoded.replaces);
    assert_int_equal(blob->decode("abc", 3, &scratch, &decoded), GW_ERR_UNSUPPORTED);
    assert_int_equal(blob->encode("{\"base64\":\"YWJj\"}", 17, &payload, &why), GW_OK);
    assert_memory_equal(payload.data, "abc", 3);
    assert_int_equal(blob->encode("{\"url\":\"x\"}", 11, &payload, &why), GW_ERR_BAD_PAYLOAD);
    gw_buf_fini(&scratch);
    gw_buf_fini(&payload);
}

static void test_ranges(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        size_t size;
        enum gw_range range;
        size_t from, len;
    } rows[] = {
        {"", 10, GW_RANGE_NONE, 0, 0},
        {"bytes=0-0", 10, GW_RANGE_PART, 0, 1},
        {"BYTES=0-9", 10, GW_RANGE_PART, 0, 10},
        {"bytes=9-", 10, GW_RANGE_PART, 9, 1},
        {"bytes=3-100", 10, GW_RANGE_PART, 3, 7},
        {"bytes=3-18446744073709551615", 10, GW_RANGE_PART, 3, 7},
        {"bytes=3-99999999999999999999", 10, GW_RANGE_PART, 3, 7},
        {"bytes=-3", 10, GW_RANGE_PART, 7, 3},
        {"bytes=-10", 10, GW_RANGE_PART, 0, 10},
        {"bytes=-99999999999999999999", 10, GW_RANGE_PART, 0, 10},
        {"bytes=10-", 10, GW_RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=99999999999999999999-", 10, GW_RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=-0", 10, GW_RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=0-", 0, GW_RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=-1", 0, GW_RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=2-1", 10, GW_RANGE_NONE, 0, 0},
        {"bytes=", 10, GW_RANGE_NONE, 0, 0},
        {"bytes=-", 10, GW_RANGE_NONE, 0, 0},
        {"bytes=1", 10, GW_RANGE_NONE, 0, 0},
        {"bytes=1-2,", 10, GW_RANGE_NONE, 0, 0},
        {"bytes=1-2,3-4", 10, GW_RANGE_NONE, 0, 0},
        {"bytes=1--2", 10, GW_RANGE_NONE, 0, 0},
        {"bytes=+1-2", 10, GW_RANGE_NONE, 0, 0},
        {"bytes =1-2", 10, GW_RANGE_NONE, 0, 0},
        {"bytes=1-2 ", 10, GW_RANGE_NONE, 0, 0},
        {"lines=1-2", 10, GW_RANGE_NONE, 0, 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t from = 0, len = 0;
        struct gw_slice value = {rows[i].value, strlen(rows[i].value)};
        CHECK_ROW(gw_range_read(value, rows[i].size, &from, &len) == rows[i].range, rows[i].value);
        CHECK_ROW(from == rows[i].from && len == rows[i].len, rows[i].value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allowed),   cmocka_unit_test(test_sniffed), cmocka_unit_test(test_who_says_it),
        cmocka_unit_test(test_addresses), cmocka_unit_test(test_tags),    cmocka_unit_test(test_blob),
        cmocka_unit_test(test_ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
