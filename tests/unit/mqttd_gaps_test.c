/* Gaps that an MQTT client is to be told of: with which message, how often, until when; and as the text of a session
 * that several gateways share. */
#include "mqttd/client.h"

#include "check.h"
#include "hub_world.h"

static struct gw_mqttd_client *client;
static char places[10][64]; /* cursors of the first messages */

static int setup(void **state)
{
    (void)state;
    setup_hub(10, 100000, 1000);
    for (unsigned i = 0; i < COUNT(places); i++)
        gw_hub_format_cursor(hub, i, places[i]);
    client = calloc(1, sizeof *client);
    client->version = 5;
    client->session.hub = hub;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gw_mqttd_forget_gaps(client->gaps, client->gap_count);
    free(client->replay);
    free(client);
    teardown_hub();
    return 0;
}

static void keep(const char *channel, unsigned from, unsigned to, const char *reason)
{
    struct gw_item item = {.type = GW_ITEM_GAP,
                           .u.gap = gw_gap_create(channel, strlen(channel), places[from], places[to], reason)};
    gw_mqttd_keep_gap(client, &item);
}

/* What a message of the channel says of gaps: the values of its user properties, with a line end behind each. */
static const char *says(const char *channel)
{
    static char said[4096];
    struct gw_message_spec spec = {.channel = channel,
                                   .channel_len = strlen(channel),
                                   .json = "1",
                                   .json_len = 1,
                                   .payload = "1",
                                   .payload_len = 1,
                                   .epoch = EPOCH,
                                   .seq = 9};
    struct gw_message *msg = gw_message_create(&spec);
    struct gw_buf properties = {0};
    gw_mqttd_put_gaps(client, msg, &properties);
    gw_message_unref(msg);
    size_t len = 0;
    for (size_t at = 0; at < properties.len;) { /* identifier, name and value (MQTT 5.0 section 2.2.2.2) */
        const uint8_t *one = (const uint8_t *)properties.data + at;
        size_t size = (size_t)one[6] << 8 | one[7];
        assert_memory_equal(one, "\x26\0\3gap", 6);
        memcpy(said + len, one + 8, size);
        said[len + size] = '\n';
        len += size + 1;
        at += 8 + size;
    }
    said[len] = '\0';
    gw_buf_fini(&properties);
    return said;
}

static const char *line(const char *reason, unsigned from, unsigned to, const char *filter)
{
    static char text[256];
    snprintf(text, sizeof text, "%s %s %s%s%s\n", reason, places[from], places[to], filter ? " " : "",
             filter ? filter : "");
    return text;
}

static void test_told_until_acknowledged(void **state)
{
    (void)state;
    keep("a/b", 1, 4, "history");
    assert_string_equal(says("a/c"), "");
    assert_string_equal(says("a/b"), line("history", 1, 4, NULL));
    assert_string_equal(says("a/b"), line("history", 1, 4, NULL)); /* that message did not leave */
    gw_mqttd_gaps_told(client, 7);
    assert_string_equal(says("a/b"), "");
    assert_int_equal(client->gaps_waiting, 0);
    gw_mqttd_gaps_acknowledged(client, 8);
    assert_int_equal(client->gap_count, 1);
    gw_mqttd_gaps_acknowledged(client, 7);
    assert_int_equal(client->gap_count, 0);
}

static void test_told_once_at_qos_0(void **state)
{
    (void)state;
    keep("a/b", 1, 4, "overflow");
    keep("a/c", 2, 4, "overflow");
    assert_string_equal(says("a/b"), line("overflow", 1, 4, NULL));
    gw_mqttd_gaps_told(client, 0);
    assert_int_equal(client->gap_count, 1);
    assert_string_equal(says("a/b"), "");
    assert_string_equal(says("a/c"), line("overflow", 2, 4, NULL));
}

