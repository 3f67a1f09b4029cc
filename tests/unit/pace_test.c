/* Rate policies against a model: whatever clients, queues, resumes and the clock do, a client ends with the last
 * value of every channel it wants, never sees an older value after a newer one, never faster than the interval, and
 * its cursor never moves back. */
#include "check.h"
#include "gateway/codec.h"
#include "gateway/hub.h"
#include "hub/hub_private.h"
#include "hub/inbox.h"
#include "message/cursor.h"
#include "route/routes.h"

#define EPOCH    "test"
#define CLIENTS  16
#define CHANNELS 6
#define INTERVAL 100

static const char *const names[CHANNELS] = {"all/a", "all/b", "latest/a", "latest/b", "latest/c", "change/a"};

struct client {
    struct gw_session session; /* first member */
    bool used;
    uint64_t position;         /* of its last message, as its cursor says */
    uint64_t from;             /* wants what comes after */
    uint64_t last[CHANNELS];   /* number of the last value it got of each */
    int64_t last_ms[CHANNELS]; /* and when */
    unsigned live[CHANNELS];   /* values since the session began, the first not counted */
};

static struct gw_config *config;
static struct gw_hub *hub;
static struct gw_timers timers;
static struct client clients[CLIENTS];
static uint64_t head, newest[CHANNELS], seed;
static int64_t now;
static double level;

static void on_ready(struct gw_session *session)
{
    (void)session; /* clients drain when the test says so */
}

static void on_kick(struct gw_session *session, enum gw_err why)
{
    (void)session;
    fail_msg("kicked: %s", gw_err_code(why));
}

static const struct gw_session_ops ops = {.ready = on_ready, .kick = on_kick};

static void add_route(const char *topic, enum gw_rate_policy rate, uint32_t history)
{
    struct gw_cfg_route *route = &config->routes[config->route_count++];
    route->topic = strdup(topic);
    route->codec = gw_codec_find("auto");
    route->history_engine = gw_history_find("memory");
    route->history = (struct gw_history_limits){.count = history, .bytes = 1 << 20};
    route->rate = rate;
    route->rate_interval_ms = rate == GW_RATE_LATEST ? INTERVAL : 0;
    route->rate_deadband = 1;
}

static void setup_hub(size_t queue, uint32_t latest_history)
{
    config = calloc(1, sizeof *config);
    atomic_init(&config->refs, 1);
    config->file = strdup("test");
    config->routes = calloc(3, sizeof *config->routes);
    add_route("all/#", GW_RATE_ALL, 100000);
    add_route("latest/#", GW_RATE_LATEST, latest_history);
    add_route("change/#", GW_RATE_ON_CHANGE, 100000);
    config->limits = (struct gw_cfg_limits){.subscriptions = 10,
                                            .queue_bytes = queue,
                                            .channels = 1000,
                                            .history_bytes = 1 << 28,
                                            .publishes_per_session = 4};
    struct gw_routes *routes = gw_routes_build(config);
    gw_timers_init(&timers);
    struct gw_hub_setup setup = {.epoch = EPOCH, .config = config, .routes = routes, .timers = &timers};
    hub = gw_hub_create(&setup);
    now = 1;
    gw_hub_tick(hub, now, now);
    gw_routes_unref(routes);
    head = 0;
    memset(newest, 0, sizeof newest);
    memset(clients, 0, sizeof clients);
}

static void teardown_hub(void)
{
    for (size_t i = 0; i < CLIENTS; i++)
        gw_session_close(&clients[i].session);
    assert_int_equal(hub->pauses.count, 0);
    assert_int_equal(timers.count, 0);
    gw_hub_destroy(hub);
    gw_timers_fini(&timers);
    gw_config_unref(config);
}

/* The number of a message is its payload, so that it is known whatever its cursor says. */
static void send_message(unsigned channel)
{
    char payload[40], watched[40];
    uint64_t seq = ++head;
    snprintf(payload, sizeof payload, "%llu", (unsigned long long)seq);
    struct gw_message_spec spec = {.channel = names[channel],
                                   .channel_len = strlen(names[channel]),
                                   .json = payload,
                                   .json_len = strlen(payload),
                                   .payload = payload,
                                   .payload_len = strlen(payload),
                                   .epoch = EPOCH,
                                   .seq = seq,
                                   .ts = now,
                                   .born_ns = now * 1000000,
                                   .route = channel < 2   ? 0
                                            : channel < 5 ? 1
                                                          : 2};
    struct gw_event event = {.type = GW_EVENT_MESSAGE, .u.message = gw_message_create(&spec)};
    if (spec.route == 2) {
        double value = (double)(check_random(&seed) % 40) / 10;
        snprintf(watched, sizeof watched, "%.1f", value);
        event.u.message->watched = (struct gw_slice){"", 1};
        event.u.message->number = value;
        event.u.message->is_number = true;
        if (!newest[channel] || value - level > 1 || level - value > 1) {
            newest[channel] = seq;
            level = value;
        }
    } else {
        newest[channel] = seq;
    }
    gw_hub_handle(hub, &event);
    gw_hub_flush(hub);
}

static void advance(int64_t ms)
{
    now += ms;
    gw_hub_tick(hub, now, now);
    gw_timers_run(&timers, now);
    gw_hub_flush(hub);
}

