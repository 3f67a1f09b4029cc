/* The loop's alarm: also one that is due before the loop sleeps. */
#include <pthread.h>
#include <time.h>

#include "check.h"
#include "gateway/clock.h"
#include "net/loop.h"

#define GUARD_MS 3000

static struct gw_loop *loop;

/* Turns a hang into a failure. */
static void *guard(void *unused)
{
    const struct timespec wait = {.tv_sec = GUARD_MS / 1000};
    (void)unused;
    nanosleep(&wait, NULL);
    gw_loop_wake(loop);
    return NULL;
}

static void test_an_alarm_that_is_due_already(void **state)
{
    (void)state;
    loop = gw_loop_create();
    assert_non_null(loop);
    for (int i = 0; i < 20; i++)
        gw_loop_turn(loop, false); /* what it has to do at its start */
    pthread_t thread;
    pthread_create(&thread, NULL, guard, NULL);
    static const int64_t waits[] = {-5, 0, 1, 20};
    for (size_t i = 0; i < COUNT(waits); i++) {
        int64_t begin = gw_monotonic_ms();
        gw_loop_alarm(loop, waits[i]);
        while (gw_monotonic_ms() < begin + 5)
            ; /* pushed aside */
        gw_loop_turn(loop, true);
        assert_true(gw_monotonic_ms() - begin < GUARD_MS / 2);
    }
    gw_loop_alarm(loop, INT64_MAX);
    pthread_join(thread, NULL);
    gw_loop_destroy(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_an_alarm_that_is_due_already)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
