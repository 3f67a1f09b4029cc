/* Tables and lists of items that hold them together themselves, against a plain array. */
#include "check.h"
#include "gateway/list.h"
#include "gateway/table.h"

#define ITEMS 1000

struct thing {
    struct gw_table_item item; /* first member */
    struct thing *next, **link;
    unsigned number;
    bool in;
};

/* Few hashes for many things, and many that share their low bits. */
static uint64_t hash_of(unsigned number)
{
    return number % 2 ? number % 7 : (uint64_t)number << 8;
}

static unsigned times_found(const struct gw_table *table, const struct thing *thing)
{
    unsigned found = 0;
    uint64_t hash = hash_of(thing->number);
    for (struct gw_table_item *item = gw_table_first(table, hash); item; item = gw_table_next(item)) {
        assert_true(item->hash == hash);
        found += item == &thing->item;
    }
    return found;
}

static void check(const struct gw_table *table, const struct thing *things)
{
    size_t count = 0;
    for (unsigned i = 0; i < ITEMS; i++) {
        assert_int_equal(times_found(table, &things[i]), things[i].in);
        count += things[i].in;
    }
    assert_int_equal(table->count, count);
}

static void test_table(void **state)
{
    (void)state;
    static struct thing things[ITEMS];
    struct gw_table table = {0};
    assert_null(gw_table_first(&table, 1));
    assert_null(gw_table_empty(&table));
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < ITEMS; i++) {
            things[i].number = i;
            if (!things[i].in)
                gw_table_add(&table, &things[i].item, hash_of(i));
            things[i].in = true;
        }
        check(&table, things);
        for (unsigned i = round; i < ITEMS; i += 3) {
            gw_table_remove(&table, &things[i].item);
            things[i].in = false;
        }
        check(&table, things);
    }
    size_t left = table.count, returned = 0;
    for (struct gw_table_item *item = gw_table_empty(&table); item; item = item->next)
        returned += ((struct thing *)item)->in;
    assert_int_equal(returned, left);
    memset(things, 0, sizeof things);
    check(&table, things);
}

/* The numbers in the list, as letters, and each item's link leads to it. */
static const char *letters(struct thing *const *head)
{
    static char text[16];
    size_t len = 0;
    for (struct thing *const *at = head; *at; at = &(*at)->next) {
        assert_ptr_equal((*at)->link, at);
        text[len++] = (char)('a' + (*at)->number);
    }
    text[len] = '\0';
    return text;
}

static void test_lists(void **state)
{
    (void)state;
    struct thing things[4] = {{.number = 0}, {.number = 1}, {.number = 2}, {.number = 3}};
    struct thing *head = NULL, **end;
    for (unsigned i = 0; i < 4; i++)
        GW_LIST_ADD(head, &things[i], next, link);
    assert_string_equal(letters(&head), "dcba");
    GW_LIST_REMOVE(&things[0], next, link); /* the last */
    GW_LIST_REMOVE(&things[2], next, link);
    assert_string_equal(letters(&head), "db");
    GW_LIST_REMOVE(&things[3], next, link); /* the first */
    GW_LIST_REMOVE(&things[1], next, link);
    assert_string_equal(letters(&head), "");

    end = &head;
    for (unsigned i = 0; i < 4; i++)
        GW_QUEUE_ADD(end, &things[i], next, link);
    assert_string_equal(letters(&head), "abcd");
    GW_QUEUE_REMOVE(end, &things[3], next, link);
    GW_QUEUE_ADD(end, &things[3], next, link);
    GW_QUEUE_REMOVE(end, &things[1], next, link);
    GW_QUEUE_REMOVE(end, &things[0], next, link);
    assert_string_equal(letters(&head), "cd");
    GW_QUEUE_REMOVE(end, &things[2], next, link);
    GW_QUEUE_REMOVE(end, &things[3], next, link);
    assert_ptr_equal(end, &head);
    GW_QUEUE_ADD(end, &things[1], next, link);
    assert_string_equal(letters(&head), "b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table), cmocka_unit_test(test_lists)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
