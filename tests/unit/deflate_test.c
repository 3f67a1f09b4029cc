/* permessage-deflate: what is negotiated, compressed frames of messages, and inflating what may be hostile. */
#include <pthread.h>
#include <zlib.h>

#include "check.h"
#include "websocket/deflate.h"

static void test_negotiation(void **state)
{
    (void)state;
    static const char plain[] = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    static const char bits[] =
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12";
    static const struct {
        const char *offers, *answer; /* NULL: none of them */
    } rows[] = {
        {"permessage-deflate", plain},
        {"permessage-deflate; client_max_window_bits", plain}, /* browsers, npm's ws, Python's websockets */
        {"permessage-deflate; server_max_window_bits=12; client_max_window_bits=12", bits},
        {"  permessage-deflate ;\tserver_no_context_takeover;client_no_context_takeover  ", plain},
        {"permessage-deflate; server_max_window_bits=15", bits},
        {"permessage-deflate; server_max_window_bits=\"13\"", bits},
        {"permessage-deflate; client_max_window_bits=8", plain},
        {"permessage-deflate; client_max_window_bits=\"15\"", plain},
        {"permessage-deflate; server_max_window_bits=11", NULL}, /* smaller than ours */
        {"permessage-deflate; server_max_window_bits=11, permessage-deflate", plain},
        {"permessage-deflate; server_max_window_bits=9, permessage-deflate; server_max_window_bits=14", bits},
        {"x-webkit-deflate-frame, permessage-deflate", plain},
        {"foo; bar=\"a, permessage-deflate\"; baz, permessage-deflate; server_max_window_bits=12", bits},
        {"foo; bar=\"a, permessage-deflate\"", NULL},
        {"foo; bar=\"\\\", permessage-deflate", NULL},
        {"foo bar, permessage-deflate", plain},
        {",, permessage-deflate", plain},
        {"", NULL},
        {",", NULL},
        {"permessage-deflate2", NULL},
        {"PERMESSAGE-DEFLATE", NULL},
        {"permessage", NULL},
        {"permessage-deflate;", NULL},
        {"permessage-deflate; ;", NULL},
        {"permessage-deflate; x", NULL},
        {"permessage-deflate; server_no_context_takeover=1", NULL},
        {"permessage-deflate; client_no_context_takeover=\"\"", NULL},
        {"permessage-deflate; server_no_context_takeover; server_no_context_takeover", NULL},
        {"permessage-deflate; client_max_window_bits; client_max_window_bits=10", NULL},
        {"permessage-deflate; server_max_window_bits", NULL},
        {"permessage-deflate; server_max_window_bits=", NULL},
        {"permessage-deflate; server_max_window_bits=\"12", NULL},
        {"permessage-deflate; server_max_window_bits=012", NULL},
        {"permessage-deflate; server_max_window_bits=16", NULL},
        {"permessage-deflate; server_max_window_bits=12x", NULL},
        {"permessage-deflate; client_max_window_bits=7", NULL},
        {"permessage-deflate; client_max_window_bits=16", NULL},
        {"permessage-deflate; client_max_window_bits=0", NULL},
        {"permessage-deflate; client_max_window_bits=-9", NULL},
        {"permessage-deflate client_max_window_bits", NULL},
        {"permessage-deflate=1", NULL},
        {"permessage-deflate; server_max_window_bits=12 13", NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char answer[GW_DEFLATE_ANSWER_MAX], expected[GW_DEFLATE_ANSWER_MAX];
        size_t len = strlen(rows[i].offers);
        char *exact =
            malloc(len ? len : 1); /* without a NUL behind it, so that AddressSanitizer sees what reads too far */
        memcpy(exact, rows[i].offers, len);
        bool good = gw_deflate_negotiate((struct gw_slice){exact, len}, answer);
        free(exact);
        CHECK_ROW(good == (rows[i].answer != NULL), rows[i].offers);
        if (!good)
            continue;
        snprintf(expected, sizeof expected, "Sec-WebSocket-Extensions: %s\r\n", rows[i].answer);
        CHECK_ROW(!strcmp(answer, expected), rows[i].offers);
    }
}

/* --- messages --------------------------------------------------------------------------------------------------- */

static void configure(size_t least, size_t history)
{
    struct gw_config config = {.web.compression_min = least, .limits.history_bytes = history};
    gw_deflate_configure(&config);
}

static struct gw_message *message(uint64_t seq, const char *json, bool binary)
{
    struct gw_message_spec spec = {.channel = "rooms/k",
                                   .channel_len = 7,
                                   .json = json,
                                   .json_len = strlen(json),
                                   .payload = json,
                                   .payload_len = strlen(json),
                                   .epoch = "e",
                                   .seq = seq,
                                   .ts = 1764000000123,
                                   .binary = binary};
    return gw_message_create(&spec);
}

static void repeated(char *out, size_t len, uint64_t seed)
{
    out[0] = '"';
    for (size_t i = 1; i + 2 < len; i++)
        out[i] = "abcd"[check_random(&seed) >> 8 & 3];
    memcpy(out + len - 2, "\"", 2);
}

/* The payload of a server's frame, whose header is checked. */
static struct gw_slice payload_of(struct gw_slice frame, unsigned first)
{
    const uint8_t *at = (const uint8_t *)frame.data;
    assert_int_equal(at[0], first);
    size_t header = at[1] < 126 ? 2 : at[1] == 126 ? 4 : 10;
    uint8_t expected[GW_WS_HEADER_MAX];
    assert_int_equal(gw_ws_header(expected, first & 15, frame.len - header), header);
    assert_memory_equal(expected + 1, at + 1, header - 1);
    return (struct gw_slice){frame.data + header, frame.len - header};
}

static void check_frame(struct gw_inflater *states, struct gw_slice frame, unsigned first, struct gw_slice plain)
{
    struct gw_slice packed = payload_of(frame, first);
    struct gw_buf out = {0};
    assert_int_equal(gw_inflate(states, packed.data, packed.len, plain.len, &out), 0);
    assert_int_equal(out.len, plain.len);
    assert_memory_equal(out.data, plain.data, plain.len);
    gw_buf_fini(&out);
}

static void test_messages(void **state)
{
    (void)state;
    struct gw_inflater *states = gw_inflater_create();
    static const size_t sizes[] = {300, 1000, 100000};
    configure(0, 0);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        char *json = malloc(sizes[i]);
        repeated(json, sizes[i], i);
        struct gw_message *msg = message(i + 1, json, i == 1);
        uint64_t count = gw_deflate_count();
        struct gw_slice text = gw_deflate_message(msg, GW_WS_FORM_TEXT);
        struct gw_slice raw = gw_deflate_message(msg, GW_WS_FORM_RAW);
        assert_non_null(text.data);
        assert_non_null(raw.data);
        assert_true(text.len < msg->text.len && raw.len < msg->payload.len);
        check_frame(states, text, 0xc1, msg->text);
        check_frame(states, raw, i == 1 ? 0xc2 : 0xc1, msg->payload);
        assert_ptr_equal(gw_deflate_message(msg, GW_WS_FORM_TEXT).data, text.data); /* once */
        assert_int_equal(gw_deflate_count(), count + 2);
        assert_true(gw_deflate_bytes() > text.len + raw.len && gw_deflate_bytes() < text.len + raw.len + 128);
        gw_message_unref(msg);
        assert_int_equal(gw_deflate_bytes(), 0);
        free(json);
    }
    gw_inflater_destroy(states);
}

