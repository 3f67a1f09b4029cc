#include "check.h"
#include "gateway/topic.h"
#include "topic/topic_tree.h"

/* MQTT 5.0 sections 4.7.1 to 4.7.3, and what people do beyond them. */
static const struct {
    const char *filter, *name;
    bool matches;
} matching[] = {
    {"sport/tennis/player1/#", "sport/tennis/player1", true},
    {"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
    {"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
    {"sport/#", "sport", true},
    {"#", "a", true},
    {"#", "/", true},
    {"#", "a/b/c", true},
    {"sport/tennis/+", "sport/tennis/player1", true},
    {"sport/tennis/+", "sport/tennis/player1/ranking", false},
    {"sport/+", "sport", false},
    {"sport/+", "sport/", true},
    {"+", "a", true},
    {"+", "/a", false},
    {"+/tennis/#", "sport/tennis/x", true},
    {"sport/+/player1", "sport/tennis/player1", true},
    {"+/+", "/finance", true},
    {"/+", "/finance", true},
    {"+", "/finance", false},
    {"#", "$SYS/monitor", false},
    {"+/monitor/Clients", "$SYS/monitor/Clients", false},
    {"$SYS/#", "$SYS/monitor/x", true},
    {"$SYS/monitor/+", "$SYS/monitor/Clients", true},
    {"a/$b", "a/$b", true},
    {"a/+", "a/$b", true},
    {"Accounts", "ACCOUNTS", false},
    {"a//b", "a/b", false},
    {"a//b", "a//b", true},
    {"a/+/b", "a//b", true},
    {"/", "/", true},
    {"//", "/", false},
    {"+/+/+", "//", true},
    {"a/b", "a/bc", false},
    {"a/bc", "a/b", false},
    {"a/b", "a", false},
    {"a", "a/", false},
    {"küche/+", "küche/licht", true},
    {"a/+/#", "a/b", true},
    {"a/+/#", "a", false},
};

static void test_matching(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(matching); i++) {
        bool got = gw_topic_matches(matching[i].filter, strlen(matching[i].filter), matching[i].name,
                                    strlen(matching[i].name));
        CHECK_ROW(got == matching[i].matches, matching[i].filter);
    }
}

static const struct {
    const char *text;
    size_t len; /* 0: strlen */
    bool name, filter;
} validity[] = {
    {"a", 0, true, true},
    {"/", 0, true, true},
    {"a//b", 0, true, true},
    {"a b", 0, true, true},
    {"#", 0, false, true},
    {"a/#", 0, false, true},
    {"+", 0, false, true},
    {"+/a/+", 0, false, true},
    {"a#", 0, false, false},
    {"a/#/b", 0, false, false},
    {"#/", 0, false, false},
    {"a+", 0, false, false},
    {"+a", 0, false, false},
    {"a/+b/c", 0, false, false},
    {"##", 0, false, false},
    {"++", 0, false, false},
    {"\xc3\xbc", 0, true, true},
    {"\xc3", 0, false, false},
    {"\xed\xa0\x80", 0, false, false},
    {"\xc0\xaf", 0, false, false},
    {"\xf4\x90\x80\x80", 0, false, false},
    {"a\0b", 3, false, false},
};

static void test_validity(void **state)
{
    (void)state;
    assert_false(gw_topic_name_valid("", 0));
    assert_false(gw_topic_filter_valid("", 0));
    for (size_t i = 0; i < COUNT(validity); i++) {
        size_t len = validity[i].len ? validity[i].len : strlen(validity[i].text);
        CHECK_ROW(gw_topic_name_valid(validity[i].text, len) == validity[i].name, validity[i].text);
        CHECK_ROW(gw_topic_filter_valid(validity[i].text, len) == validity[i].filter, validity[i].text);
    }
    char *longest = malloc(65536);
    memset(longest, 'x', 65536);
    assert_true(gw_topic_name_valid(longest, 65535));
    assert_false(gw_topic_name_valid(longest, 65536));
    free(longest);
}

static const struct {
    const char *a, *b;
    bool overlap;
} overlaps[] = {
    {"a/+", "+/b", true},     {"a/#", "a", true},       {"a/b", "a/c", false},     {"+", "+/+", false},
    {"#", "x/y", true},       {"a/+/c", "a/b/#", true}, {"a/+/c", "a/b/d", false}, {"#", "$SYS/x", false},
    {"+/x", "$SYS/x", false}, {"a/#", "b/#", false},    {"+/#", "a", true},
};

static void test_overlap(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(overlaps); i++) {
        const char *a = overlaps[i].a, *b = overlaps[i].b;
        CHECK_ROW(gw_topic_filters_overlap(a, strlen(a), b, strlen(b)) == overlaps[i].overlap, a);
        CHECK_ROW(gw_topic_filters_overlap(b, strlen(b), a, strlen(a)) == overlaps[i].overlap, b);
    }
}

/* --- the trie against the plain functions ---------------------------------------------------------------------- */

#define KEYS 600

struct found {
    bool seen[KEYS];
    unsigned twice;
};

