/* The engine `valkey` without a server: its addresses, and that a message comes out of the log as it went in. */
#include "check.h"
#include "engine/resp.h"
#include "engine/valkey_entry.h"

struct address {
    const char *url, *host, *port;
    unsigned database;
    const char *wrong; /* a part of what is said; NULL: it is good */
};

static const struct address addresses[] = {
    {"redis://v", "v", "6379", 0, NULL},
    {"redis://v/", "v", "6379", 0, NULL},
    {"REDIS://v:1/3", "v", "1", 3, NULL},
    {"valkey://10.0.0.1:6380", "10.0.0.1", "6380", 0, NULL},
    {"redis://[::1]", "::1", "6379", 0, NULL},
    {"redis://[fe80::1]:7/15", "fe80::1", "7", 15, NULL},
    {"redis://", NULL, NULL, 0, "no address"},
    {"redis://:6379", NULL, NULL, 0, "no address"},
    {"redis://v:", NULL, NULL, 0, "no address"},
    {"redis://v:0", NULL, NULL, 0, "no address"},
    {"redis://v:65536", NULL, NULL, 0, "no address"},
    {"redis://v:1x", NULL, NULL, 0, "no address"},
    {"redis://[::1", NULL, NULL, 0, "no address"},
    {"redis://v/x", NULL, NULL, 0, "number of a database"},
    {"redis://v/-1", NULL, NULL, 0, "number of a database"},
    {"redis://v/1024", NULL, NULL, 0, "number of a database"},
    {"redis://user:word@v", NULL, NULL, 0, "credentials"},
    {"rediss://v:1/3", "v", "1", 3, NULL},
    {"valkeys://v", "v", "6379", 0, NULL},
    {"redisss://v", NULL, NULL, 0, "no address"},
    {"http://v", NULL, NULL, 0, "no address"},
    {"v:6379", NULL, NULL, 0, "no address"},
};

static void test_addresses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        const struct address *row = &addresses[i];
        char *host = NULL, *port = NULL;
        unsigned database = 77;
        bool tls = false;
        const char *wrong = gw_resp_parse_url(row->url, &host, &port, &database, &tls);
        CHECK_ROW(!wrong == !row->wrong && (!wrong || strstr(wrong, row->wrong)), row->url);
        if (!row->wrong)
            CHECK_ROW(!strcmp(host, row->host) && !strcmp(port, row->port) && database == row->database &&
                          tls == (!strncmp(row->url, "rediss:", 7) || !strncmp(row->url, "valkeys:", 8)),
                      row->url);
        free(host);
        free(port);
    }
}

/* What XRANGE would return of the entry. The texts are the entry's own. */
static redisReply *reply_of(const struct gw_entry *entry, char *id)
{
    redisReply *whole = calloc(1, sizeof *whole), *list = calloc(1, sizeof *list), *name = calloc(1, sizeof *name);
    const char *at = entry->bytes;
    *name = (redisReply){.type = REDIS_REPLY_STRING, .str = id, .len = strlen(id)};
    *list = (redisReply){.type = REDIS_REPLY_ARRAY, .elements = entry->count};
    list->element = calloc(entry->count, sizeof *list->element);
    for (unsigned i = 0; i < entry->count; i++) {
        list->element[i] = calloc(1, sizeof **list->element);
        *list->element[i] =
            (redisReply){.type = REDIS_REPLY_STRING, .str = (char *)(uintptr_t)at, .len = entry->len[i]};
        at += entry->len[i] + 1;
    }
    *whole = (redisReply){.type = REDIS_REPLY_ARRAY, .elements = 2};
    whole->element = calloc(2, sizeof *whole->element);
    whole->element[0] = name;
    whole->element[1] = list;
    return whole;
}

static void reply_free(redisReply *reply)
{
    for (size_t i = 0; i < reply->elements; i++)
        reply_free(reply->element[i]);
    free(reply->element);
    free(reply);
}

