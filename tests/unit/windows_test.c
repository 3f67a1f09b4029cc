/* windows_test.c: subscriptions to windows against an oracle that adds everything up: samples and what is none, late
 * messages, a clock that is set, clients that break off, read slowly and resume. */
#include "check.h"
#include "hub_world.h"

#include "gateway/container.h"
#include "hub/inbox.h"
#include "hub/windows/windows.h"
#include "message/cursor.h"

#define ROOMS   3
#define SENT    6000
#define VIEWERS 8
#define EVERY   100

static const char *const rooms[ROOMS] = {"r/a", "r/b", "r/c"};
static struct sent {
    unsigned room;
    int64_t ts;
    double value;
    bool sample;
} sent[SENT + 1];
static unsigned sent_count;
static int64_t wall_ms;

struct window {
    int64_t t;
    double min, max, last;
    unsigned count;
    bool partial;
};

struct viewer {
    struct gw_session session; /* first member */
    const char *filter;
    struct gw_aggregate aggregate;
    bool polls;      /* it goes on with the cursor of the session, and must get each window once */
    char cursor[64]; /* where it goes on; empty: it was never there */
    int64_t from;    /* windows that begin then or later are its */
    struct window windows[ROOMS][4096];
    unsigned counts[ROOMS];
    unsigned twice, gaps;
};
static struct viewer viewers[VIEWERS];

static void step(int64_t ms, int64_t jump_ms)
{
    now_ms += ms;
    wall_ms += ms + jump_ms;
    gw_hub_tick(hub, now_ms, wall_ms);
    gw_timers_run(&timers, now_ms);
    gw_hub_flush(hub);
}

static void send_room(unsigned room, const char *json, int64_t ts)
{
    struct gw_message_spec spec = {.channel = rooms[room],
                                   .channel_len = strlen(rooms[room]),
                                   .json = json,
                                   .json_len = strlen(json),
                                   .payload = json,
                                   .payload_len = strlen(json),
                                   .epoch = EPOCH,
                                   .seq = sent_count,
                                   .ts = ts,
                                   .route = GW_ROUTE_BY_NAME};
    struct gw_event event = {.type = GW_EVENT_MESSAGE, .u.message = gw_message_create(&spec)};
    gw_hub_handle(hub, &event);
}

static void send_random(uint64_t *dice)
{
    char json[64];
    struct sent *it = &sent[++sent_count];
    it->room = check_random(dice) % ROOMS;
    it->ts = wall_ms - (check_random(dice) % 8 ? 0 : check_random(dice) % 250);
    it->sample = check_random(dice) % 5 > 0;
    it->value = (double)(check_random(dice) % 2001) - 1000;
    snprintf(json, sizeof json, it->sample ? "{\"t\":%.0f}" : "{\"t\":\"x%.0f\"}", it->value);
    send_room(it->room, json, it->ts);
}

/* --- viewers ---------------------------------------------------------------------------------------------------- */

static double member(const struct gw_message *msg, const char *name)
{
    double value = NAN;
    char pointer[16];
    snprintf(pointer, sizeof pointer, "/%s", name);
    assert_true(gw_sample_of(msg->data.data, msg->data.len, pointer, &value));
    return value;
}

static void viewer_take(struct viewer *viewer, const struct gw_message *msg)
{
    unsigned room = 0;
    while (strcmp(rooms[room], msg->channel.data) != 0)
        room++;
    struct window window = {.t = (int64_t)member(msg, "t"),
                            .min = member(msg, "min"),
                            .max = member(msg, "max"),
                            .last = member(msg, "last"),
                            .count = (unsigned)member(msg, "count")};
    double partial;
    window.partial = gw_sample_of(msg->data.data, msg->data.len, "/partial", &partial);
    assert_true(msg->window && window.t % viewer->aggregate.every_ms == 0);
    assert_int_equal(msg->ts, window.t + viewer->aggregate.every_ms);
    struct window *at = NULL;
    for (unsigned i = 0; i < viewer->counts[room] && !at; i++) {
        if (viewer->windows[room][i].t == window.t)
            at = &viewer->windows[room][i];
    }
    if (!at) {
        assert_true(viewer->counts[room] < COUNT(viewer->windows[room]));
        at = &viewer->windows[room][viewer->counts[room]++];
    } else {
        viewer->twice++;
        assert_true(window.count >= at->count);
    }
    *at = window;
    struct gw_slice cursor = gw_message_cursor(msg);
    if (!viewer->polls)
        snprintf(viewer->cursor, sizeof viewer->cursor, "%.*s", (int)cursor.len, cursor.data);
}

static void viewer_drain(struct viewer *viewer)
{
    struct gw_item item;
    while (viewer->session.open && gw_session_next(&viewer->session, &item)) {
        if (item.type == GW_ITEM_MESSAGE)
            viewer_take(viewer, item.u.message);
        viewer->gaps += item.type == GW_ITEM_GAP;
        gw_session_release(&viewer->session, &item);
    }
}