/* Hardly any of it can be saved if it has 8 bits, an eighth if it has 7. It is not JSON, which nobody looks at here.
 */
static char *noise(size_t len, unsigned values)
{
    char *text = malloc(len + 1);
    uint64_t seed = len;
    for (size_t i = 0; i < len; i++)
        text[i] = (char)(1 + check_random(&seed) % values);
    text[len] = '\0';
    return text;
}

static void test_not_worth_it(void **state)
{
    (void)state;
    char *json = noise(400, 255);
    struct gw_message *msg = message(1, json, false);
    configure(300, 0);
    uint64_t count = gw_deflate_count();
    assert_null(gw_deflate_message(msg, GW_WS_FORM_RAW).data);
    assert_null(gw_deflate_message(msg, GW_WS_FORM_RAW).data);
    assert_int_equal(gw_deflate_count(), count + 1); /* that it does not pay is remembered */
    gw_message_unref(msg);
    free(json);

    char small[200];
    repeated(small, sizeof small, 1);
    msg = message(2, small, false);
    assert_null(gw_deflate_message(msg, GW_WS_FORM_RAW).data); /* below compression_min */
    assert_null(gw_deflate_message(msg, GW_WS_FORM_TEXT).data);
    assert_int_equal(gw_deflate_count(), count + 1);
    configure(100, 0); /* for what is there already too */
    assert_non_null(gw_deflate_message(msg, GW_WS_FORM_RAW).data);
    gw_message_unref(msg);
    assert_int_equal(gw_deflate_bytes(), 0);
}

