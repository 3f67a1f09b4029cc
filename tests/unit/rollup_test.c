/* What the engine `disk` rolls up, against an oracle: clocks that are set, values that are none, messages that are
 * told twice, transactions of any size, stops in between. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "engine/disk_options.h"
#include "engine/disk_rollup.h"
#include "gateway/codec.h"
#include "gateway/engine.h"
#include "gateway/message.h"

#define MESSAGES 3000
#define NAMES    3

static const int64_t everies[] = {1000, 7000, 3600000};

static struct {
    unsigned name;
    int64_t ts;
    bool sample;
    double value;
} sent[MESSAGES + 1];
static uint64_t count;

static const struct gw_engine *engine;
static char path[64];
static struct gw_engine_found found;
static struct gw_engine_store *store;
static struct gw_rollup *rollup;
static uint64_t seed;

static void ignore(void *context, const struct gw_message_spec *spec)
{
    (void)context;
    (void)spec;
}

static void open_store(void)
{
    const struct gw_disk_options options = {
        .path = path, .flush_ms = 10, .queue_bytes = 64 << 20, .series = 1000, .block = 1 << 20};
    struct gw_buf error = {0};
    if (engine->open(&options, &found, &store, &error) != GW_OK)
        fail_msg("%s", error.data);
    gw_buf_fini(&error);
}

static void on_channel(void *context, const struct gw_engine_channel *channel)
{
    (void)context;
    (void)channel;
}

static void start_store(void)
{
    const struct gw_engine_sink sink = {.message = ignore};
    const struct gw_engine_load load = {NULL, on_channel, ignore};
    struct gw_buf error = {0};
    if (engine->load(store, &load, &error) != GW_OK || engine->start(store, &sink, &error) != GW_OK)
        fail_msg("%s", error.data);
    gw_buf_fini(&error);
}

static const char *name_of(unsigned name)
{
    static const char *const names[NAMES] = {"a", "b/c", "d"};
    return names[name];
}

/* Tells the store of it; more than once is fine. */
static void tell(uint64_t seq)
{
    char json[80];
    if (sent[seq].sample)
        snprintf(json, sizeof json, "{\"x\":\"y\",\"t\":%.17g}", sent[seq].value);
    else
        snprintf(json, sizeof json, seq % 2 ? "{\"t\":\"21\"}" : "[1]");
    const char *name = name_of(sent[seq].name);
    const struct gw_message_spec spec = {.channel = name,
                                         .channel_len = strlen(name),
                                         .json = json,
                                         .json_len = strlen(json),
                                         .payload = json,
                                         .payload_len = strlen(json),
                                         .epoch = found.epoch,
                                         .seq = seq,
                                         .ts = sent[seq].ts};
    struct gw_message *msg = gw_message_create(&spec);
    uint64_t before = 0;
    for (uint64_t i = 1; i < seq; i++) {
        if (sent[i].name == sent[seq].name)
            before = i;
    }
    const struct gw_engine_channel channel = {.name = name,
                                              .len = strlen(name),
                                              .hash = gw_hash(name, strlen(name)),
                                              .last_seq = seq,
                                              .before_last = before,
                                              .last = seq,
                                              .evicted = seq > 5 ? seq - 5 : 0,
                                              .kept = true,
                                              .rollup = rollup};
    engine->keep(store, &channel, msg);
    gw_message_unref(msg);
}

struct answer {
    struct gw_engine_series question;
    pthread_mutex_t lock;
    pthread_cond_t come;
    bool here;
    struct gw_window windows[MESSAGES];
    size_t count;
    uint64_t seq;
    int64_t since;
    unsigned gaps;
};

static void on_window(struct gw_engine_series *question, const struct gw_window *window)
{
    struct answer *answer = (struct answer *)question;
    assert_true(!answer->count || answer->windows[answer->count - 1].t < window->t);
    answer->windows[answer->count++] = *window;
}

static void on_gap(struct gw_engine_series *question, int64_t from, int64_t to)
{
    assert_true(from <= to);
    ((struct answer *)question)->gaps++;
}

