/* Sessions with grants: what gets in, what is delivered, what a change of identity does to what waits. */
#include "check.h"
#include "gateway/auth.h"
#include "gateway/bucket.h"
#include "gateway/codec.h"
#include "gateway/hub.h"
#include "hub/hub_private.h"
#include "hub/inbox.h"
#include "route/routes.h"

#define EPOCH "test"

struct client {
    struct gw_session session; /* first member */
    char revoked[64];
    enum gw_err kicked;
    int64_t expiring;
};

static struct gw_config *config;
static struct gw_hub *hub;
static struct gw_timers timers;
static uint64_t head;

static void on_ready(struct gw_session *session)
{
    (void)session;
}

static void on_kick(struct gw_session *session, enum gw_err why)
{
    ((struct client *)session)->kicked = why;
}

static void on_revoked(struct gw_session *session, const char *filter, size_t len)
{
    snprintf(((struct client *)session)->revoked, 64, "%.*s", (int)len, filter);
}

static void on_expiring(struct gw_session *session, int64_t expires_ms)
{
    ((struct client *)session)->expiring = expires_ms;
}

static const struct gw_session_ops ops = {
    .ready = on_ready, .kick = on_kick, .revoked = on_revoked, .expiring = on_expiring};
static const struct gw_session_ops mute_ops = {.ready = on_ready, .kick = on_kick};

static int setup(void **state)
{
    (void)state;
    config = calloc(1, sizeof *config);
    atomic_init(&config->refs, 1);
    config->file = strdup("test");
    config->route_count = 2;
    config->routes = calloc(2, sizeof *config->routes);
    for (int i = 0; i < 2; i++) {
        config->routes[i].topic = strdup(i ? "slow/#" : "#");
        config->routes[i].codec = gw_codec_find("auto");
        config->routes[i].history_engine = gw_history_find("memory");
        config->routes[i].history = (struct gw_history_limits){.count = 100, .bytes = 1 << 20};
    }
    config->routes[1].rate = GW_RATE_LATEST;
    config->routes[1].rate_interval_ms = 1000;
    config->limits = (struct gw_cfg_limits){.subscriptions = 10,
                                            .queue_bytes = 1 << 20,
                                            .channels = 100,
                                            .history_bytes = 1 << 24,
                                            .publishes_per_session = 4};
    config->auth.expiry_warning_ms = 5000;
    struct gw_routes *routes = gw_routes_build(config);
    gw_timers_init(&timers);
    struct gw_hub_setup setup = {.epoch = EPOCH, .config = config, .routes = routes, .timers = &timers};
    hub = gw_hub_create(&setup);
    gw_hub_tick(hub, 1000, 1000000);
    gw_routes_unref(routes);
    head = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gw_hub_destroy(hub);
    gw_timers_fini(&timers);
    gw_config_unref(config);
    return 0;
}

static void tick(int64_t ms)
{
    gw_hub_tick(hub, hub->now_ms + ms, hub->wall_ms + ms);
    gw_timers_run(&timers, hub->now_ms);
}

static void send_message(const char *name, const char *json)
{
    struct gw_message_spec spec = {.channel = name,
                                   .channel_len = strlen(name),
                                   .json = json,
                                   .json_len = strlen(json),
                                   .payload = json,
                                   .payload_len = strlen(json),
                                   .epoch = EPOCH,
                                   .seq = ++head,
                                   .ts = 1,
                                   .route = !strncmp(name, "slow/", 5)};
    struct gw_event event = {.type = GW_EVENT_MESSAGE, .u.message = gw_message_create(&spec)};
    gw_hub_handle(hub, &event);
    gw_hub_flush(hub);
}

