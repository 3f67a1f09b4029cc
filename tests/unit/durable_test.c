/* The engine `disk`: what was told to the store is there at the next start, in any order of events; numbers are never
 * given twice; and the writer's thread (this test runs under TSan too). */
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "check.h"
#include "engine/disk_options.h"
#include "gateway/codec.h"
#include "gateway/hub.h"
#include "gateway/timer.h"
#include "hub/channel/channel.h"
#include "hub/hub_private.h"
#include "hub/inbox.h"
#include "message/cursor.h"
#include "route/routes.h"

static const struct gw_engine *engine;
static char path[64];
static struct gw_engine_found found;
static struct gw_engine_store *store;
static struct gw_timers timers;
static uint64_t seed;

static uint32_t random_below(uint32_t below)
{
    return check_random(&seed) % below;
}

static void open_store(int64_t flush_ms, size_t queue, uint64_t block)
{
    const struct gw_disk_options options = {
        .path = path, .flush_ms = flush_ms, .queue_bytes = queue, .series = 1000, .block = block};
    struct gw_buf error = {0};
    if (engine->open(&options, &found, &store, &error) != GW_OK)
        fail_msg("%s", error.data);
    gw_buf_fini(&error);
}

/* What the engine numbers goes into the hub, if there is one. */
static struct gw_hub *target;
static uint64_t numbered; /* the newest */

static void on_message(void *context, const struct gw_message_spec *spec)
{
    (void)context;
    assert_true(spec->seq > numbered);
    assert_string_equal(spec->epoch, found.epoch);
    numbered = spec->seq;
    struct gw_event event = {.type = GW_EVENT_MESSAGE, .u.message = gw_message_create(spec)};
    if (target)
        gw_hub_handle(target, &event);
    else
        gw_message_unref(event.u.message);
}

static const struct gw_engine_sink sink = {.message = on_message};

static void start_store(void)
{
    struct gw_buf error = {0};
    numbered = found.seq;
    if (engine->start(store, &sink, &error) != GW_OK)
        fail_msg("%s", error.data);
    gw_buf_fini(&error);
}

static int setup_file(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/tmp/sluice-durable-%d.db", (int)getpid());
    unlink(path);
    return 0;
}

static int remove_file(void **state)
{
    (void)state;
    char other[80];
    snprintf(other, sizeof other, "%s-wal", path);
    unlink(other);
    unlink(path);
    return 0;
}

static struct gw_config *make_config(uint32_t channels, size_t history_bytes)
{
    static const struct {
        const char *topic, *store;
        uint32_t count;
    } rows[] = {{"d/+", "disk", 8}, {"n/+", "disk", 0}, {"m/+", "memory", 8}};
    struct gw_config *made = calloc(1, sizeof *made);
    atomic_init(&made->refs, 1);
    made->file = strdup("test");
    made->route_count = COUNT(rows);
    made->routes = calloc(COUNT(rows), sizeof *made->routes);
    for (size_t i = 0; i < COUNT(rows); i++) {
        made->routes[i].topic = strdup(rows[i].topic);
        made->routes[i].codec = gw_codec_find("auto");
        made->routes[i].history_engine = gw_history_find(rows[i].store);
        made->routes[i].history = (struct gw_history_limits){.count = rows[i].count, .bytes = 1 << 20};
    }
    made->limits = (struct gw_cfg_limits){
        .subscriptions = 10, .queue_bytes = 1 << 20, .channels = channels, .history_bytes = history_bytes};
    return made;
}

static struct gw_hub *make_hub(struct gw_config *config)
{
    struct gw_routes *routes = gw_routes_build(config);
    struct gw_hub_setup setup = {.epoch = found.epoch, .config = config, .routes = routes, .timers = &timers};
    struct gw_hub *hub = gw_hub_create(&setup);
    gw_routes_unref(routes);
    return hub;
}

static void restore(struct gw_hub **hubs, unsigned count)
{
    struct gw_restored restored;
    struct gw_buf error = {0};
    if (gw_hubs_restore(hubs, count, engine, store, &found, &restored, &error) != GW_OK)
        fail_msg("%s", error.data);
    gw_buf_fini(&error);
}

static void send_message(struct gw_hub *hub, const char *channel, const char *json, bool clear)
{
    struct gw_message_spec spec = {.channel = channel,
                                   .channel_len = strlen(channel),
                                   .json = json,
                                   .json_len = strlen(json),
                                   .payload = clear ? "" : json,
                                   .payload_len = clear ? 0 : strlen(json),
                                   .ts = 1764000000001 + (int64_t)numbered,
                                   .clear = clear,
                                   .route = channel[0] == 'd'   ? 0
                                            : channel[0] == 'n' ? 1
                                                                : 2};
    target = hub;
    assert_int_equal(engine->append(store, &spec), GW_OK);
    target = NULL;
}

struct listing {
    struct gw_message *messages[64];
    size_t count;
};

static bool list(void *context, struct gw_message *msg)
{
    struct listing *listing = context;
    listing->messages[listing->count++] = msg;
    return true;
}