static void on_done(struct gw_engine_series *question, enum gw_err err, uint64_t seq, int64_t ts, int64_t since)
{
    struct answer *answer = (struct answer *)question;
    assert_int_equal(err, GW_OK);
    assert_true(ts || !seq);
    pthread_mutex_lock(&answer->lock);
    answer->here = true;
    answer->seq = seq;
    answer->since = since;
    pthread_cond_signal(&answer->come);
    pthread_mutex_unlock(&answer->lock);
}

/* Everything that was told must be in it. */
static void ask(struct answer *answer, unsigned name, int64_t every_ms)
{
    memset(answer, 0, sizeof *answer);
    pthread_mutex_init(&answer->lock, NULL);
    pthread_cond_init(&answer->come, NULL);
    answer->question = (struct gw_engine_series){.channel = name_of(name),
                                                 .len = strlen(name_of(name)),
                                                 .hash = gw_hash(name_of(name), strlen(name_of(name))),
                                                 .field = "/t",
                                                 .every_ms = every_ms,
                                                 .from = 0,
                                                 .to = INT64_MAX,
                                                 .need = UINT64_MAX,
                                                 .window = on_window,
                                                 .gap = on_gap,
                                                 .done = on_done};
    assert_int_equal(engine->series(store, &answer->question), GW_OK);
    pthread_mutex_lock(&answer->lock);
    while (!answer->here)
        pthread_cond_wait(&answer->come, &answer->lock);
    pthread_mutex_unlock(&answer->lock);
}

static void check_windows(const struct answer *answer, unsigned name, int64_t every_ms)
{
    static struct gw_window all[MESSAGES];
    size_t windows = 0;
    uint64_t newest = 0;
    memset(all, 0, sizeof all);
    for (uint64_t seq = 1; seq <= count; seq++) {
        if (sent[seq].name != name)
            continue;
        newest = seq;
        int64_t t = sent[seq].ts / every_ms * every_ms;
        size_t i = 0;
        while (i < windows && all[i].t != t)
            i++;
        if (i == windows)
            all[windows++].t = t;
        struct gw_window *window = &all[i];
        if (!sent[seq].sample) {
            window->skipped++;
            continue;
        }
        double value = sent[seq].value;
        window->min = !window->count || value < window->min ? value : window->min;
        window->max = !window->count || value > window->max ? value : window->max;
        window->last = value;
        window->sum += value;
        window->count++;
    }
    assert_int_equal(answer->seq, newest);
    assert_int_equal(answer->count, windows);
    for (size_t i = 0; i < answer->count; i++) {
        const struct gw_window *got = &answer->windows[i];
        size_t j = 0;
        while (all[j].t != got->t)
            assert_true(++j < windows);
        assert_int_equal(got->count, all[j].count);
        assert_int_equal(got->skipped, all[j].skipped);
        assert_true(got->min == all[j].min && got->max == all[j].max && got->last == all[j].last);
        assert_true(fabs(got->sum - all[j].sum) <= 1e-9 * (1 + fabs(all[j].sum)));
    }
}

static void check_all(void)
{
    static struct answer answer;
    for (unsigned name = 0; name < NAMES; name++) {
        for (size_t i = 0; i < sizeof everies / sizeof *everies; i++) {
            ask(&answer, name, everies[i]);
            check_windows(&answer, name, everies[i]);
            assert_true(answer.since == 0 || !answer.seq);
        }
    }
}

/* Mostly forward; at times the clock is set, by up to an hour in either direction. */
static int64_t next_time(int64_t now)
{
    uint32_t what = check_random(&seed) % 200;
    int64_t step = check_random(&seed) % 500;
    return what == 0 ? now - step * 7200 : what == 1 ? now + step * 7200 : now + step;
}

static void test_oracle(void **state)
{
    (void)state;
    int64_t now = INT64_C(1764000000000);
    open_store();
    start_store();
    while (count < MESSAGES) {
        count++;
        now = next_time(now);
        sent[count].name = check_random(&seed) % NAMES;
        sent[count].ts = now;
        sent[count].sample = check_random(&seed) % 10 != 0;
        sent[count].value = check_random(&seed) % 300 == 0 ? 1e6 : (double)(check_random(&seed) % 2000) / 7 - 100;
        tell(count);
        uint32_t what = check_random(&seed) % 400;
        if (what < 2) { /* as after a reload: all that the history holds, once more */
            for (uint64_t seq = count > 40 ? count - 40 : 1; seq <= count; seq++)
                tell(seq);
        } else if (what == 2) {
            check_all();
        } else if (what == 3) {
            engine->close(store, true, 0);
            open_store();
            start_store();
        }
    }
    check_all();
    engine->close(store, true, 0);
    open_store();
    start_store();
    check_all();
    engine->close(store, true, 0);
}