static void test_bound(void **state)
{
    (void)state;
    struct gw_message *many[24];
    char *json = noise(1 << 20, 127);
    size_t good = 0, most = 16 << 20;
    configure(0, 0);
    for (size_t i = 0; i < COUNT(many); i++) {
        many[i] = message(i + 1, json, false);
        good += gw_deflate_message(many[i], GW_WS_FORM_TEXT).data != NULL;
        assert_true(gw_deflate_bytes() <= most);
    }
    assert_true(good > 12 && good < COUNT(many));
    assert_null(gw_deflate_message(many[COUNT(many) - 1], GW_WS_FORM_TEXT).data);
    assert_non_null(gw_deflate_message(many[0], GW_WS_FORM_TEXT).data); /* what is there is there */
    gw_message_unref(many[0]);
    gw_message_unref(many[1]);
    assert_non_null(gw_deflate_message(many[COUNT(many) - 1], GW_WS_FORM_TEXT).data); /* there is room again */
    configure(0, 8 << 20);
    assert_non_null(gw_deflate_message(many[COUNT(many) - 2], GW_WS_FORM_TEXT).data); /* or more of it */
    for (size_t i = 2; i < COUNT(many); i++)
        gw_message_unref(many[i]);
    assert_int_equal(gw_deflate_bytes(), 0);
    free(json);
}

/* --- workers ---------------------------------------------------------------------------------------------------- */

#define SHARED 300

static struct gw_message *shared[SHARED];
static pthread_barrier_t together;

static void *worker(void *context)
{
    const char **frames = context;
    pthread_barrier_wait(&together);
    for (size_t i = 0; i < SHARED; i++)
        frames[i] = gw_deflate_message(shared[i], GW_WS_FORM_TEXT).data;
    for (size_t i = 0; i < SHARED; i++)
        gw_message_unref(shared[i]);
    return NULL;
}

static void test_workers_share(void **state)
{
    (void)state;
    static const char *frames[4][SHARED];
    pthread_t threads[4];
    char json[700];
    uint64_t count = gw_deflate_count();
    configure(0, 0);
    pthread_barrier_init(&together, NULL, COUNT(threads));
    for (size_t i = 0; i < SHARED; i++) {
        repeated(json, sizeof json, i);
        shared[i] = message(i + 1, json, false);
        for (size_t t = 1; t < COUNT(threads); t++)
            gw_message_ref(shared[i]);
    }
    for (size_t t = 0; t < COUNT(threads); t++)
        assert_int_equal(pthread_create(&threads[t], NULL, worker, frames[t]), 0);
    for (size_t t = 0; t < COUNT(threads); t++)
        pthread_join(threads[t], NULL);
    for (size_t i = 0; i < SHARED; i++) {
        assert_non_null(frames[0][i]);
        for (size_t t = 1; t < COUNT(threads); t++)
            assert_ptr_equal(frames[t][i], frames[0][i]);
    }
    assert_int_equal(gw_deflate_count(), count + SHARED);
    assert_int_equal(gw_deflate_bytes(), 0);
    pthread_barrier_destroy(&together);
}