/* Only what was in the message is told with it. */
static void test_of_filters(void **state)
{
    (void)state;
    keep("a/+", 1, 3, "epoch");
    keep("a/b", 3, 4, "history");
    keep("a/c", 3, 5, "history");
    char both[512];
    snprintf(both, sizeof both, "%s", line("epoch", 1, 3, "a/+"));
    snprintf(both + strlen(both), sizeof both - strlen(both), "%s", line("history", 3, 4, NULL));
    assert_string_equal(says("a"), "");
    assert_string_equal(says("a/b"), both);
    gw_mqttd_gaps_told(client, 3);
    assert_int_equal(client->gaps_waiting, 1);
    assert_string_equal(says("a/c"), line("history", 3, 5, NULL));
    gw_mqttd_gaps_told(client, 4);
    gw_mqttd_gaps_acknowledged(client, 3);
    assert_int_equal(client->gap_count, 1);
    assert_int_equal(client->gaps_waiting, 0);
    gw_mqttd_gaps_acknowledged(client, 4);
    assert_int_equal(client->gap_count, 0);
}

static void test_the_oldest_gives_way(void **state)
{
    (void)state;
    for (unsigned i = 0; i < GW_MQTTD_GAPS + 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "c/%u", i);
        keep(name, 1, 2, "history");
    }
    assert_int_equal(client->gap_count, GW_MQTTD_GAPS);
    assert_int_equal(client->gaps_waiting, GW_MQTTD_GAPS);
    assert_string_equal(says("c/2"), "");
    assert_string_equal(says("c/3"), line("history", 1, 2, NULL));
    gw_mqttd_gaps_told(client, 1); /* one that is under way is given up like any other */
    keep("c/99", 1, 2, "history");
    gw_mqttd_gaps_acknowledged(client, 1);
    assert_int_equal(client->gap_count, GW_MQTTD_GAPS);
    assert_int_equal(client->gaps_waiting, GW_MQTTD_GAPS);
    keep("c/100", 1, 2, "history");
    assert_string_equal(says("c/4"), "");
}

/* MQTT 3.1.1 has no user properties: the log is told, and that is all. */
static void test_below_version_5(void **state)
{
    (void)state;
    client->version = 4;
    keep("a/b", 1, 4, "history");
    assert_int_equal(client->gap_count, 0);
    assert_null(client->gaps);
}

/* Before the place of a kept session, only what was to be sent again is missing. */
static void test_before_the_place(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        unsigned from, to;
        bool news;
    } rows[] = {
        {"nothing of it was on its way", 0, 4, false},
        {"ends before it", 3, 4, false},
        {"it was on its way", 4, 5, true},
        {"it is the last one", 0, 5, true},
        {"begins behind it", 5, 7, false},
        {"the other one", 7, 8, true},
        {"goes beyond the place", 5, 9, true},
        {"all of it is news", 8, 9, true},
    };
    client->replay = calloc(2, sizeof *client->replay);
    client->replay[0] = (struct gw_mqttd_inflight){5, 1};
    client->replay[1] = (struct gw_mqttd_inflight){8, 2};
    client->replay_count = 2;
    client->replay_to = 8;
    for (size_t i = 0; i < COUNT(rows); i++) {
        keep("a/b", rows[i].from, rows[i].to, "history");
        CHECK_ROW(client->gap_count == rows[i].news, rows[i].name);
        says("a/b");
        gw_mqttd_gaps_told(client, 0);
        CHECK_ROW(client->gap_count == 0, rows[i].name);
    }
}

/* --- as text ---------------------------------------------------------------------------------------------------- */

static struct gw_mqttd_kept read_back(const char *text, size_t len)
{
    char *alone = malloc(len + 1); /* of its own length, so that the sanitizer sees a read beyond it */
    memcpy(alone, text, len);
    alone[len] = '\0';
    struct gw_mqttd_kept kept = {0};
    gw_mqttd_gaps_read(alone, alone + len, &kept);
    free(alone);
    return kept;
}