/* filters: those that may be subscribed to; `history` the same unless given; fields: NULL or one name. */
static struct gw_identity *identity(const char *const *filters, const char *history, char *field, int64_t expires_ms)
{
    struct gw_grants *grants = gw_grants_create();
    const struct gw_strings fields = {&field, field ? 1 : 0};
    struct gw_projection *projection = gw_projection_create(&fields);
    for (size_t i = 0; filters[i]; i++) {
        gw_grants_add(grants, GW_RIGHT_SUBSCRIBE, filters[i], strlen(filters[i]), projection);
        if (!history)
            gw_grants_add(grants, GW_RIGHT_HISTORY, filters[i], strlen(filters[i]), projection);
    }
    if (history)
        gw_grants_add(grants, GW_RIGHT_HISTORY, history, strlen(history), projection);
    struct gw_identity *made = gw_identity_create(GW_TOKEN, "me", NULL, expires_ms, grants);
    gw_grants_unref(grants);
    gw_projection_unref(projection);
    return made;
}

#define FILTERS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void become(struct client *client, struct gw_identity *who)
{
    assert_true(gw_session_identify(&client->session, who));
    gw_identity_unref(who);
}

static void open_client(struct client *client, const struct gw_session_ops *with, struct gw_identity *who)
{
    memset(client, 0, sizeof *client);
    gw_session_open(&client->session, hub, with);
    become(client, who);
}

static enum gw_err subscribe(struct client *client, const char *filter, const char *cursor, struct gw_subscribed *out)
{
    struct gw_start start = {
        .at = cursor ? GW_START_CURSOR : GW_START_LAST, .cursor = cursor, .cursor_len = cursor ? strlen(cursor) : 0};
    enum gw_err err = gw_session_subscribe(&client->session, filter, strlen(filter), &start, out);
    if (err == GW_OK)
        gw_session_catch_up(&client->session);
    return err;
}

/* What waits, as text: `channel=data` with blanks between, `gap(reason)` for gaps. */
static const char *waiting(struct client *client)
{
    static char text[1024];
    struct gw_item item;
    size_t len = 0;
    text[0] = '\0';
    while (gw_session_next(&client->session, &item)) {
        if (item.type == GW_ITEM_MESSAGE)
            len += (size_t)snprintf(text + len, sizeof text - len, "%s%s=%.*s", len ? " " : "",
                                    item.u.message->channel.data, (int)item.u.message->data.len,
                                    item.u.message->data.data);
        else if (item.type == GW_ITEM_GAP)
            len += (size_t)snprintf(text + len, sizeof text - len, "%sgap(%s)", len ? " " : "", item.u.gap->reason);
        gw_item_release(&item);
    }
    return text;
}

static void test_only_what_is_contained(void **state)
{
    (void)state;
    struct client client;
    struct gw_subscribed subscribed;
    open_client(&client, &ops, identity(FILTERS("rooms/+/t", "hall/#"), NULL, NULL, INT64_MAX));
    assert_int_equal(subscribe(&client, "rooms/+/t", NULL, &subscribed), GW_OK);
    assert_int_equal(subscribe(&client, "rooms/k/t", NULL, &subscribed), GW_OK);
    assert_int_equal(subscribe(&client, "hall/+/x", NULL, &subscribed), GW_OK);
    static const char *const beyond[] = {"#",         "+/#",     "+",      "rooms/#", "rooms/+/+",
                                         "rooms/k/h", "rooms/+", "$SYS/#", "hall2",   "no/such/route"};
    for (size_t i = 0; i < COUNT(beyond); i++)
        CHECK_ROW(subscribe(&client, beyond[i], NULL, &subscribed) == GW_ERR_FORBIDDEN, beyond[i]);
    assert_int_equal(subscribe(&client, "a/#/b", NULL, &subscribed), GW_ERR_BAD_REQUEST);
    send_message("rooms/k/t", "1");
    send_message("rooms/k/h", "2");
    send_message("hall", "3");
    send_message("hall/a/x", "4");
    assert_string_equal(waiting(&client), "rooms/k/t=1 hall/a/x=4");
    gw_session_close(&client.session);
}