static void client_drain(struct client *client, unsigned most)
{
    struct gw_item item;
    while (most-- && gw_session_next(&client->session, &item)) {
        assert_int_equal(item.type, GW_ITEM_MESSAGE); /* histories are long enough where they count */
        struct gw_slice text = gw_message_cursor(item.u.message);
        struct gw_cursor cursor;
        assert_true(gw_cursor_parse(&cursor, text.data, text.len));
        uint64_t number = strtoull(item.u.message->data.data, NULL, 10);
        unsigned channel = 0;
        while (strcmp(names[channel], item.u.message->channel.data) != 0)
            channel++;
        if (number == client->last[channel])
            assert_true(channel >= 2 && channel < 5 && client->live[channel] == 0); /* again, after resuming */
        else
            assert_true(number > client->last[channel]);
        assert_true(cursor.seq >= number);
        if (number > client->from) /* values of before come first, in their own order */
            assert_true(cursor.seq >= client->position);
        client->live[channel]++;
        client->last[channel] = number;
        if (cursor.seq > client->position)
            client->position = cursor.seq;
        gw_item_release(&item);
    }
}

static void client_open(struct client *client, bool resume)
{
    gw_session_open(&client->session, hub, &ops);
    memset(client->live, 0, sizeof client->live);
    char cursor[64];
    gw_hub_format_cursor(hub, client->position, cursor);
    struct gw_start start = {
        .at = resume ? GW_START_CURSOR : GW_START_LAST, .cursor = cursor, .cursor_len = strlen(cursor)};
    if (!resume)
        memset(client->last, 0, sizeof client->last);
    client->from = resume ? client->position : head;
    client->used = true;
    struct gw_subscribed out;
    assert_int_equal(gw_session_subscribe(&client->session, "#", 1, &start, &out), GW_OK);
    gw_session_catch_up(&client->session);
}

/* After enough time nothing is held, and the client has the last value of everything. */
static void client_check(struct client *client)
{
    for (int turn = 0; turn < 2; turn++) {
        client_drain(client, UINT32_MAX);
        while (client->session.lagging) { /* it has used up its part of the turn */
            gw_hub_flush(hub);
            client_drain(client, UINT32_MAX);
        }
        if (!turn)
            advance(INTERVAL);
    }
    for (unsigned c = 0; c < CHANNELS; c++) {
        if (client->last[c] != newest[c])
            fail_msg("%s: has %u, the last is %u", names[c], (unsigned)client->last[c], (unsigned)newest[c]);
    }
}

static void test_model(void **state)
{
    (void)state;
    static const struct {
        size_t queue;
        uint32_t history;
    } rows[] = {{1 << 20, 100}, {2000, 100}, {400, 3}, {1 << 20, 0}};
    for (size_t row = 0; row < COUNT(rows); row++) {
        seed = 7 + row;
        setup_hub(rows[row].queue, rows[row].history);
        for (unsigned step = 0; step < 60000; step++) {
            struct client *client = &clients[check_random(&seed) % CLIENTS];
            switch (check_random(&seed) % 24) {
            case 0:
                if (!client->used) {
                    client_open(client, false);
                } else if (check_random(&seed) % 2) { /* gone, with what was held and queued; comes back later */
                    client_drain(client, check_random(&seed) % 8);
                    bool painted = client->position >= client->from; /* its position counts only then */
                    gw_session_close(&client->session);
                    if (check_random(&seed) % 2)
                        advance(check_random(&seed) % 300);
                    client_open(client, painted);
                } else {
                    client_check(client);
                }
                break;
            case 1:
            case 2:
            case 3:
                if (client->used)
                    client_drain(client, check_random(&seed) % 30);
                break;
            case 4:
                advance(check_random(&seed) % 60);
                break;
            default:
                send_message(check_random(&seed) % CHANNELS);
            }
        }
        for (size_t i = 0; i < CLIENTS; i++) {
            if (clients[i].used)
                client_check(&clients[i]);
        }
        assert_true(hub->stats.conflated > 1000);
        assert_true(hub->stats.unchanged > 1000);
        teardown_hub();
    }
}

/* Nothing faster than the interval: one value at once, one at each end of a pause. */
static void test_pace(void **state)
{
    (void)state;
    setup_hub(1 << 20, 100);
    struct client *client = &clients[0];
    client_open(client, false);
    unsigned got = 0;
    for (unsigned ms = 0; ms < 1000; ms++) {
        send_message(2);
        advance(1);
        struct gw_item item;
        while (gw_session_next(&client->session, &item)) {
            got++;
            gw_item_release(&item);
        }
    }
    assert_in_range(got, 10, 11);
    teardown_hub();
}

/* A session may have so many pauses that they take as much memory as its queue; then values come unpaced, none is
 * lost. */
static void test_pauses_are_bounded(void **state)
{
    (void)state;
    setup_hub(400, 100);
    struct client *client = &clients[0];
    client_open(client, false);
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned c = 2; c < 5; c++)
            send_message(c);
        assert_true(client->session.pause_count <= 4);
        client_drain(client, UINT32_MAX);
    }
    client_check(client);
    teardown_hub();
}

static void test_settled_cursors(void **state)
{
    (void)state;
    char text[64];
    struct gw_cursor cursor;
    assert_int_equal(gw_cursor_format_settled(text, "ep", 17), 6);
    assert_string_equal(text, "ep.017");
    assert_true(gw_cursor_parse(&cursor, text, 6) && cursor.settled && cursor.seq == 17);
    gw_cursor_format_settled(text, "ep", 0);
    assert_string_equal(text, "ep.00");
    assert_true(gw_cursor_parse(&cursor, text, 5) && cursor.settled && cursor.seq == 0);
    assert_true(gw_cursor_parse(&cursor, "ep.0", 4) && !cursor.settled);
    assert_true(gw_cursor_parse(&cursor, "ep.10", 5) && !cursor.settled);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_pace),
        cmocka_unit_test(test_pauses_are_bounded),
        cmocka_unit_test(test_settled_cursors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