/* --- inflating -------------------------------------------------------------------------------------------------- */

/* As a client does it; `flush` Z_FINISH makes a last block, and a byte 0 follows (RFC 7692 section 7.2.3.4). Caller
 * frees. */
static char *client_deflate(const void *plain, size_t len, int level, int window, int flush, size_t *packed_len)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, level, Z_DEFLATED, -window, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t room = deflateBound(&z, len) + 64;
    char *packed = malloc(room);
    z.next_in = (Bytef *)(uintptr_t)plain;
    z.avail_in = (uInt)len;
    z.next_out = (Bytef *)packed;
    z.avail_out = (uInt)room;
    deflate(&z, flush);
    *packed_len = room - z.avail_out;
    if (flush == Z_FINISH)
        packed[(*packed_len)++] = 0;
    else
        *packed_len -= 4;
    deflateEnd(&z);
    return packed;
}

static int inflate_copy(struct gw_inflater *states, const void *packed, size_t len, size_t max, struct gw_buf *out)
{
    char *exact = malloc(len ? len : 1);
    memcpy(exact, packed, len);
    *out = (struct gw_buf){0};
    int code = gw_inflate(states, exact, len, max, out);
    assert_true(out->cap <= max + 1);
    free(exact);
    return code;
}

static void test_inflate(void **state)
{
    (void)state;
    struct gw_inflater *states = gw_inflater_create();
    static const struct {
        const char *name;
        size_t len;
        int level, window, flush;
    } rows[] = {{"small", 5, 6, 15, Z_SYNC_FLUSH},
                {"stored", 300, 0, 15, Z_SYNC_FLUSH},
                {"window 9", 70000, 9, 9, Z_SYNC_FLUSH},
                {"large", 300000, 6, 15, Z_SYNC_FLUSH},
                {"fast", 1024, 1, 15, Z_SYNC_FLUSH},
                {"a last block", 1000, 6, 15, Z_FINISH},
                {"2048 and ends", 2048, 6, 12, Z_SYNC_FLUSH},
                {"empty", 0, 6, 15, Z_SYNC_FLUSH}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *plain = malloc(rows[i].len + 2);
        uint64_t seed = i;
        for (size_t at = 0; at < rows[i].len; at++)
            plain[at] = (char)(check_random(&seed) % 20);
        size_t len, max[] = {rows[i].len, rows[i].len + 1, rows[i].len * 3 + 100};
        char *packed = client_deflate(plain, rows[i].len, rows[i].level, rows[i].window, rows[i].flush, &len);
        for (size_t m = 0; m < COUNT(max); m++) {
            struct gw_buf out;
            CHECK_ROW(inflate_copy(states, packed, len, max[m], &out) == 0, rows[i].name);
            CHECK_ROW(out.len == rows[i].len && out.data && !memcmp(out.data, plain, out.len) && !out.data[out.len],
                      rows[i].name);
            gw_buf_fini(&out);
        }
        struct gw_buf out;
        for (size_t less = 1; less <= rows[i].len; less = less * 3 + 1) {
            CHECK_ROW(inflate_copy(states, packed, len, rows[i].len - less, &out) == 1009, rows[i].name);
            gw_buf_fini(&out);
        }
        for (size_t cut = 1; cut < len && rows[i].flush == Z_SYNC_FLUSH;
             cut = cut * 2 + 1) { /* never taken for the whole */
            int code = inflate_copy(states, packed, len - cut, rows[i].len + 100, &out);
            CHECK_ROW(code == 1007 || out.len != rows[i].len, rows[i].name);
            gw_buf_fini(&out);
        }
        free(packed);
        free(plain);
    }
    gw_inflater_destroy(states);
}