static void viewer_come(struct viewer *viewer)
{
    struct gw_subscribed subscribed;
    struct gw_start start = {.at = GW_START_NOW, .aggregate = &viewer->aggregate};
    if (viewer->cursor[0])
        start = (struct gw_start){.at = GW_START_CURSOR,
                                  .cursor = viewer->cursor,
                                  .cursor_len = strlen(viewer->cursor),
                                  .aggregate = &viewer->aggregate};
    else
        viewer->from = gw_window_begin(wall_ms, viewer->aggregate.every_ms);
    gw_session_open(&viewer->session, hub, &ops);
    assert_int_equal(
        gw_session_subscribe(&viewer->session, viewer->filter, strlen(viewer->filter), &start, &subscribed), GW_OK);
    assert_int_equal(subscribed.snapshot, 0);
    if (!viewer->cursor[0])
        snprintf(viewer->cursor, sizeof viewer->cursor, "%s", subscribed.cursor);
}

static void viewer_go(struct viewer *viewer)
{
    if (viewer->polls) {
        viewer_drain(viewer);
        gw_session_cursor(&viewer->session, !viewer->session.window_joins, viewer->cursor);
    }
    gw_session_close(&viewer->session);
}

static void viewers_random(uint64_t *dice)
{
    struct viewer *viewer = &viewers[check_random(dice) % VIEWERS];
    if (!viewer->session.open)
        viewer_come(viewer);
    else if (check_random(dice) % 4 == 0)
        viewer_go(viewer);
    else
        viewer_drain(viewer);
}

/* --- the oracle ------------------------------------------------------------------------------------------------- */

static void check_viewer(const struct viewer *viewer)
{
    int64_t every_ms = viewer->aggregate.every_ms;
    for (unsigned room = 0; room < ROOMS; room++) {
        if (strchr(viewer->filter, '+') || !strcmp(viewer->filter, rooms[room])) {
            for (unsigned i = 1; i <= sent_count; i++) { /* each sample's window is there */
                if (sent[i].room != room || !sent[i].sample || gw_window_begin(sent[i].ts, every_ms) < viewer->from)
                    continue;
                bool found = false;
                for (unsigned j = 0; j < viewer->counts[room]; j++)
                    found |= viewer->windows[room][j].t == gw_window_begin(sent[i].ts, every_ms);
                if (!found)
                    fail_msg("%s: the window of message %u on %s is missing", viewer->filter, i, rooms[room]);
            }
        }
        for (unsigned j = 0; j < viewer->counts[room]; j++) { /* and each window has all its samples */
            const struct window *window = &viewer->windows[room][j];
            struct window own = {.t = window->t};
            for (unsigned i = 1; i <= sent_count; i++) {
                if (sent[i].room != room || !sent[i].sample || gw_window_begin(sent[i].ts, every_ms) != own.t)
                    continue;
                own.min = !own.count || sent[i].value < own.min ? sent[i].value : own.min;
                own.max = !own.count || sent[i].value > own.max ? sent[i].value : own.max;
                own.last = sent[i].value;
                own.count++;
            }
            if (own.count != window->count || own.min != window->min || own.max != window->max ||
                own.last != window->last || window->partial)
                fail_msg("%s: window %lld on %s has %u of %u samples%s", viewer->filter, (long long)own.t,
                         rooms[room], window->count, own.count, window->partial ? ", partial" : "");
        }
    }
}

static void begin(size_t queue)
{
    setup_hub(100000, queue, 100);
    hub->config->limits.aggregates = 8;
    hub->config->limits.windows = 1000;
    hub->config->limits.history_bytes = 1 << 28;
    hub->config->routes[0].history.bytes = 1 << 26;
    memset(viewers, 0, sizeof viewers);
    sent_count = 0;
    wall_ms = 1764000000000;
    step(1, 0);
    for (unsigned i = 0; i < VIEWERS; i++) {
        viewers[i].filter = i % 2 ? "r/+" : rooms[i % ROOMS];
        viewers[i].aggregate = (struct gw_aggregate){.every_ms = i % 3 ? EVERY : 3 * EVERY, .field = "/t"};
    }
}

static void finish(void)
{
    for (unsigned i = 0; i < VIEWERS; i++) {
        if (!viewers[i].session.open)
            viewer_come(&viewers[i]);
    }
    for (unsigned i = 0; i < 400; i++) {
        step(25, 0);
        for (unsigned j = 0; j < VIEWERS; j++)
            viewer_drain(&viewers[j]);
    }
    for (unsigned i = 0; i < VIEWERS; i++) {
        assert_int_equal(viewers[i].session.window_joins, 0);
        check_viewer(&viewers[i]);
        gw_session_close(&viewers[i].session);
    }
    assert_null(hub->windows.shapes);
    assert_int_equal(hub->windows.open.count, 0);
    teardown_hub();
}

static void run(size_t queue, uint64_t dice, bool jumps)
{
    begin(queue);
    while (sent_count < 2500) {
        int64_t jump = jumps && check_random(&dice) % 100 == 0 ? (int64_t)(check_random(&dice) % 2000) - 1000 : 0;
        step(check_random(&dice) % 12, jump);
        send_random(&dice);
        if (check_random(&dice) % 3 == 0)
            viewers_random(&dice);
    }
    finish();
}

