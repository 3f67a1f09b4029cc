/* Who may see what: containment of filters, grants, and projections of messages. */
#include <pthread.h>

#include "auth/projection.h"
#include "check.h"
#include "gateway/identity.h"
#include "gateway/topic.h"

static void test_containment(void **state)
{
    (void)state;
    static const struct {
        const char *wide, *narrow;
        bool covers;
    } rows[] = {
        {"#", "a", true},         {"#", "a/+/#", true},       {"#", "#", true},          {"#", "$SYS/x", false},
        {"+/x", "$SYS/x", false}, {"a/#", "a", true},         {"a/#", "a/b/c", true},    {"a/#", "a/#", true},
        {"a/#", "ab", false},     {"a/#", "#", false},        {"a/+", "a/b", true},      {"a/+", "a/+", true},
        {"a/+", "a/#", false},    {"a/+", "a/b/c", false},    {"a/+", "a", false},       {"a/+/#", "a/#", false},
        {"a/+/#", "a/b", true},   {"a/+/t", "a/k/t", true},   {"a/+/t", "a/+/+", false}, {"a/b", "a/+", false},
        {"a/b", "a/b", true},     {"a/b", "a/b/", false},     {"a/b/", "a/b", false},    {"a//b", "a//b", true},
        {"a/+/b", "a//b", true},  {"$SYS/#", "$SYS/a", true}, {"+", "", false},          {"+", "+/+", false},
        {"+/+", "+", false},      {"a/#", "a/", true},        {"+/#", "a", true},        {"A/#", "a/b", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (!*rows[i].narrow)
            continue;
        CHECK_ROW(gw_topic_filter_covers(rows[i].wide, strlen(rows[i].wide), rows[i].narrow,
                                         strlen(rows[i].narrow)) == rows[i].covers,
                  rows[i].narrow);
    }
}

/* What covers says must agree with what matches: over all small filters and names. */
static void test_containment_agrees_with_matching(void **state)
{
    (void)state;
    static const char *const levels[] = {"a", "b", "+", "#", "", "$x"};
    char filters[512][16];
    size_t count = 0, proofs = 0;
    for (size_t i = 0; i < COUNT(levels); i++) {
        snprintf(filters[count++], 16, "%s", levels[i]);
        for (size_t j = 0; j < COUNT(levels); j++) {
            snprintf(filters[count++], 16, "%s/%s", levels[i], levels[j]);
            for (size_t k = 0; k < COUNT(levels); k++)
                snprintf(filters[count++], 16, "%s/%s/%s", levels[i], levels[j], levels[k]);
        }
    }
    for (size_t a = 0; a < count; a++) {
        for (size_t b = 0; b < count; b++) {
            size_t a_len = strlen(filters[a]), b_len = strlen(filters[b]);
            if (!gw_topic_filter_valid(filters[a], a_len) || !gw_topic_filter_valid(filters[b], b_len) ||
                !gw_topic_filter_covers(filters[a], a_len, filters[b], b_len))
                continue;
            for (size_t n = 0; n < count; n++) {
                size_t len = strlen(filters[n]);
                if (!gw_topic_name_valid(filters[n], len) || !gw_topic_matches(filters[b], b_len, filters[n], len))
                    continue;
                CHECK_ROW(gw_topic_matches(filters[a], a_len, filters[n], len), filters[a]);
                proofs++;
            }
        }
    }
    assert_true(proofs > 1000);
}

static struct gw_projection *projection(char *first, char *second)
{
    char *names[] = {first, second};
    const struct gw_strings fields = {names, second ? 2 : 1};
    return gw_projection_create(&fields);
}

static void test_grants(void **state)
{
    (void)state;
    struct gw_grants *grants = gw_grants_create();
    struct gw_projection *few = projection("t", NULL), *more = projection("t", "h"), *got = few;
    gw_grants_add(grants, GW_RIGHT_SUBSCRIBE, "rooms/#", 7, few);
    gw_grants_add(grants, GW_RIGHT_SUBSCRIBE, "rooms/+/open", 12, NULL);
    gw_grants_add(grants, GW_RIGHT_SUBSCRIBE, "rooms/k/+", 9, more);
    gw_grants_add(grants, GW_RIGHT_PUBLISH, "lamps/+", 7, NULL);
    assert_true(gw_grants_contain(grants, GW_RIGHT_SUBSCRIBE, "rooms/+/x", 9));
    assert_false(gw_grants_contain(grants, GW_RIGHT_SUBSCRIBE, "#", 1));
    assert_false(gw_grants_contain(grants, GW_RIGHT_PUBLISH, "rooms/k/t", 9));
    assert_false(gw_grants_contain(grants, GW_RIGHT_HISTORY, "rooms/k/t", 9));
    assert_true(gw_grants_allow(grants, GW_RIGHT_SUBSCRIBE, "rooms/k/t", 9, &got) && got == few);
    assert_true(gw_grants_allow(grants, GW_RIGHT_SUBSCRIBE, "rooms/k/open", 12, &got) && !got);
    assert_false(gw_grants_allow(grants, GW_RIGHT_SUBSCRIBE, "lamps/1", 7, &got));
    assert_true(gw_grants_allow(NULL, GW_RIGHT_SUBSCRIBE, "lamps/1", 7, &got) && !got);
    struct gw_identity *identity = gw_identity_create(GW_TOKEN, "me", "{}", 5, grants);
    gw_grants_unref(grants);
    gw_identity_unref(gw_identity_ref(identity));
    assert_string_equal(identity->name, "me");
    gw_identity_unref(identity);
    gw_projection_unref(few);
    gw_projection_unref(more);
}

static void test_projection_of_json(void **state)
{
    (void)state;
    static const struct {
        const char *json, *expected;
    } rows[] = {
        {"{\"t\":1,\"secret\":2,\"h\":[3]}", "{\"t\":1,\"h\":[3]}"},
        {" { \"h\" : {\"secret\":1} , \"x\":0 } ", "{\"h\":{\"secret\":1}}"},
        {"{\"\\u0074\":1,\"tt\":2,\"T\":3,\"\":4}", "{\"\\u0074\":1}"},
        {"{}", "{}"},
        {"{\"a\":{\"t\":1}}", "{}"},
        {"21.5", "null"},
        {"\"t\"", "null"},
        {"null", "null"},
        {"[]", "[]"},
        {"[{\"t\":1,\"x\":2},{\"x\":2},5,[{\"t\":1}]]", "[{\"t\":1},{},null,null]"},
        {"{\"t\":1,\"t\":2}", "{\"t\":1,\"t\":2}"},
    };
    struct gw_projection *fields = projection("t", "h");
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct gw_buf out = {0};
        gw_projection_json(fields, rows[i].json, strlen(rows[i].json), &out);
        CHECK_ROW(out.len == strlen(rows[i].expected) && !memcmp(out.data, rows[i].expected, out.len), rows[i].json);
        gw_buf_fini(&out);
    }
    gw_projection_unref(fields);
}

