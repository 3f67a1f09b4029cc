/* Idempotency keys: what is a repeat, who hears of the outcome, and what is forgotten. */
#include "check.h"
#include "gateway/mail.h"
#include "hub/publish/repeats.h"

struct post {
    unsigned letters, worker;
};

static void take(void *context, unsigned worker, struct gw_letter *letter)
{
    struct post *post = context;
    post->letters++;
    post->worker = worker;
    letter->drop(letter);
}

static struct gw_repeat_ask ask_for(const char *name, const char *payload, int64_t now_ms)
{
    return (struct gw_repeat_ask){.name = {name, strlen(name)},
                                  .payload = {payload, strlen(payload)},
                                  .now_ms = now_ms,
                                  .window_ms = 100,
                                  .limit = 3};
}

static enum gw_repeat_is ask(struct gw_repeats *repeats, const char *name, const char *payload, int64_t now_ms,
                             struct gw_repeat **first)
{
    const struct gw_repeat_ask it = ask_for(name, payload, now_ms);
    return gw_repeats_ask(repeats, &it, first);
}

static enum gw_repeat_is follow(struct gw_repeats *repeats, const char *name, const char *payload,
                                const struct gw_mail *mail)
{
    const struct gw_repeat_ask it = ask_for(name, payload, 0);
    return gw_repeats_follow(repeats, &it, mail, 1, 7);
}

static void finish(struct gw_repeats *repeats, struct gw_repeat *first, int64_t now_ms, const struct gw_mail *mail)
{
    struct gw_repeat_outcome outcome = {.kind = GW_REPEAT_PUBLISHED};
    gw_repeats_finish(repeats, first, &outcome, now_ms, mail);
}

static void test_who_hears_of_it(void **state)
{
    (void)state;
    struct post post = {0};
    const struct gw_mail mail = {&post, take};
    struct gw_repeats *repeats = gw_repeats_create();
    struct gw_repeat *first, *none;
    assert_int_equal(ask(repeats, "a", "1", 0, &first), GW_REPEAT_FIRST);
    assert_int_equal(ask(repeats, "a", "1", 0, &none), GW_REPEAT_AGAIN);
    assert_int_equal(ask(repeats, "a", "2", 0, &none), GW_REPEAT_OTHER);
    for (unsigned i = 0; i < GW_REPEAT_FOLLOWERS; i++)
        assert_int_equal(follow(repeats, "a", "1", &mail), GW_REPEAT_AGAIN);
    assert_int_equal(follow(repeats, "a", "1", &mail), GW_REPEAT_FULL);
    assert_int_equal(post.letters, 0);
    finish(repeats, first, 0, &mail);
    assert_int_equal(post.letters, GW_REPEAT_FOLLOWERS);
    assert_int_equal(post.worker, 1);
    assert_int_equal(follow(repeats, "a", "1", &mail), GW_REPEAT_AGAIN);
    assert_int_equal(post.letters, GW_REPEAT_FOLLOWERS + 1);
    gw_repeats_destroy(repeats);
}

/* Between the two questions of a repeat the first may be forgotten, and its key be had by another publish. */
static void test_it_follows_none_but_its_own(void **state)
{
    (void)state;
    struct post post = {0};
    const struct gw_mail mail = {&post, take};
    struct gw_repeats *repeats = gw_repeats_create();
    struct gw_repeat *first, *none;
    assert_int_equal(ask(repeats, "a", "1", 0, &first), GW_REPEAT_FIRST);
    assert_int_equal(ask(repeats, "a", "1", 0, &none), GW_REPEAT_AGAIN);
    gw_repeats_forget(repeats, first, GW_ERR_OVERLOADED, 0, &mail);
    assert_int_equal(follow(repeats, "a", "1", &mail), GW_REPEAT_FULL);
    assert_int_equal(ask(repeats, "a", "2", 0, &first), GW_REPEAT_FIRST);
    assert_int_equal(follow(repeats, "a", "1", &mail), GW_REPEAT_FULL);
    finish(repeats, first, 0, &mail);
    assert_int_equal(post.letters, 0);
    gw_repeats_destroy(repeats);
}

static void test_what_is_forgotten(void **state)
{
    (void)state;
    struct post post = {0};
    const struct gw_mail mail = {&post, take};
    struct gw_repeats *repeats = gw_repeats_create();
    struct gw_repeat *a, *b, *c, *d;
    assert_int_equal(ask(repeats, "a", "1", 0, &a), GW_REPEAT_FIRST);
    assert_int_equal(ask(repeats, "b", "1", 0, &b), GW_REPEAT_FIRST);
    assert_int_equal(ask(repeats, "c", "1", 0, &c), GW_REPEAT_FIRST);
    assert_int_equal(ask(repeats, "d", "1", 0, &d), GW_REPEAT_FULL); /* all are under way */
    finish(repeats, b, 0, &mail);
    finish(repeats, a, 10, &mail);
    assert_int_equal(ask(repeats, "d", "1", 20, &d), GW_REPEAT_FIRST); /* in the place of the one that ended first */
    assert_int_equal(ask(repeats, "a", "1", 20, &a), GW_REPEAT_AGAIN);
    assert_int_equal(ask(repeats, "a", "2", 110, &a), GW_REPEAT_FIRST); /* its time is up */
    assert_int_equal(ask(repeats, "c", "1", 1000, &b), GW_REPEAT_AGAIN);
    gw_repeats_destroy(repeats);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_who_hears_of_it),
                                       cmocka_unit_test(test_it_follows_none_but_its_own),
                                       cmocka_unit_test(test_what_is_forgotten)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