static void test_text(void **state)
{
    (void)state;
    static const char *const names[] = {"a/b", "a/+/#", "with blanks and 7 numbers", "", "\xc3\xa4/\"quoted\"/%s",
                                        "9:3"};
    static const char *const why[] = {"history", "epoch", "overflow"};
    for (size_t i = 0; i < COUNT(names); i++)
        keep(names[i], (unsigned)i, (unsigned)i + 1, why[i % 3]);
    const struct gw_mqttd_kept kept = {.gaps = client->gaps, .gap_count = client->gap_count};
    struct gw_buf text = {0};
    gw_mqttd_gaps_write(&kept, &text);
    struct gw_mqttd_kept read = read_back(text.data, text.len);
    assert_int_equal(read.gap_count, COUNT(names));
    for (size_t i = 0; i < COUNT(names); i++) {
        const struct gw_gap *gap = read.gaps[i].gap;
        assert_string_equal(gap->channel, names[i]);
        assert_string_equal(gap->from, places[i]);
        assert_string_equal(gap->to, places[i + 1]);
        assert_string_equal(gap->reason, why[i % 3]);
        assert_int_equal(read.gaps[i].id, 0);
    }
    gw_mqttd_forget_gaps(read.gaps, read.gap_count);
    for (size_t len = 0; len < text.len; len++) { /* what is cut off ends the list */
        read = read_back(text.data, len);
        assert_true(read.gap_count < COUNT(names));
        for (uint32_t i = 0; i < read.gap_count; i++)
            assert_string_equal(read.gaps[i].gap->channel, names[i]);
        gw_mqttd_forget_gaps(read.gaps, read.gap_count);
    }
    gw_buf_fini(&text);
}

static void test_text_of_others(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text;
        unsigned count;
    } rows[] = {
        {"nothing", "", 0},
        {"blanks", "   ", 0},
        {"a reason of a later release", " power e.1 e.2 3:a/b history e.1 e.2 3:a/b ", 1},
        {"a length beyond the end", " history e.1 e.2 300:a/b", 0},
        {"no length", " history e.1 e.2 a/b", 0},
        {"a negative length", " history e.1 e.2 -1:a/b", 0},
        {"a length that overflows", " history e.1 e.2 99999999999999999999999:a/b", 0},
        {"no channel", " history e.1 e.2", 0},
        {"a reason too long", " historyhistoryhistory e.1 e.2 3:a/b", 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct gw_mqttd_kept read = read_back(rows[i].text, strlen(rows[i].text));
        CHECK_ROW(read.gap_count == rows[i].count, rows[i].name);
        gw_mqttd_forget_gaps(read.gaps, read.gap_count);
    }
    struct gw_buf many = {0};
    for (unsigned i = 0; i < 3 * GW_MQTTD_GAPS; i++)
        gw_buf_adds(&many, " history e.1 e.2 3:a/b");
    struct gw_mqttd_kept read = read_back(many.data, many.len);
    assert_int_equal(read.gap_count, GW_MQTTD_GAPS);
    gw_mqttd_forget_gaps(read.gaps, read.gap_count);
    gw_buf_fini(&many);
}

/* Those of a session that was kept wait to be told again, whether they were or not. */
static void test_restored(void **state)
{
    (void)state;
    keep("a/b", 1, 4, "history");
    keep("a/c", 2, 4, "history");
    says("a/b");
    gw_mqttd_gaps_told(client, 7);
    struct gw_mqttd_kept kept = {.gaps = client->gaps, .gap_count = client->gap_count};
    client->gaps = NULL;
    client->gap_count = client->gaps_waiting = 0;
    client->version = 4;
    gw_mqttd_restore_gaps(client, &kept);
    assert_int_equal(client->gap_count, 0);
    client->version = 5;
    gw_mqttd_restore_gaps(client, &kept);
    gw_mqttd_forget_gaps(kept.gaps, kept.gap_count);
    assert_int_equal(client->gaps_waiting, 2);
    assert_string_equal(says("a/b"), line("history", 1, 4, NULL));
    assert_string_equal(says("a/c"), line("history", 2, 4, NULL));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_told_until_acknowledged),
        TEST(test_told_once_at_qos_0),
        TEST(test_of_filters),
        TEST(test_the_oldest_gives_way),
        TEST(test_below_version_5),
        TEST(test_before_the_place),
        TEST(test_text),
        TEST(test_text_of_others),
        TEST(test_restored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