static void assert_same_message(const struct gw_message *a, const struct gw_message *b)
{
    assert_int_equal(!a, !b);
    if (!a)
        return;
    assert_int_equal(a->seq, b->seq);
    assert_int_equal(a->text.len, b->text.len);
    assert_memory_equal(a->text.data, b->text.data, a->text.len);
    assert_int_equal(a->payload.len, b->payload.len);
    if (a->payload.len)
        assert_memory_equal(a->payload.data, b->payload.data, a->payload.len);
    assert_int_equal(a->clear, b->clear);
    assert_int_equal(a->retained, b->retained);
}

/* What a restart in order must leave as it was. */
static void assert_same_hub(const struct gw_hub *before, const struct gw_hub *after)
{
    assert_int_equal(before->channels.table.count, after->channels.table.count);
    assert_int_equal(before->channels.forgotten, after->channels.forgotten);
    const struct gw_channel *b = after->channels.all.oldest;
    for (const struct gw_channel *a = before->channels.all.oldest; a; a = a->newer, b = b->newer) {
        assert_string_equal(a->name, b->name); /* in the order in which they would be forgotten */
        assert_int_equal(a->last_seq, b->last_seq);
        if (a->name[0] == 'm') {
            assert_null(b->last);
            assert_int_equal(b->engine->count(b->history), 0);
            assert_int_equal(gw_channel_evicted(b), a->last_seq); /* all is gone, and it says so */
            continue;
        }
        assert_same_message(a->last, b->last);
        assert_int_equal(gw_channel_evicted(a), gw_channel_evicted(b));
        assert_int_equal(gw_channel_missing(a), gw_channel_missing(b));
        struct listing left = {.count = 0}, right = {.count = 0};
        a->engine->read(a->history, 0, list, &left);
        b->engine->read(b->history, 0, list, &right);
        assert_int_equal(left.count, right.count);
        for (size_t i = 0; i < left.count; i++)
            assert_same_message(left.messages[i], right.messages[i]);
    }
}

/* Random traffic over several lives, each stopped in order. */
static void test_lives(void **state)
{
    (void)state;
    struct gw_hub *before = NULL;
    struct gw_config *config = make_config(12, 6000);
    uint64_t seq = 0;
    seed = 7;
    for (int life = 0; life < 12; life++) {
        open_store(10, 1 << 20, 1 << 20);
        assert_true(found.clean);
        assert_int_equal(found.seq, seq);
        struct gw_hub *hubs[2] = {make_hub(config), make_hub(config)};
        restore(hubs, 2);
        start_store();
        if (before) {
            assert_same_hub(before, hubs[0]);
            assert_same_hub(before, hubs[1]);
            gw_hub_destroy(before);
        }
        gw_hub_destroy(hubs[1]);
        struct gw_hub *hub = before = hubs[0];
        gw_hub_tick(hub, 1, 1764000000000);
        uint64_t until = seq + random_below(400);
        while (seq < until) {
            char channel[16], json[600];
            snprintf(channel, sizeof channel, "%c/%d", "ddnm"[random_below(4)], (int)random_below(5));
            snprintf(
                json, sizeof json, "\"%llu %.*s\"", (unsigned long long)seq + 1, (int)random_below(500),
                "----------------------------------------------------------------------------------------------------"
                "---------------------------------------------------------------------------------------------------"
                "-");
            send_message(hub, channel, random_below(20) ? json : "null", false);
            if (!random_below(10))
                send_message(hub, channel, "null", true);
            seq = numbered;
            if (!random_below(60))
                usleep(3000); /* so that some batches end in between; nothing depends on it */
        }
        engine->close(store, true, gw_hub_keep_rest(hub));
    }
    gw_hub_destroy(before);
    gw_config_unref(config);
    remove_file(NULL);
}

static void append_one(uint64_t seq, const char *name)
{
    struct gw_message_spec spec = {.channel = name,
                                   .channel_len = strlen(name),
                                   .json = "1",
                                   .json_len = 1,
                                   .payload = "1",
                                   .payload_len = 1,
                                   .epoch = found.epoch,
                                   .seq = seq,
                                   .ts = 1};
    struct gw_message *msg = gw_message_create(&spec);
    struct gw_engine_channel channel = {.name = name,
                                        .len = strlen(name),
                                        .hash = msg->hash,
                                        .last_seq = seq,
                                        .before_last = seq - 1,
                                        .last = seq,
                                        .kept = true};
    engine->keep(store, &channel, msg);
    gw_message_unref(msg);
}

static void number_one(void)
{
    struct gw_message_spec draft = {
        .channel = "a", .channel_len = 1, .json = "1", .json_len = 1, .payload = "1", .payload_len = 1};
    assert_int_equal(engine->append(store, &draft), GW_OK);
}