static bool note(void *context, void *value)
{
    struct found *found = context;
    size_t index = (size_t)(uintptr_t)value - 1;
    found->twice += found->seen[index];
    found->seen[index] = true;
    return true;
}

static void random_key(uint64_t *state, bool wild, char out[128])
{
    static const char *const words[] = {"a", "b", "c", "", "$x", "long-level-name"};
    unsigned levels = 1 + check_random(state) % 5;
    out[0] = '\0';
    for (unsigned i = 0; i < levels; i++) {
        unsigned pick = check_random(state) % 8;
        if (i)
            strcat(out, "/");
        if (wild && pick == 6)
            strcat(out, "+");
        else if (wild && pick == 7 && i + 1 == levels)
            strcat(out, "#");
        else
            strcat(out, words[pick % COUNT(words)]);
    }
    if (!out[0])
        strcpy(out, "/");
}

/* Values are places of keys and one; of equal keys the last one counts: held[] says which are there. */
static void fill(struct gw_topic_tree *tree, char keys[][128], bool held[], uint64_t *seed)
{
    for (size_t i = 0; i < KEYS; i++) {
        random_key(seed, true, keys[i]);
        void **place = gw_topic_tree_insert(tree, keys[i], strlen(keys[i]));
        if (*place)
            held[(uintptr_t)*place - 1] = false;
        *place = (void *)(uintptr_t)(i + 1);
        held[i] = true;
    }
}

static void take_out(struct gw_topic_tree *tree, char keys[][128], bool held[], size_t k)
{
    uintptr_t value = (uintptr_t)gw_topic_tree_remove(tree, keys[k], strlen(keys[k]));
    if (!held[k] && !value)
        return;
    assert_in_range(value, 1, KEYS);
    assert_string_equal(keys[value - 1], keys[k]);
    assert_true(held[value - 1]);
    held[value - 1] = false;
}

static void test_tree_agrees(void **state)
{
    (void)state;
    uint64_t seed = 42;
    static char keys[KEYS][128];
    static bool held[KEYS];
    struct gw_topic_tree *tree = gw_topic_tree_create();
    fill(tree, keys, held, &seed);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 2000; i++) {
            char probe[128];
            random_key(&seed, false, probe);
            struct found found = {{0}, 0};
            gw_topic_tree_match_name(tree, probe, strlen(probe), note, &found);
            assert_int_equal(found.twice, 0);
            random_key(&seed, true, probe);
            struct found names = {{0}, 0};
            size_t steps = SIZE_MAX;
            assert_true(gw_topic_tree_match_some(tree, probe, strlen(probe), &steps, note, &names));
            assert_int_equal(names.twice, 0);
            for (size_t k = 0; k < KEYS; k++) {
                bool name = held[k] && !gw_topic_has_wildcard(keys[k], strlen(keys[k]));
                bool expected = name && gw_topic_matches(probe, strlen(probe), keys[k], strlen(keys[k]));
                if (names.seen[k] != expected)
                    fail_msg("filter '%s', name '%s': %d", probe, keys[k], names.seen[k]);
            }
        }
        for (size_t k = 0; k < KEYS; k += round ? 1 : 2) /* and again with half of them gone */
            take_out(tree, keys, held, k);
    }
    for (size_t k = 0; k < KEYS; k++)
        assert_false(held[k]);
    gw_topic_tree_destroy(tree);
}

static void test_tree_match_name_agrees(void **state)
{
    (void)state;
    uint64_t seed = 7;
    static char keys[KEYS][128];
    static bool held[KEYS];
    struct gw_topic_tree *tree = gw_topic_tree_create();
    fill(tree, keys, held, &seed);
    for (int i = 0; i < 3000; i++) {
        char name[128];
        random_key(&seed, false, name);
        struct found found = {{0}, 0};
        gw_topic_tree_match_name(tree, name, strlen(name), note, &found);
        for (size_t k = 0; k < KEYS; k++) {
            bool expected = held[k] && gw_topic_matches(keys[k], strlen(keys[k]), name, strlen(name));
            if (found.seen[k] != expected)
                fail_msg("name '%s', filter '%s': %d", name, keys[k], found.seen[k]);
        }
    }
    gw_topic_tree_destroy(tree);
}

static void test_tree_of_many_levels(void **state)
{
    (void)state;
    char *deep = malloc(65535);
    memset(deep, '/', 65535);
    struct gw_topic_tree *tree = gw_topic_tree_create();
    *gw_topic_tree_insert(tree, deep, 65535) = (void *)1;
    struct found found = {{0}, 0};
    size_t steps = SIZE_MAX;
    gw_topic_tree_match_some(tree, "#", 1, &steps, note, &found);
    assert_true(found.seen[0]);
    assert_ptr_equal(gw_topic_tree_remove(tree, deep, 65535), (void *)1);
    *gw_topic_tree_insert(tree, deep, 65535) = (void *)1;
    gw_topic_tree_destroy(tree);
    free(deep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matching),
        cmocka_unit_test(test_validity),
        cmocka_unit_test(test_overlap),
        cmocka_unit_test(test_tree_agrees),
        cmocka_unit_test(test_tree_match_name_agrees),
        cmocka_unit_test(test_tree_of_many_levels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