static struct gw_message *message(const char *json)
{
    struct gw_message_spec spec = {.channel = "c",
                                   .channel_len = 1,
                                   .json = json,
                                   .json_len = strlen(json),
                                   .payload = json,
                                   .payload_len = strlen(json),
                                   .epoch = "E",
                                   .seq = 7,
                                   .ts = 5,
                                   .retained = true};
    return gw_message_create(&spec);
}

struct race {
    struct gw_message *msg;
    struct gw_projection *fields;
    struct gw_message *got;
};

static void *race_run(void *context)
{
    struct race *race = context;
    race->got = gw_projection_of(race->fields, race->msg, "E");
    return NULL;
}

/* Made once, whoever asks and from whatever thread; the original says nothing of it. */
static void test_projection_of_messages(void **state)
{
    (void)state;
    for (int round = 0; round < 200; round++) {
        struct gw_message *msg = message("{\"t\":1,\"secret\":2}");
        struct gw_projection *fields = projection("t", NULL), *other = projection("secret", NULL);
        struct race races[4];
        pthread_t threads[4];
        for (int i = 0; i < 4; i++) {
            races[i] = (struct race){msg, i % 2 ? fields : other, NULL};
            pthread_create(&threads[i], NULL, race_run, &races[i]);
        }
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
        assert_ptr_equal(races[1].got, races[3].got);
        assert_ptr_equal(races[0].got, races[2].got);
        assert_non_null(
            memmem(races[1].got->text.data, races[1].got->text.len, "\"data\":{\"t\":1},\"cursor\":\"E.7\"", 29));
        assert_null(memmem(races[1].got->text.data, races[1].got->text.len, "secret", 6));
        assert_int_equal(races[1].got->payload.len, 7);
        assert_true(races[1].got->retained);
        gw_projection_unref(fields);
        gw_projection_unref(other);
        gw_message_unref(msg);
    }
    struct gw_message *plain = message("5");
    struct gw_projection *fields = projection("t", NULL);
    struct gw_message *seen = gw_message_ref(gw_projection_of(fields, plain, "E"));
    gw_projection_unref(fields);
    gw_message_unref(plain);
    assert_memory_equal(seen->data.data, "null", 4); /* a reader may outlive the original */
    gw_message_unref(seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_containment),
                                       cmocka_unit_test(test_containment_agrees_with_matching),
                                       cmocka_unit_test(test_grants), cmocka_unit_test(test_projection_of_json),
                                       cmocka_unit_test(test_projection_of_messages)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