/* Numbers that were given once are never given again, whatever was written. */
static void test_numbers(void **state)
{
    (void)state;
    uint64_t highest = 0;
    char epoch[sizeof found.epoch] = "";
    for (int life = 0; life < 6; life++) {
        open_store(3600000, 1 << 20, 8);
        assert_true(found.seq >= highest);
        assert_int_equal(found.clean, life == 0 || life == 4);
        if (!found.clean) {
            assert_int_equal(found.lost, found.seq);
            assert_int_equal(found.forgotten, found.seq);
        }
        if (life == 4)
            assert_int_equal(found.seq, highest);
        if (life)
            assert_string_equal(found.epoch, epoch);
        memcpy(epoch, found.epoch, sizeof epoch);
        start_store();
        for (int i = 0; i < 100 + life; i++)
            number_one();
        highest = numbered;
        engine->close(store, life == 3, 0);
    }
    remove_file(NULL);
}

static void count_message(void *context, const struct gw_message_spec *spec)
{
    (void)spec;
    ++*(size_t *)context;
}

static void no_channel(void *context, const struct gw_engine_channel *channel)
{
    (void)context;
    (void)channel;
}

static size_t load_count(void)
{
    size_t count = 0;
    const struct gw_engine_load load = {&count, no_channel, count_message};
    struct gw_buf error = {0};
    assert_int_equal(engine->load(store, &load, &error), GW_OK);
    gw_buf_fini(&error);
    return count;
}

/* More than the queue takes: the rest is counted and `lost` says how far, also after a stop in order. */
static void test_full_queue(void **state)
{
    (void)state;
    open_store(3600000, 64 * 1024, 1 << 20);
    start_store();
    /* The first waits for its flush in an hour; with it in the queue the next does not fit. */
    char *large = malloc(70000);
    memset(large, '1', 70000);
    struct gw_message_spec spec = {.channel = "a",
                                   .channel_len = 1,
                                   .json = large,
                                   .json_len = 70000,
                                   .payload = large,
                                   .payload_len = 70000,
                                   .epoch = found.epoch,
                                   .seq = 2,
                                   .ts = 1};
    append_one(1, "b");
    struct gw_message *msg = gw_message_create(&spec);
    struct gw_engine_channel channel = {
        .name = "a", .len = 1, .hash = msg->hash, .last_seq = 2, .last = 2, .kept = true};
    engine->keep(store, &channel, msg);
    gw_message_unref(msg);
    free(large);
    append_one(3, "b");
    assert_int_equal(engine->stats(store).dropped, 1);
    engine->close(store, true, 0);
    open_store(10, 1 << 20, 1 << 20);
    assert_true(found.clean);
    assert_int_equal(found.lost, 2);
    assert_int_equal(load_count(), 2);
    engine->close(store, false, 0);
    remove_file(NULL);
}

struct appender {
    pthread_t thread;
    uint64_t seq;
};

static void *append_many(void *context)
{
    struct appender *appender = context;
    for (int i = 0; i < 20000; i++) {
        char name[8];
        snprintf(name, sizeof name, "%d", i % 100);
        append_one(++appender->seq, name);
        if (i % 1000 == 999) {
            uint64_t hash = gw_hash(name, strlen(name));
            const struct gw_engine_channel gone = {
                .name = name, .len = strlen(name), .hash = hash, .last_seq = appender->seq};
            engine->forget(store, &gone, true);
        }
    }
    return NULL;
}

/* The hub's thread, the MQTT thread and whoever answers /metrics, all at once. */
static void test_threads(void **state)
{
    (void)state;
    open_store(10, 64 << 20, 64);
    start_store();
    struct appender appender = {.seq = 0};
    pthread_create(&appender.thread, NULL, append_many, &appender);
    for (uint64_t seq = 1; seq <= 20000; seq++) {
        number_one();
        assert_int_equal(numbered, seq);
        if (seq % 100 == 0)
            engine->stats(store);
    }
    pthread_join(appender.thread, NULL);
    assert_int_equal(engine->stats(store).dropped, 0);
    engine->close(store, true, 0);
    open_store(10, 1 << 20, 64);
    /* Channel 99 was forgotten after every tenth of its messages, at the last one too. */
    assert_int_equal(load_count(), 20000 / 100 * 99);
    assert_int_equal(found.forgotten, 20000);
    engine->close(store, false, 0);
    remove_file(NULL);
}

/* Only what is kept has a journal. */
static void test_engines(void **state)
{
    (void)state;
    assert_null(gw_engine_find("memory")->keep);
    assert_false(gw_history_find("memory")->kept);
    assert_non_null(gw_engine_find("disk")->keep);
    assert_true(gw_history_find("disk")->kept);
}

int main(void)
{
    engine = gw_engine_find("disk");
    gw_timers_init(&timers);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_engines, setup_file, remove_file),
        cmocka_unit_test_setup_teardown(test_lives, setup_file, remove_file),
        cmocka_unit_test_setup_teardown(test_numbers, setup_file, remove_file),
        cmocka_unit_test_setup_teardown(test_full_queue, setup_file, remove_file),
        cmocka_unit_test_setup_teardown(test_threads, setup_file, remove_file),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    gw_timers_fini(&timers);
    return failed;
}