/* Even with a subscription that reaches further than the grants, nothing beyond them is delivered. */
static void test_checked_at_delivery(void **state)
{
    (void)state;
    struct client client;
    struct gw_subscribed subscribed;
    open_client(&client, &ops, identity(FILTERS("#"), NULL, NULL, INT64_MAX));
    assert_int_equal(subscribe(&client, "#", NULL, &subscribed), GW_OK);
    struct gw_identity *narrow = identity(FILTERS("a/#"), NULL, NULL, INT64_MAX);
    client.session.grants = narrow->grants; /* behind the back of gw_session_identify() */
    send_message("a/b", "1");
    send_message("b", "2");
    assert_string_equal(waiting(&client), "a/b=1");
    assert_int_equal(subscribe(&client, "a/#", NULL, &subscribed), GW_OK);
    assert_string_equal(waiting(&client), ""); /* `#` has brought it */
    gw_session_close(&client.session);
    gw_identity_unref(narrow);
}

static void test_identity_changes(void **state)
{
    (void)state;
    struct client client, poll;
    struct gw_subscribed subscribed;
    open_client(&client, &ops, identity(FILTERS("a/#", "b/#", "slow/#"), NULL, NULL, INT64_MAX));
    open_client(&poll, &mute_ops, identity(FILTERS("b/#"), NULL, NULL, INT64_MAX));
    assert_int_equal(subscribe(&client, "a/#", NULL, &subscribed), GW_OK);
    assert_int_equal(subscribe(&client, "b/#", NULL, &subscribed), GW_OK);
    assert_int_equal(subscribe(&client, "slow/x", NULL, &subscribed), GW_OK);
    assert_int_equal(subscribe(&poll, "b/1", NULL, &subscribed), GW_OK);
    send_message("a/1", "{\"t\":1,\"x\":1}");
    send_message("b/1", "2");
    send_message("slow/x", "3");
    send_message("slow/x", "4"); /* held back */
    /* b and slow are lost, and of a it sees only t from now on: that holds for what waits as well. */
    become(&client, identity(FILTERS("a/#", "c/#"), NULL, "t", INT64_MAX));
    assert_string_equal(client.revoked, "slow/x");
    assert_int_equal(client.session.sub_count, 1);
    send_message("a/2", "{\"x\":1,\"t\":5}");
    send_message("b/1", "6");
    assert_string_equal(waiting(&client), "a/1={\"t\":1} a/2={\"t\":5}");
    tick(2000);
    assert_string_equal(waiting(&client), "");
    assert_int_equal(client.kicked, GW_OK);
    /* One that can't be told is ended. */
    struct gw_identity *nobody = identity(FILTERS("x"), NULL, NULL, INT64_MAX);
    assert_false(gw_session_identify(&poll.session, nobody));
    gw_identity_unref(nobody);
    assert_int_equal(poll.kicked, GW_ERR_FORBIDDEN);
    gw_session_close(&client.session);
    gw_session_close(&poll.session);
}

static void test_projections_everywhere(void **state)
{
    (void)state;
    struct client all, some, late, paced;
    struct gw_subscribed subscribed;
    open_client(&all, &ops, identity(FILTERS("#"), NULL, NULL, INT64_MAX));
    open_client(&some, &ops, identity(FILTERS("#"), NULL, "t", INT64_MAX));
    assert_int_equal(subscribe(&all, "#", NULL, &subscribed), GW_OK);
    assert_int_equal(subscribe(&some, "#", NULL, &subscribed), GW_OK);
    send_message("a", "{\"t\":1,\"key\":\"secret\"}");
    send_message("a", "{\"t\":2,\"key\":\"secret\"}");
    send_message("b", "21.5");
    assert_string_equal(waiting(&all), "a={\"t\":1,\"key\":\"secret\"} a={\"t\":2,\"key\":\"secret\"} b=21.5");
    assert_string_equal(waiting(&some), "a={\"t\":1} a={\"t\":2} b=null");
    open_client(&late, &ops, identity(FILTERS("#"), NULL, "t", INT64_MAX));
    assert_int_equal(subscribe(&late, "#", "test.0", &subscribed), GW_OK); /* from the history */
    assert_string_equal(waiting(&late), "a={\"t\":1} a={\"t\":2} b=null");
    open_client(&paced, &ops, identity(FILTERS("#"), NULL, "t", INT64_MAX));
    assert_int_equal(subscribe(&paced, "slow/#", NULL, &subscribed), GW_OK);
    send_message("slow/x", "{\"t\":1,\"key\":1}");
    send_message("slow/x", "{\"t\":2,\"key\":1}");
    assert_string_equal(waiting(&paced), "slow/x={\"t\":1}");
    tick(1500);
    assert_string_equal(waiting(&paced), "slow/x={\"t\":2}");
    struct gw_message *last = gw_hub_last(hub, late.session.grants, "a", 1);
    assert_int_equal(last->payload.len, 7); /* raw sockets too */
    gw_session_close(&all.session);
    gw_session_close(&some.session);
    gw_session_close(&late.session);
    gw_session_close(&paced.session);
}

