/* What the hub does in single cases, message by message. */
#include "check.h"
#include "gateway/hub.h"
#include "hub/inbox.h"
#include "hub/session/giveback.h"
#include "hub_world.h"
#include "route/routes.h"

static unsigned subscribe(struct client *client, const char *filter, enum gw_start_at at, const char *cursor,
                          struct gw_subscribed *out)
{
    struct gw_start start = {.at = at, .cursor = cursor, .cursor_len = cursor ? strlen(cursor) : 0};
    return gw_session_subscribe(&client->session, filter, strlen(filter), &start, out);
}

static void test_snapshot(void **state)
{
    (void)state;
    setup_hub(10, 100000, 1000);
    for (unsigned i = 0; i < 5; i++) {
        for (unsigned c = 0; c < 3; c++)
            send_message(c, "1", false);
    }
    struct client *client = &clients[0];
    gw_session_open(&client->session, hub, &ops);
    struct gw_subscribed out;
    assert_int_equal(subscribe(client, "a/#", GW_START_LAST, NULL, &out), GW_OK);
    assert_int_equal(out.snapshot, 3);
    assert_false(out.recovered);
    assert_string_equal(out.cursor, EPOCH ".15");
    gw_session_catch_up(&client->session);
    struct gw_item item;
    for (uint64_t seq = 13; seq <= 15; seq++) {
        assert_true(gw_session_next(&client->session, &item));
        assert_int_equal(item.u.message->seq, seq);
        gw_item_release(&item);
    }
    assert_false(gw_session_next(&client->session, &item));
    /* Another filter that overlaps brings nothing twice; the same one again brings its last values again. */
    assert_int_equal(subscribe(client, "a/+", GW_START_LAST, NULL, &out), GW_OK);
    assert_int_equal(out.snapshot, 0);
    gw_session_catch_up(&client->session);
    assert_false(gw_session_next(&client->session, &item));
    assert_true(gw_session_unsubscribe(&client->session, "a/+", 3));
    assert_int_equal(subscribe(client, "a/#", GW_START_LAST, NULL, &out), GW_OK);
    assert_int_equal(out.snapshot, 3);
    gw_session_catch_up(&client->session);
    for (int i = 0; i < 3; i++) {
        assert_true(gw_session_next(&client->session, &item));
        gw_item_release(&item);
    }
    assert_false(gw_session_next(&client->session, &item));
    teardown_hub();
}

/* A subscription that resumed from after the last value has not brought it. */
static void test_snapshot_beside_a_resumed_filter(void **state)
{
    (void)state;
    setup_hub(10, 100000, 1000);
    send_message(0, "1", false);
    struct client *client = &clients[0];
    gw_session_open(&client->session, hub, &ops);
    struct gw_subscribed out;
    assert_int_equal(subscribe(client, "a/#", GW_START_CURSOR, EPOCH ".1", &out), GW_OK);
    gw_session_catch_up(&client->session);
    struct gw_item item;
    assert_false(gw_session_next(&client->session, &item));
    assert_int_equal(subscribe(client, "a", GW_START_LAST, NULL, &out), GW_OK);
    assert_int_equal(out.snapshot, 1);
    gw_session_catch_up(&client->session);
    assert_true(gw_session_next(&client->session, &item));
    gw_item_release(&item);
    assert_false(gw_session_next(&client->session, &item));
    teardown_hub();
}

static void test_snapshot_larger_than_the_queue(void **state)
{
    (void)state;
    setup_hub(10, 150, 1000); /* room for about one message */
    for (unsigned i = 0; i < 4; i++) {
        for (unsigned c = 0; c < 6; c++)
            send_message(c, "1", false);
    }
    struct client *client = &clients[0];
    gw_session_open(&client->session, hub, &ops);
    struct gw_subscribed out;
    assert_int_equal(subscribe(client, "#", GW_START_LAST, NULL, &out), GW_OK);
    assert_int_equal(out.snapshot, 6);
    gw_session_catch_up(&client->session);
    struct gw_item item;
    for (uint64_t seq = 19; seq <= 24; seq++) { /* last values only, none of the history before them */
        assert_true(gw_session_next(&client->session, &item));
        assert_int_equal(item.type, GW_ITEM_MESSAGE);
        assert_int_equal(item.u.message->seq, seq);
        gw_item_release(&item);
    }
    assert_false(gw_session_next(&client->session, &item));
    assert_false(client->session.lagging);
    teardown_hub();
}