static void test_messages_come_back_as_they_were(void **state)
{
    (void)state;
    static const char json[] = "{\"a\":[1,2]}", binary[] = "\0\xff\r\n$5\r\n";
    const struct gw_message_spec specs[] = {
        {.channel = "a/b",
         .channel_len = 3,
         .json = json,
         .json_len = 11,
         .payload = json,
         .payload_len = 11,
         .ts = 1764000000123,
         .keep = 100,
         .watched = {json + 5, 5}},
        {.channel = "a b",
         .channel_len = 3,
         .json = "\"x\"",
         .json_len = 3,
         .payload = binary,
         .payload_len = 8,
         .ts = 1,
         .retained = true,
         .binary = true,
         .stored = true},
        {.channel = "c",
         .channel_len = 1,
         .json = "null",
         .json_len = 4,
         .payload = "",
         .payload_len = 0,
         .ts = 0,
         .clear = true,
         .keep = GW_KEEP_ALL},
    };
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        const struct gw_message_spec *spec = &specs[i];
        char id[GW_ENTRY_ID_SIZE];
        struct gw_message_spec got;
        struct gw_entry *sent = gw_entry_of_draft(spec, 65535, UINT64_MAX - i);
        gw_entry_id_format(id, (struct gw_entry_id){3, UINT64_C(3766187527767018)});
        redisReply *reply = reply_of(sent, id);
        struct gw_entry *entry = gw_entry_of_reply(reply);
        assert_non_null(entry);
        assert_true(gw_entry_spec(entry, &got));
        assert_int_equal(entry->mid, 65535);
        assert_int_equal(entry->hash, UINT64_MAX - i);
        assert_int_equal(entry->keep, spec->keep);
        assert_int_equal(entry->id.term, 3);
        assert_int_equal(got.seq, UINT64_C(3766187527767018));
        assert_int_equal(got.route, GW_ROUTE_BY_NAME);
        assert_int_equal(got.ts, spec->ts);
        assert_int_equal(got.channel_len, spec->channel_len);
        assert_memory_equal(got.channel, spec->channel, spec->channel_len);
        assert_int_equal(got.json_len, spec->json_len);
        assert_memory_equal(got.json, spec->json, spec->json_len);
        assert_int_equal(got.payload_len, spec->payload_len);
        assert_int_equal(memcmp(got.payload, spec->payload, spec->payload_len), 0);
        assert_true(got.retained == spec->retained && got.clear == spec->clear && got.binary == spec->binary &&
                    got.stored == spec->stored);
        assert_true(!got.watched.data == !spec->watched.data && got.watched.len == spec->watched.len);
        if (spec->watched.data)
            assert_int_equal(got.watched.data - got.json, spec->watched.data - spec->json);
        reply_free(reply);
        free(entry);
        free(sent);
    }
}

/* Whatever stands in a stream of that name, nothing is read that is not there. */
static void test_what_is_not_ours_is_left_out(void **state)
{
    (void)state;
    static const char *const rows[][7] = {
        {"c", "a", "h", "1 0 0 0 0 0", "d", "1", NULL}, /* a number too few */
        {"c", "a", "h", "zebra", "d", "1", NULL},       /* none at all */
        {"x", "y", NULL},                               /* another program's */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct gw_entry *entry = gw_entry_control(rows[i]);
        char id[] = "1-1";
        redisReply *reply = reply_of(entry, id);
        assert_null(gw_entry_of_reply(reply));
        reply_free(reply);
        free(entry);
    }
    static const char *const wide[] = {"c", "a", "h", "1 8 0 0 0 ffffffff 2", "d", "12", NULL};
    struct gw_entry *entry = gw_entry_control(wide);
    char id[] = "1-1";
    redisReply *reply = reply_of(entry, id);
    struct gw_entry *read = gw_entry_of_reply(reply);
    struct gw_message_spec spec;
    assert_non_null(read);
    assert_true(gw_entry_spec(read, &spec));
    assert_null(spec.watched.data); /* beyond the JSON */
    free(read);
    reply_free(reply);
    free(entry);
}

static void test_ids(void **state)
{
    (void)state;
    struct gw_entry_id id;
    assert_true(gw_entry_id_parse("2-10", &id) && id.term == 2 && id.seq == 10);
    assert_false(gw_entry_id_parse("2", &id));
    assert_false(gw_entry_id_parse("", &id));
    assert_false(gw_entry_id_parse(NULL, &id));
    assert_true(gw_entry_id_compare((struct gw_entry_id){1, 9}, (struct gw_entry_id){2, 1}) < 0);
    assert_true(gw_entry_id_compare((struct gw_entry_id){2, 9}, (struct gw_entry_id){2, 1}) > 0);
    assert_int_equal(gw_entry_id_compare((struct gw_entry_id){2, 1}, (struct gw_entry_id){2, 1}), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses), cmocka_unit_test(test_messages_come_back_as_they_were),
        cmocka_unit_test(test_what_is_not_ours_is_left_out), cmocka_unit_test(test_ids)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
