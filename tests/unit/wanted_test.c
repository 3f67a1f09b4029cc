/* What a command wants of the state, and which values show it. */
#include "check.h"
#include "hub/publish/wanted.h"

static struct gw_slice text(const char *json)
{
    return (struct gw_slice){json, strlen(json)};
}

static void test_two_values(void **state)
{
    (void)state;
    static const struct {
        const char *wanted, *is;
        double tolerance;
        bool same;
    } cases[] = {
        {"\"ON\"", "\"ON\"", 0, true},
        {"\"on\"", "\"ON\"", 0, true},
        {"\"ON\"", "\"OFF\"", 0, false},
        {"\"O\\u004e\"", "\"ON\"", 0, true},
        {"\"\\u00c4\"", "\"\\u00e4\"", 0, false}, /* capitals of ASCII alone */
        {"\"@\"", "\"`\"", 0, false},             /* the same bit apart, and no letters */
        {"\"1\"", "1", 0, false},
        {"\"\"", "\"\"", 0, true},
        {"true", "true", 0, true},
        {"true", "false", 0, false},
        {"true", "\"true\"", 0, false},
        {"null", "null", 0, true},
        {"null", "0", 0, false},
        {"21", "21.0", 0, true},
        {"2.1e1", "21", 0, true},
        {"-0", "0.0", 0, true},
        {"21", "21.4", 0.5, true},
        {"21", "21.6", 0.5, false},
        {"-21", "-21.5", 0.5, true},
        {"0.3", "0.30000000000000004", 0, false},
        {"9007199254740993", "9007199254740992", 0, false}, /* no double tells them apart */
        {"1e400", "1e400", 0, false},                       /* nor these: never confirmed */
        {"{\"x\":1}", "{\"x\":1,\"y\":2}", 0, true},
        {"{\"x\":1,\"y\":2}", "{\"x\":1}", 0, false},
        {"{\"a\\/b\":{\"on\":\"Yes\"}}", "{\"a/b\":{\"on\":\"YES\",\"t\":1}}", 0, true},
        {"{\"x\":0.30}", "{\"x\":0.3004}", 0.001, true},
        {"{}", "{\"x\":1}", 0, true},
        {"{}", "[]", 0, false},
        {"{\"x\\u0000y\":1}", "{\"x\":1}", 0, false},
        {"[1,2]", "[1,2]", 0, true},
        {"[1,2]", "[1,2,3]", 0, false},
        {"[1,2,3]", "[1,2]", 0, false},
        {"[\"a\",{\"b\":1}]", " [ \"A\" , {\"b\" : 1.0} ] ", 0, true},
        {"[]", "[]", 0, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool same = gw_wanted_same(text(cases[i].wanted), text(cases[i].is), cases[i].tolerance);
        if (same != cases[i].same)
            fail_msg("%s and %s", cases[i].wanted, cases[i].is);
    }
}

/* Deeper than it looks: compared as written, and no recursion without an end. */
static void test_depth(void **state)
{
    (void)state;
    char deep[401];
    memset(deep, '[', 200);
    memset(deep + 200, ']', 200);
    deep[400] = '\0';
    assert_true(gw_wanted_same(text(deep), text(deep), 0));
}

static bool init(struct gw_wanted *wanted, const char *json, const char *first, const char *second, const char **why)
{
    static char *change[] = {"TOGGLE", "+*", "-*"}, *any[] = {"", "status_update"};
    char *fields[] = {(char *)(uintptr_t)first, (char *)(uintptr_t)second};
    const struct gw_strings strings = {fields, second ? 2 : first ? 1 : 0}, changes = {change, 3}, anys = {any, 2};
    return gw_wanted_init(wanted, text(json), &(struct gw_wanted_rules){&strings, &changes, &anys, 0, {0}}, why);
}

static struct gw_wanted want(const char *json, const char *first, const char *second)
{
    const char *why;
    struct gw_wanted wanted;
    assert_true(init(&wanted, json, first, second, &why));
    return wanted;
}

static void test_the_fields_that_a_command_has(void **state)
{
    (void)state;
    struct gw_wanted wanted = want("{\"state\":\"ON\",\"transition\":2}", "/state", "/brightness");
    assert_int_equal(wanted.count, 1);
    assert_false(gw_wanted_see(&wanted, text("{\"state\":\"OFF\"}")));
    assert_true(gw_wanted_see(&wanted, text("{\"state\":\"ON\",\"brightness\":3}")));
    gw_wanted_fini(&wanted);
}

static void test_all_that_was_sent(void **state)
{
    (void)state;
    struct gw_wanted wanted = want(" {\"a/b\":1, \"~\":{\"x\":[1]}} ", NULL, NULL);
    assert_int_equal(wanted.count, 2);
    assert_false(gw_wanted_see(&wanted, text("{\"a/b\":1}")));
    assert_true(gw_wanted_see(&wanted, text("{\"~\":{\"x\":[1],\"y\":2},\"c\":0}")));
    gw_wanted_fini(&wanted);
    wanted = want("\"on\"", NULL, NULL);
    assert_false(gw_wanted_see(&wanted, text("{\"on\":\"on\"}")));
    assert_true(gw_wanted_see(&wanted, text("\"ON\"")));
    assert_false(gw_wanted_see(&wanted, text("\"OFF\"")));
    gw_wanted_fini(&wanted);
}

/* A device that sends parts: each counts as it was shown last. */
static void test_parts(void **state)
{
    (void)state;
    struct gw_wanted wanted = want("{\"state\":\"ON\",\"brightness\":9}", "/state", "/brightness");
    assert_false(gw_wanted_see(&wanted, text("{\"brightness\":9}")));
    assert_false(gw_wanted_see(&wanted, text("{\"linkquality\":9}")));
    assert_false(gw_wanted_see(&wanted, text("{\"brightness\":8}")));
    assert_false(gw_wanted_see(&wanted, text("{\"state\":\"ON\"}")));
    assert_true(gw_wanted_see(&wanted, text("{\"brightness\":9.0}")));
    gw_wanted_forget(&wanted);
    assert_false(gw_wanted_see(&wanted, text("{\"brightness\":9}")));
    gw_wanted_fini(&wanted);
}

/* What a command that is no state sees after `before` (NULL: nothing is known), and whether that shows it. */
static void test_commands_that_are_no_states(void **state)
{
    (void)state;
    static const struct {
        const char *sent, *before, *is;
        bool shown;
    } cases[] = {
        {"\"TOGGLE\"", "\"OFF\"", "\"ON\"", true},
        {"\"toggle\"", "\"OFF\"", "\"off\"", false},
        {"\"TOGGLE\"", "\"OFF\"", "null", false}, /* cleared */
        {"\"TOGGLE\"", NULL, "\"OFF\"", true},
        {"\"TOGGLES\"", "\"OFF\"", "\"ON\"", false},
        {"\"+10\"", "40", "50", true},
        {"\"+10\"", "40", "40.0", false},
        {"-5", "40", "35", true}, /* named by its text, though a number */
        {"5", "40", "35", false},
        {"\"\"", "\"ON\"", "\"ON\"", true},
        {"null", "\"ON\"", "\"ON\"", true}, /* an empty payload */
        {"\"\"", "\"ON\"", "null", false},
        {"\"Status_Update\"", NULL, "3", true},
        {"{\"state\":\"TOGGLE\",\"level\":3}", "{\"state\":\"ON\",\"level\":1}", "{\"state\":\"OFF\",\"level\":1}",
         false},
        {"{\"state\":\"TOGGLE\",\"level\":3}", "{\"state\":\"ON\",\"level\":1}", "{\"state\":\"OFF\",\"level\":3}",
         true},
        {"{\"state\":\"TOGGLE\"}", "{\"state\":\"ON\"}", "{\"linkquality\":3}", false},
        {"{\"a\":\"TOGGLE\"}", "{\"a\":{\"x\":1}}", "{\"a\":{\"x\":1,\"y\":2}}", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gw_wanted wanted = want(cases[i].sent, NULL, NULL);
        if (cases[i].before)
            gw_wanted_before(&wanted, text(cases[i].before));
        if (gw_wanted_see(&wanted, text(cases[i].is)) != cases[i].shown)
            fail_msg("%s: %s", cases[i].sent, cases[i].is);
        gw_wanted_fini(&wanted);
    }
}

/* What is too long to be compared confirms nothing. */
static void test_a_long_value_before(void **state)
{
    (void)state;
    struct gw_buf before = {0};
    gw_buf_printf(&before, "\"%9000d\"", 1);
    struct gw_wanted wanted = want("\"TOGGLE\"", NULL, NULL);
    gw_wanted_before(&wanted, (struct gw_slice){before.data, before.len});
    assert_false(gw_wanted_see(&wanted, text("\"ON\"")));
    gw_wanted_fini(&wanted);
    gw_buf_fini(&before);
}

static void refuse(const char *json, const char *field)
{
    const char *why = NULL;
    struct gw_wanted wanted;
    assert_false(init(&wanted, json, field, NULL, &why));
    assert_non_null(why);
}

static void test_bounds(void **state)
{
    (void)state;
    struct gw_buf json = {0};
    refuse("{\"a\":1}", "/b");
    refuse("{}", NULL);
    refuse("{\"a\\u0000\":1}", NULL);
    gw_buf_adds(&json, "{\"0\":0");
    for (int i = 1; i < GW_WANTED_MAX; i++)
        gw_buf_printf(&json, ",\"%d\":%d", i, i);
    gw_buf_adds(&json, "}");
    struct gw_wanted wanted = want(json.data, NULL, NULL);
    assert_int_equal(wanted.count, GW_WANTED_MAX);
    assert_true(gw_wanted_see(&wanted, text(json.data)));
    gw_wanted_fini(&wanted);
    json.len--;
    gw_buf_adds(&json, ",\"x\":1}");
    refuse(json.data, NULL);
    gw_buf_clear(&json);
    gw_buf_adds(&json, "\"");
    for (int i = 0; i < GW_WANTED_BYTES_MAX; i++)
        gw_buf_addc(&json, 'x');
    gw_buf_adds(&json, "\"");
    refuse(json.data, NULL);
    gw_buf_fini(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_values),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_the_fields_that_a_command_has),
        cmocka_unit_test(test_all_that_was_sent),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_commands_that_are_no_states),
        cmocka_unit_test(test_a_long_value_before),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