static void test_inflate_bad(void **state)
{
    (void)state;
    struct gw_inflater *states = gw_inflater_create();
    static const struct {
        const char *bytes;
        size_t len;
        int code;
    } rows[] = {
        {"", 0, 1007},     /* not even the header of a block */
        {"\x07", 1, 1007}, /* no such kind of block */
        {"\xff\xff\xff\xff", 4, 1007},
        {"\x00\x05\x00\xfa\xff"
         "ab",
         7, 1007}, /* cut off: the tail would be taken for data */
        {"\x00\x05\x00\x00\x00"
         "abcde",
         10, 1007},                    /* the length and its complement differ */
        {"\x4b\x84\x01\x00", 4, 1007}, /* `a` and a copy from before the beginning */
        {"\x01\x02\x00\xfd\xff"
         "ab"
         "\x00",
         8, 0}, /* a last block, then an empty one */
        {"\x01\x02\x00\xfd\xff"
         "ab"
         "\x07",
         8, 1007}, /* a last block, then rubbish */
    };
    struct gw_buf out;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char name[16];
        snprintf(name, sizeof name, "%zu", i);
        CHECK_ROW(inflate_copy(states, rows[i].bytes, rows[i].len, 1000, &out) == rows[i].code, name);
        gw_buf_fini(&out);
    }
    /* A message may not refer to the one before it, which may be somebody else's. */
    size_t len;
    char text[1000], *packed;
    repeated(text, sizeof text, 3);
    packed = client_deflate(text, sizeof text, 6, 15, Z_SYNC_FLUSH, &len);
    assert_int_equal(inflate_copy(states, packed, len, 1000, &out), 0);
    gw_buf_fini(&out);
    free(packed);
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflateSetDictionary(&z, (const Bytef *)text, sizeof text), Z_OK);
    char refers[2000];
    z.next_in = (Bytef *)text;
    z.avail_in = sizeof text;
    z.next_out = (Bytef *)refers;
    z.avail_out = sizeof refers;
    assert_int_equal(deflate(&z, Z_SYNC_FLUSH), Z_OK);
    assert_int_equal(inflate_copy(states, refers, sizeof refers - z.avail_out - 4, 1000, &out), 1007);
    gw_buf_fini(&out);
    deflateEnd(&z);
    gw_inflater_destroy(states);
}

static void test_bombs(void **state)
{
    (void)state;
    struct gw_inflater *states = gw_inflater_create();
    const size_t plain_len = 64 << 20, max = 100000;
    char *zeros = calloc(plain_len, 1);
    size_t len;
    char *packed = client_deflate(zeros, plain_len, 9, 15, Z_SYNC_FLUSH, &len);
    struct gw_buf out;
    assert_int_equal(inflate_copy(states, packed, len, max, &out), 1009);
    gw_buf_fini(&out);
    free(packed);
    free(zeros);
    /* Many last blocks, each of which holds nothing: work for nothing, but it ends. */
    char *empty = malloc(65536);
    for (size_t i = 0; i < 65536; i += 2)
        memcpy(empty + i, "\x03\x00", 2);
    inflate_copy(states, empty, 65536, max, &out);
    gw_buf_fini(&out);
    free(empty);
    gw_inflater_destroy(states);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_negotiation),   cmocka_unit_test(test_messages),
                                       cmocka_unit_test(test_not_worth_it),  cmocka_unit_test(test_bound),
                                       cmocka_unit_test(test_workers_share), cmocka_unit_test(test_inflate),
                                       cmocka_unit_test(test_inflate_bad),   cmocka_unit_test(test_bombs)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    gw_deflate_end();
    return failed;
}