static void test_repeats_and_clears(void **state)
{
    (void)state;
    setup_hub(10, 100000, 1000);
    send_message(0, "1", true);
    send_message(0, "1", true); /* the broker sends it again: no news */
    assert_int_equal(gw_hub_last(hub, NULL, "a", 1)->seq, 1);
    send_message(0, "1", false); /* the device says it again: news */
    assert_int_equal(gw_hub_last(hub, NULL, "a", 1)->seq, 3);
    send_message(0, "2", true);
    assert_int_equal(gw_hub_last(hub, NULL, "a", 1)->seq, 4);
    teardown_hub();
}

static void test_refusals(void **state)
{
    (void)state;
    setup_hub(10, 100000, 1000);
    struct client *client = &clients[0];
    struct gw_subscribed out;
    gw_session_open(&client->session, hub, &ops);
    assert_int_equal(subscribe(client, "a/#/b", GW_START_LAST, NULL, &out), GW_ERR_BAD_REQUEST);
    assert_int_equal(subscribe(client, "a", GW_START_CURSOR, "x", &out), GW_ERR_BAD_REQUEST);
    assert_int_equal(subscribe(client, "$other", GW_START_LAST, NULL, &out), GW_ERR_UNKNOWN_CHANNEL);
    assert_int_equal(client->session.sub_count, 0);
    for (char name[2] = "a"; name[0] < 'a' + 10; name[0]++)
        assert_int_equal(subscribe(client, name, GW_START_LAST, NULL, &out), GW_OK);
    assert_int_equal(subscribe(client, "z", GW_START_LAST, NULL, &out), GW_ERR_LIMIT);
    assert_false(gw_session_unsubscribe(&client->session, "z", 1));
    assert_true(gw_session_unsubscribe(&client->session, "b", 1));
    assert_int_equal(subscribe(client, "z", GW_START_LAST, NULL, &out), GW_OK);
    teardown_hub();
}

static void test_control_flood_is_bounded(void **state)
{
    (void)state;
    setup_hub(10, 1000, 1000);
    struct client *client = &clients[0];
    gw_session_open(&client->session, hub, &ops);
    for (int i = 0; i < 100 && !client->kicked; i++) {
        struct gw_buf text = {0};
        gw_buf_printf(&text, "%0100d", i);
        gw_session_push(&client->session, &text);
    }
    assert_true(client->kicked);
    assert_int_equal(client->session.queued_bytes, 0);
    teardown_hub();
}

static unsigned refs_of(const struct gw_message *msg)
{
    return atomic_load(&msg->refs);
}

/* Every session's reference is a real one until the end of the turn in which it was given back, and no longer. */
static void test_references(void **state)
{
    (void)state;
    enum { READERS = 5 };
    setup_hub(4, 100000, 1000);
    struct gw_subscribed out;
    for (unsigned i = 0; i < READERS; i++) {
        gw_session_open(&clients[i].session, hub, &ops);
        assert_int_equal(subscribe(&clients[i], "#", GW_START_LAST, NULL, &out), GW_OK);
        gw_session_catch_up(&clients[i].session);
    }
    send_message(0, "1", false);
    struct gw_message *first = gw_message_ref(gw_channel_find(hub, "a", 1, gw_hash("a", 1))->last);
    store.seq += GW_GIVEBACK_SLOTS - 1; /* so that the next one has the same slot */
    send_message(1, "2", false);
    struct gw_message *second = gw_message_ref(gw_channel_find(hub, "a/b", 3, gw_hash("a/b", 3))->last);
    assert_int_equal(second->seq - first->seq, GW_GIVEBACK_SLOTS);
    const unsigned kept = 2; /* ours, the last value, which is all of the history too */
    assert_int_equal(refs_of(first), READERS + kept);
    assert_int_equal(refs_of(second), READERS + kept);

    struct gw_item item;
    for (unsigned i = 0; i + 1 < READERS; i++) {
        for (unsigned j = 0; j < 2; j++) {
            assert_true(gw_session_next(&clients[i].session, &item));
            assert_ptr_equal(item.u.message, j ? second : first);
            gw_session_release(&clients[i].session, &item);
        }
    }
    assert_int_equal(refs_of(second), 2 + kept); /* the last one waits for the turn's end */
    gw_hub_flush(hub);
    assert_int_equal(refs_of(first), 1 + kept); /* of the reader that has not taken it yet */
    assert_int_equal(refs_of(second), 1 + kept);
    gw_session_close(&clients[READERS - 1].session);
    assert_int_equal(refs_of(first), kept);
    assert_int_equal(refs_of(second), kept);
    teardown_hub();
    assert_int_equal(refs_of(first), 1);
    gw_message_unref(first);
    gw_message_unref(second);
}

static void take_in(const char *channel, uint64_t seq)
{
    const struct gw_message_spec spec = {.channel = channel,
                                         .channel_len = strlen(channel),
                                         .json = "2",
                                         .json_len = 1,
                                         .payload = "2",
                                         .payload_len = 1,
                                         .epoch = EPOCH,
                                         .seq = seq,
                                         .route = GW_ROUTE_BY_NAME};
    store.sink.message(store.sink.context, &spec);
    take_inbox(true);
}

