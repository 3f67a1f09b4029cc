/* Timers and the inbox. The second part has threads and is what TSan is for. */
#include <pthread.h>

#include "check.h"
#include "gateway/timer.h"
#include "hub/inbox.h"

#define TIMERS 500

static struct gw_timers timers;
static int64_t clock_ms, last_fired;
static unsigned fired;

struct alarm {
    struct gw_timer timer;
    int64_t wanted;
    bool set;
};

static void on_fire(struct gw_timer *timer)
{
    struct alarm *alarm = (struct alarm *)timer;
    assert_true(alarm->set);
    assert_true(alarm->wanted <= clock_ms);
    assert_true(alarm->wanted >= last_fired); /* in order */
    last_fired = alarm->wanted;
    alarm->set = false;
    fired++;
}

static void test_timers(void **state)
{
    (void)state;
    uint64_t seed = 3;
    static struct alarm alarms[TIMERS];
    gw_timers_init(&timers);
    assert_true(gw_timers_next(&timers) == INT64_MAX);
    for (int round = 0; round < 20000; round++) {
        struct alarm *alarm = &alarms[check_random(&seed) % TIMERS];
        if (check_random(&seed) % 4) {
            alarm->timer.fire = on_fire;
            alarm->wanted = clock_ms + 1 + check_random(&seed) % 1000;
            alarm->set = true;
            gw_timer_set(&timers, &alarm->timer, alarm->wanted);
        } else {
            gw_timer_cancel(&timers, &alarm->timer);
            alarm->set = false;
        }
        int64_t next = INT64_MAX;
        if (round % 97 == 0) {
            for (size_t i = 0; i < TIMERS; i++) {
                if (alarms[i].set && alarms[i].wanted < next)
                    next = alarms[i].wanted;
            }
            assert_true(gw_timers_next(&timers) == next);
            clock_ms += check_random(&seed) % 50;
            last_fired = 0;
            gw_timers_run(&timers, clock_ms);
            for (size_t i = 0; i < TIMERS; i++)
                assert_false(alarms[i].set && alarms[i].wanted <= clock_ms);
        }
    }
    assert_true(fired > 100);
    gw_timers_fini(&timers);
}

/* --- inbox ----------------------------------------------------------------------------------------------------- */

#define PRODUCERS 3
#define EACH      20000
#define CAPACITY  64

static pthread_mutex_t wake_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake_cond = PTHREAD_COND_INITIALIZER;
static bool awake;

static void wake(void *context)
{
    (void)context;
    pthread_mutex_lock(&wake_lock);
    awake = true;
    pthread_cond_signal(&wake_cond);
    pthread_mutex_unlock(&wake_lock);
}

struct producer {
    struct gw_inbox *inbox;
    uint64_t number, sent;
};

static void *produce(void *context)
{
    struct producer *producer = context;
    for (uint64_t i = 0; i < EACH; i++) {
        struct gw_event event = {.type = GW_EVENT_PUBLISHED, .u.result = {.token = producer->number << 32 | i}};
        if (!gw_inbox_put(producer->inbox, &event))
            break;
        producer->sent++;
    }
    return NULL;
}

static void test_inbox(void **state)
{
    (void)state;
    struct gw_inbox *inbox = gw_inbox_create(CAPACITY, wake, NULL);
    struct producer producers[PRODUCERS];
    pthread_t threads[PRODUCERS];
    for (uint64_t i = 0; i < PRODUCERS; i++) {
        producers[i] = (struct producer){inbox, i, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, produce, &producers[i]), 0);
    }
    uint64_t next[PRODUCERS] = {0}, total = 0;
    while (total < PRODUCERS * EACH) {
        if (gw_inbox_rest(inbox)) { /* a wake-up that does not come would hold the test up for ever */
            pthread_mutex_lock(&wake_lock);
            while (!awake)
                pthread_cond_wait(&wake_cond, &wake_lock);
            awake = false;
            pthread_mutex_unlock(&wake_lock);
        }
        struct gw_event *events;
        size_t count;
        gw_inbox_take(inbox, &events, &count);
        assert_true(count <= CAPACITY); /* bounded, whatever the producers do */
        for (size_t i = 0; i < count; i++) {
            uint64_t token = events[i].u.result.token;
            assert_true((token & 0xffffffff) == next[token >> 32]); /* each producer's in its order */
            next[token >> 32]++;
        }
        total += count;
    }
    for (size_t i = 0; i < PRODUCERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(gw_inbox_length(inbox), 0);
    gw_inbox_destroy(inbox);
}

static void test_inbox_close_frees_producers(void **state)
{
    (void)state;
    struct gw_inbox *inbox = gw_inbox_create(CAPACITY, wake, NULL);
    struct producer producer = {inbox, 0, 0};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, produce, &producer), 0);
    while (gw_inbox_length(inbox) < CAPACITY)
        ;
    gw_inbox_close(inbox); /* the producer waits inside, and must come out */
    pthread_join(thread, NULL);
    assert_int_equal(producer.sent, CAPACITY);
    gw_inbox_destroy(inbox);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_timers), cmocka_unit_test(test_inbox),
                                       cmocka_unit_test(test_inbox_close_frees_producers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
