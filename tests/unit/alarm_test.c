/* The loop's alarm: also one that is due before the loop sleeps. */
#include <pthread.h>
#include <time.h>

#include "base/clock.h"
#include "check.h"
#include "net/alarm.h"

#define GUARD_MS 3000

static struct lws_context *context;

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)wsi, (void)reason, (void)user, (void)in, (void)len;
    return 0;
}

static const struct lws_protocols protocols[] = {{.name = "test", .callback = on_event}, {.name = NULL}};

/* So that a failure is told and does not hang. */
static void *guard(void *unused)
{
    const struct timespec wait = {.tv_sec = GUARD_MS / 1000};
    (void)unused;
    nanosleep(&wait, NULL);
    lws_cancel_service(context);
    return NULL;
}

static void test_an_alarm_that_is_due_already(void **state)
{
    (void)state;
    lws_set_log_level(0, NULL);
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN, .protocols = protocols, .gid = (gid_t)-1, .uid = (uid_t)-1};
    context = lws_create_context(&info);
    for (int i = 0; i < 20; i++)
        lws_service(context, -1); /* what it has to do at its start */
    struct gw_alarm alarm = {.context = context};
    pthread_t thread;
    pthread_create(&thread, NULL, guard, NULL);
    static const int64_t waits[] = {-5, 0, 1, 20};
    for (size_t i = 0; i < COUNT(waits); i++) {
        int64_t begin = gw_monotonic_ms();
        gw_alarm_set(&alarm, waits[i]);
        while (gw_monotonic_ms() < begin + 5)
            ; /* pushed aside */
        lws_service(context, 0);
        assert_true(gw_monotonic_ms() - begin < GUARD_MS / 2);
    }
    gw_alarm_set(&alarm, INT64_MAX);
    pthread_join(thread, NULL);
    lws_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_an_alarm_that_is_due_already)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