/* Without the right to the past, a cursor brings the present and says that something is left out. */
static void test_no_history(void **state)
{
    (void)state;
    struct client client;
    struct gw_subscribed subscribed;
    for (int i = 0; i < 5; i++)
        send_message("a", "1");
    open_client(&client, &ops, identity(FILTERS("a", "b"), "b", NULL, INT64_MAX));
    assert_int_equal(subscribe(&client, "a", "test.2", &subscribed), GW_OK);
    assert_false(subscribed.recovered);
    assert_string_equal(waiting(&client), "gap(history) a=1");
    assert_int_equal(subscribe(&client, "a", "test.5", &subscribed), GW_OK); /* nothing is missing */
    assert_true(subscribed.recovered);
    assert_string_equal(waiting(&client), "");
    gw_session_close(&client.session);
}

static void test_expiry(void **state)
{
    (void)state;
    struct client client;
    open_client(&client, &ops, identity(FILTERS("a"), NULL, NULL, hub->wall_ms + 20000));
    tick(10000);
    assert_int_equal(client.expiring, 0);
    tick(5000);
    assert_int_equal(client.expiring, 1020000);
    become(&client, identity(FILTERS("a"), NULL, NULL, hub->wall_ms + 100000)); /* a new hello */
    tick(10000);
    assert_int_equal(client.kicked, GW_OK);
    for (int i = 0; i < 9; i++)
        tick(10000);
    assert_int_equal(client.kicked, GW_ERR_EXPIRED);
    gw_session_close(&client.session);
    /* The wall clock is set forward: it is noticed within a minute. */
    open_client(&client, &ops, identity(FILTERS("a"), NULL, NULL, hub->wall_ms + 86400000));
    tick(1);
    gw_hub_tick(hub, hub->now_ms, hub->wall_ms + 90000000);
    tick(60000);
    assert_int_equal(client.kicked, GW_ERR_EXPIRED);
    gw_session_close(&client.session);
    assert_int_equal(gw_timers_next(&timers), INT64_MAX);
}

static void test_bucket(void **state)
{
    (void)state;
    struct gw_bucket bucket = {0};
    int64_t now = 5000000000;
    for (int i = 0; i < 10; i++)
        assert_true(gw_bucket_take(&bucket, 10, now));
    assert_false(gw_bucket_take(&bucket, 10, now));
    assert_false(gw_bucket_take(&bucket, 10, now + 99));
    assert_true(gw_bucket_take(&bucket, 10, now + 100));
    assert_false(gw_bucket_take(&bucket, 10, now + 100));
    unsigned taken = 0;
    for (int64_t ms = 100; ms < 10100; ms++)
        taken += gw_bucket_take(&bucket, 10, now + ms);
    assert_true(taken >= 99 && taken <= 100);
    assert_true(gw_bucket_take(&bucket, 0, now));
    struct gw_bucket fast = {0};
    for (int i = 0; i < 1000000; i++)
        assert_true(gw_bucket_take(&fast, 1000000, now));
    assert_false(gw_bucket_take(&fast, 1000000, now));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_only_what_is_contained, setup, teardown),
        cmocka_unit_test_setup_teardown(test_checked_at_delivery, setup, teardown),
        cmocka_unit_test_setup_teardown(test_identity_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_projections_everywhere, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_history, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expiry, setup, teardown),
        cmocka_unit_test(test_bucket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