static void test_counts_and_extremes(void **state)
{
    (void)state;
    for (uint64_t seed_ = 1; seed_ <= 3; seed_++)
        run(1 << 20, seed_, false);
}

static void test_a_clock_that_is_set(void **state)
{
    (void)state;
    for (uint64_t seed_ = 11; seed_ <= 13; seed_++)
        run(1 << 20, seed_, true);
}

static void test_slow_readers(void **state)
{
    (void)state;
    for (uint64_t seed_ = 21; seed_ <= 23; seed_++)
        run(1500, seed_, false);
}

static void test_few_windows_may_be_open(void **state)
{
    (void)state;
    begin(1 << 20);
    hub->config->limits.windows = 1;
    uint64_t dice = 31;
    for (unsigned i = 0; i < VIEWERS; i++)
        viewer_come(&viewers[i]);
    while (sent_count < 300) {
        step(check_random(&dice) % 12, 0);
        send_random(&dice);
        assert_true(hub->windows.open.count <= 1 + hub->series_count);
    }
    assert_true(hub->stats.windows_early > 0);
    for (unsigned i = 0; i < VIEWERS; i++) {
        viewer_drain(&viewers[i]);
        gw_session_close(&viewers[i].session);
    }
    teardown_hub();
}

/* A poll goes on where it was, and gets each window once while the clock runs as it should. */
static void test_polls_get_each_window_once(void **state)
{
    (void)state;
    begin(1 << 20);
    struct viewer *viewer = &viewers[0];
    viewer->polls = true;
    uint64_t dice = 41;
    for (unsigned i = 0; i < 1500; i++) {
        char json[32];
        step(check_random(&dice) % 30, 0);
        struct sent *it = &sent[++sent_count];
        *it = (struct sent){.room = 0, .ts = wall_ms, .value = i, .sample = true};
        snprintf(json, sizeof json, "{\"t\":%u}", i);
        send_room(0, json, wall_ms);
        if (check_random(&dice) % 2 && viewer->session.open)
            viewer_go(viewer);
        else if (!viewer->session.open)
            viewer_come(viewer);
    }
    if (viewer->session.open)
        viewer_go(viewer);
    assert_true(viewer->counts[0] > 20);
    /* Joining is cut into slices of processor time: on a busy machine a window may come again, which harms nobody. */
    assert_true(viewer->twice <= 2);
    viewer->polls = false;
    finish();
}

/* The engine has lost numbers: nobody knows of which channel. */
static void test_what_the_engine_lost(void **state)
{
    (void)state;
    begin(1 << 20);
    struct viewer *viewer = &viewers[2]; /* r/c */
    viewer_come(viewer);
    step(1, 0);
    for (unsigned i = 0; i < 2; i++) {
        sent[++sent_count] = (struct sent){.room = 2, .ts = wall_ms, .value = 1, .sample = true};
        send_room(2, "{\"t\":1}", wall_ms);
        if (!i) {
            struct gw_event event = {.type = GW_EVENT_LOST, .u.lost = sent_count + 3};
            sent_count += 3;
            gw_hub_handle(hub, &event);
        }
        step(5, 0);
    }
    for (unsigned i = 0; i < 20; i++)
        step(25, 0);
    viewer_drain(viewer);
    assert_int_equal(viewer->counts[2], 1);
    assert_true(viewer->windows[2][0].partial && viewer->windows[2][0].count == 2);
    assert_int_equal(viewer->gaps, 1);
    struct gw_event anew = {.type = GW_EVENT_EPOCH, .u.epoch = "other"};
    gw_hub_handle(hub, &anew);
    assert_true(viewer->session.kicked);
    assert_int_equal(hub->windows.open.count, 0);
    gw_session_close(&viewer->session);
    teardown_hub();
}

static void test_it_costs_what_one_costs(void **state)
{
    (void)state;
    begin(1 << 20);
    for (unsigned i = 0; i < VIEWERS; i++) {
        viewers[i].filter = "r/a";
        viewers[i].aggregate.every_ms = EVERY;
        viewer_come(&viewers[i]);
    }
    step(1, 0);
    assert_int_equal(hub->windows.shape_count, 1);
    uint64_t before = hub->stats.windows;
    for (unsigned i = 0; i < 10; i++) {
        sent[++sent_count] = (struct sent){.room = 0, .ts = wall_ms, .value = 1, .sample = true};
        send_room(0, "{\"t\":1}", wall_ms);
        assert_int_equal(hub->windows.open.count, 1);
        for (unsigned j = 0; j < 4; j++)
            step(EVERY / 2, 0);
    }
    assert_int_equal(hub->stats.windows - before, 10);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts_and_extremes),
        cmocka_unit_test(test_a_clock_that_is_set),
        cmocka_unit_test(test_slow_readers),
        cmocka_unit_test(test_few_windows_may_be_open),
        cmocka_unit_test(test_polls_get_each_window_once),
        cmocka_unit_test(test_it_costs_what_one_costs),
        cmocka_unit_test(test_what_the_engine_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