/* Messages of another node have no place in this one's table of routes. */
static void test_routes_by_name(void **state)
{
    (void)state;
    setup_hub(5, 100000, 1000);
    take_in("$s", 1);
    take_in("a/b", 2);
    take_in("$other", 3); /* no route of ours makes it */
    assert_int_equal(gw_channel_find(hub, "$s", 2, gw_hash("$s", 2))->route, 1);
    assert_int_equal(gw_channel_find(hub, "a/b", 3, gw_hash("a/b", 3))->route, 0);
    assert_null(gw_channel_find(hub, "$other", 6, gw_hash("$other", 6)));
    char cursor[64];
    gw_hub_cursor(hub, cursor);
    assert_string_equal(cursor, EPOCH ".3");

    /* A reload takes the route of a/b away, and moves the one of $s. */
    struct gw_config *next = make_config(5, 100000, 1000);
    free(next->routes[0].topic);
    next->routes[0].topic = strdup("$s");
    next->routes[0].history.count = 1;
    free(next->routes[1].topic);
    next->routes[1].topic = strdup("x/#");
    struct gw_routes *table = gw_routes_build(next);
    struct gw_event event = {.type = GW_EVENT_RELOAD, .u.reload = {table, next, NULL}};
    gw_hub_handle(hub, &event);
    take_in("$s", 4);
    take_in("a/b", 5);
    take_in("x/y", 6);
    const struct gw_channel *moved = gw_channel_find(hub, "$s", 2, gw_hash("$s", 2));
    assert_int_equal(moved->route, 0);
    assert_int_equal(moved->engine->count(moved->history), 1); /* the new policy holds */
    assert_int_equal(gw_hub_last(hub, NULL, "a/b", 3)->seq, 2);
    assert_int_equal(gw_hub_last(hub, NULL, "x/y", 3)->seq, 6);
    teardown_hub();
}

/* Numbers begin anew: whoever subscribes is ended, and comes back with a cursor that is of another epoch. */
static void test_new_epoch(void **state)
{
    (void)state;
    setup_hub(10, 100000, 1000);
    for (unsigned i = 0; i < 3; i++)
        send_message(0, "1", false);
    struct client *subscriber = &clients[0], *other = &clients[1], *again = &clients[2];
    struct gw_subscribed out;
    gw_session_open(&subscriber->session, hub, &ops);
    gw_session_open(&other->session, hub, &ops);
    assert_int_equal(subscribe(subscriber, "a", GW_START_NOW, NULL, &out), GW_OK);
    store.sink.epoch(store.sink.context, "second");
    take_inbox(true);
    assert_true(subscriber->kicked);
    assert_false(other->kicked);
    assert_null(gw_hub_last(hub, NULL, "a", 1));
    char cursor[64];
    gw_hub_cursor(hub, cursor);
    assert_string_equal(cursor, "second.0");

    struct gw_message_spec spec = {.channel = "a",
                                   .channel_len = 1,
                                   .json = "2",
                                   .json_len = 1,
                                   .payload = "2",
                                   .payload_len = 1,
                                   .epoch = "second",
                                   .seq = 1};
    store.sink.message(store.sink.context, &spec);
    take_inbox(true);
    assert_int_equal(subscribe(other, "a", GW_START_LAST, NULL, &out), GW_OK);
    gw_session_catch_up(&other->session);
    struct gw_item item;
    assert_true(gw_session_next(&other->session, &item));
    assert_int_equal(item.type, GW_ITEM_MESSAGE);
    gw_item_release(&item);

    gw_session_open(&again->session, hub, &ops);
    assert_int_equal(subscribe(again, "a", GW_START_CURSOR, EPOCH ".3", &out), GW_OK);
    assert_false(out.recovered);
    gw_session_catch_up(&again->session);
    assert_true(gw_session_next(&again->session, &item));
    assert_int_equal(item.type, GW_ITEM_GAP);
    assert_string_equal(item.u.gap->reason, "epoch");
    gw_item_release(&item);
    assert_true(gw_session_next(&again->session, &item));
    assert_int_equal(item.type, GW_ITEM_MESSAGE);
    assert_int_equal(item.u.message->seq, 1);
    gw_item_release(&item);
    teardown_hub();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_snapshot),
        cmocka_unit_test(test_snapshot_beside_a_resumed_filter),
        cmocka_unit_test(test_snapshot_larger_than_the_queue),
        cmocka_unit_test(test_repeats_and_clears),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_control_flood_is_bounded),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_routes_by_name),
        cmocka_unit_test(test_new_epoch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
