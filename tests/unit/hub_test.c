/* The way of a message from its topic to the sessions, against a model: whatever clients, queues, histories and the
 * engine do, every message that a session wants arrives once and in order, or lies in a gap that it was told. */
#include "check.h"
#include "gateway/hub.h"
#include "gateway/topic.h"
#include "hub/session/fetch.h"
#include "hub_world.h"
#include "message/cursor.h"

static bool client_wants(const struct client *client, uint64_t seq)
{
    const char *name = channel_names[channel_of[seq]];
    bool wanted = false;
    for (unsigned i = 0; i < client->filter_count; i++)
        wanted |= gw_topic_matches(client->filters[i], strlen(client->filters[i]), name, strlen(name));
    return wanted && seq > client->from;
}

/* Takes up to `most` items and checks each. */
static void client_drain(struct client *client, unsigned most)
{
    struct gw_item item;
    while (most-- && gw_session_next(&client->session, &item)) {
        if (item.type == GW_ITEM_GAP) {
            struct gw_cursor from, to;
            const char *name = item.u.gap->channel;
            assert_true(gw_cursor_parse(&from, item.u.gap->from, strlen(item.u.gap->from)));
            assert_true(gw_cursor_parse(&to, item.u.gap->to, strlen(item.u.gap->to)));
            assert_true(to.seq > from.seq);
            unsigned channel = channel_index(name);
            /* Of what the engine lost nobody knows the channel: whatever else is there may come all the same. */
            bool engine = from.seq < lost_to;
            /* Told once: the next gap of a channel begins where the last one ended, or later. */
            if (channel < CHANNELS)
                assert_true(from.seq >= client->gap_to[channel]);
            else
                assert_true(engine); /* a filter's */
            for (uint64_t seq = from.seq + 1; seq <= to.seq; seq++) {
                const char *own = channel_names[channel_of[seq]];
                if (!client_wants(client, seq) || !gw_topic_matches(name, strlen(name), own, strlen(own)))
                    continue;
                assert_true(engine || !client->got[seq]);
                client->got[seq] |= !engine;
                client->excused[seq] = true;
            }
            if (channel < CHANNELS)
                client->gap_to[channel] = to.seq;
            client->gaps++;
        } else {
            uint64_t seq = item.u.message->seq;
            assert_true(seq > client->last); /* in the order of the sequence, and never twice */
            assert_true(client_wants(client, seq));
            assert_false(client->got[seq]);
            client->got[seq] = true;
            client->last = seq;
            client->received++;
        }
        gw_session_release(&client->session, &item);
    }
}

static void client_open(struct client *client)
{
    static const char *const filters[] = {"#", "a/#", "a/+/c", "a", "a/b/c", "d/+", "+", "$s", "+/+", "d/#"};
    memset(client, 0, sizeof *client);
    client->used = true;
    gw_session_open(&client->session, hub, &ops);
    client->filter_count = 1 + check_random(&seed) % 3;
    client->from = head - (head ? check_random(&seed) % (head < 60 ? head : 60) : 0);
    if (check_random(&seed) % 8 == 0)
        client->from = head + check_random(&seed) % 5; /* ahead, as from another worker */
    char cursor[64];
    gw_hub_format_cursor(hub, client->from, cursor);
    struct gw_start start = {.at = GW_START_CURSOR, .cursor = cursor, .cursor_len = strlen(cursor)};
    for (unsigned i = 0; i < client->filter_count; i++) {
        struct gw_subscribed subscribed;
        client->filters[i] = filters[check_random(&seed) % COUNT(filters)];
        assert_int_equal(gw_session_subscribe(&client->session, client->filters[i], strlen(client->filters[i]),
                                              &start, &subscribed),
                         GW_OK);
    }
    gw_session_catch_up(&client->session);
    /* What a client reads from its session's cursor after a reconnect must begin no later than here. */
}