/* What is forgotten is gone, and begins anew. */
static void test_forgotten(void **state)
{
    (void)state;
    static struct answer answer;
    open_store();
    start_store();
    const struct gw_engine_channel channel = {.name = "a", .len = 1, .hash = gw_hash("a", 1), .last_seq = count};
    engine->forget(store, &channel, true);
    ask(&answer, 0, 1000);
    assert_int_equal(answer.seq, 0);
    assert_int_equal(answer.count, 0);
    assert_true(answer.since == INT64_MAX && answer.gaps >= 1);
    ask(&answer, 1, 1000);
    check_windows(&answer, 1, 1000);
    engine->close(store, true, 0);
}

static void test_samples(void **state)
{
    (void)state;
    static const struct {
        const char *json, *pointer;
        bool good;
        double value;
    } rows[] = {{"1", "", true, 1},
                {" -2.5e3 ", "", true, -2500},
                {"true", "", true, 1},
                {"{\"a\":{\"b\":[1,false]}}", "/a/b/1", true, 0},
                {"{\"a/b\":3,\"m~n\":4,\"\":5}", "/a~1b", true, 3},
                {"{\"a/b\":3,\"m~n\":4,\"\":5}", "/m~0n", true, 4},
                {"{\"a/b\":3,\"m~n\":4,\"\":5}", "/", true, 5},
                {"null", "", false, 0},
                {"\"1\"", "", false, 0},
                {"[1]", "", false, 0},
                {"{}", "", false, 0},
                {"{\"a\":1}", "/b", false, 0},
                {"1e999", "", false, 0},
                {"-1e999", "", false, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double value = 0;
        bool good = gw_sample_of(rows[i].json, strlen(rows[i].json), rows[i].pointer, &value);
        if (good != rows[i].good || (good && value != rows[i].value))
            fail_msg("%s at '%s'", rows[i].json, rows[i].pointer);
    }
    assert_int_equal(gw_window_begin(-1, 1000), -1000);
    assert_int_equal(gw_window_begin(1999, 1000), 1000);
}

/* The oldest becomes a part of the time before everything; drops that follow one another are one. */
static void test_gaps(void **state)
{
    (void)state;
    static struct gw_disk_gaps gaps = {.next_id = 1};
    gw_disk_gaps_add(&gaps, 0, 1000, 0);
    for (int64_t i = 1; i <= GW_DISK_GAPS + 10; i++)
        gw_disk_gaps_add(&gaps, i * 10000, i * 10000 + 10, 0);
    assert_int_equal(gaps.count, GW_DISK_GAPS);
    assert_int_equal(gaps.items[0].from, 0);
    assert_int_equal(gaps.items[0].to, 11 * 10000 + 10);
    assert_int_equal(gaps.items[1].from, 12 * 10000);
    uint32_t before = gaps.count;
    int64_t end = gaps.items[before - 1].to;
    gw_disk_gaps_add(&gaps, end + 5, end + 6, 60000);
    assert_int_equal(gaps.count, before);
    assert_int_equal(gaps.items[before - 1].to, end + 6);
}

static int setup(void **state)
{
    (void)state;
    engine = gw_engine_find("disk");
    snprintf(path, sizeof path, "/tmp/sluice-rollup-%d.db", (int)getpid());
    unlink(path);
    rollup = gw_rollup_create();
    rollup->fields[rollup->field_count++] = strdup("/t");
    for (size_t i = 0; i < sizeof everies / sizeof *everies; i++)
        rollup->steps[rollup->step_count++] = (struct gw_rollup_step){everies[i], INT64_C(100000) * 24 * 3600 * 1000};
    seed = 7;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char other[80];
    unlink(path);
    snprintf(other, sizeof other, "%s-wal", path);
    unlink(other);
    gw_rollup_unref(rollup);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_samples), cmocka_unit_test(test_gaps),
                                       cmocka_unit_test(test_oracle), cmocka_unit_test(test_forgotten)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