static void client_finish(struct client *client)
{
    client_drain(client, UINT32_MAX);
    while (client->session.lagging) { /* it has used up its part of the turn */
        toy_work(check_random(&seed) % 2);
        client_drain(client, UINT32_MAX);
    }
    for (uint64_t seq = 1; seq <= head; seq++) {
        if (client_wants(client, seq) && !client->got[seq] && !client->excused[seq])
            fail_msg("message %u on '%s' was lost without a word", (unsigned)seq, channel_names[channel_of[seq]]);
    }
    char text[64];
    struct gw_cursor cursor;
    gw_session_cursor(&client->session, false, text);
    assert_true(gw_cursor_parse(&cursor, text, strlen(text)));
    assert_true(cursor.seq == (client->from > head ? client->from : head));
    gw_session_close(&client->session);
    client->used = false;
}

static void model(uint32_t history, size_t queue, unsigned engine, unsigned *gaps, unsigned *received)
{
    setup_hub(history, queue, 1000);
    store.does = engine;
    gw_fetches_init(hub, engine & KEEPS ? &toy_that_keeps : &toy, &store);
    while (store.seq < MESSAGES) {
        struct client *client = &clients[check_random(&seed) % SESSIONS];
        if (engine & KEEPS && check_random(&seed) % 4 == 0)
            toy_work(false);
        switch (check_random(&seed) % 8) {
        case 0:
            if (client->used && engine & KEEPS && check_random(&seed) % 4 == 0) {
                gw_session_close(&client->session); /* whatever it waits for */
                client->used = false;
            } else if (client->used) {
                client_finish(client);
                *gaps += client->gaps;
                *received += client->received;
            } else {
                client_open(client);
            }
            break;
        case 1:
        case 2:
            if (client->used)
                client_drain(client, check_random(&seed) % 30);
            break;
        default:
            send_message(check_random(&seed) % CHANNELS,
                         check_random(&seed) % 5 ? "\"0123456789\"" : "{\"x\":[1,2,3]}", false);
        }
    }
    toy_tell(store.count);
    take_inbox(true);
    assert_true(head == MESSAGES);
    for (size_t i = 0; i < SESSIONS; i++) {
        if (clients[i].used)
            client_finish(&clients[i]);
    }
    teardown_hub();
}

static void test_model(void **state)
{
    (void)state;
    static const struct {
        uint32_t history;
        size_t queue;
        unsigned engine;
        unsigned gaps; /* at least: the test must meet some; 0: none may come */
    } rows[] = {
        {0, 1000, 0, 100},
        {3, 1000, 0, 100},
        {6, 500, 0, 20},
        {6, 100000, 0, 20},
        {1000, 300, 0, 0},
        {6, 500, DELAYS, 20},
        {1000, 300, DELAYS | REFUSES, 0},
        {1000, 300, LOSES, 100},
        {1000, 100000, DELAYS | LOSES, 100},
        {3, 1000, DELAYS | REFUSES | LOSES, 200},
        {3, 1000, KEEPS, 0},
        {0, 500, DELAYS | KEEPS, 0},
        {6, 100000, DELAYS | REFUSES | KEEPS, 0},
        {3, 1000, DELAYS | REFUSES | LOSES | KEEPS, 200},
        {3, 500, REFUSES | KEEPS | KEEPS_BADLY, 100},
        {0, 1000, DELAYS | LOSES | KEEPS | KEEPS_BADLY, 200},
    };
    seed = 20261124;
    for (size_t i = 0; i < COUNT(rows); i++) {
        unsigned gaps = 0, received = 0;
        refusals = answers = silences = 0;
        model(rows[i].history, rows[i].queue, rows[i].engine, &gaps, &received);
        assert_true(received > 1000);
        assert_true(refusals > 100 || !(rows[i].engine & REFUSES));
        assert_true(answers > 100 || !(rows[i].engine & KEEPS));
        assert_true(silences > 10 || !(rows[i].engine & KEEPS_BADLY));
        if (rows[i].gaps)
            assert_true(gaps >= rows[i].gaps);
        else
            assert_int_equal(gaps, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
