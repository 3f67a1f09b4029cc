/* The fast path: whatever waits, whoever is slow and whatever neighbours got before, each client reads exactly the
 * bytes that its own form makes of its own messages, in order; and what several get is encoded once. */
#include "check.h"

#include <sys/socket.h>
#include <unistd.h>

#include "gateway/codec.h"
#include "hub/inbox.h"
#include "net/outbox.h"
#include "net/ring.h"
#include "net/server.h"
#include "route/routes.h"

#define EPOCH   "wire"
#define CLIENTS 12
#define TURNS   300

struct client {
    struct gw_session session; /* first member */
    struct gw_sock sock;
    int fd; /* the far end */
    unsigned form;
    const char *filter;
    bool slow;
    struct gw_buf expected;
    size_t read; /* of which so many bytes came */
};

static const char *const channel_names[] = {"a", "b", "c"};
static struct gw_config *config;
static struct gw_server server;
static struct gw_worker worker;
static struct client clients[CLIENTS];
static uint64_t head, seed;
static unsigned encoded;

/* --- three forms of a message, of 1, 3 and 5 parts -------------------------------------------------------------- */

static struct iovec part(const char *data, size_t len)
{
    return (struct iovec){(void *)(uintptr_t)data, len};
}

static size_t encode_text(struct gw_item *item, struct iovec parts[GW_PARTS_MAX])
{
    encoded++;
    if (item->type == GW_ITEM_TEXT)
        parts[0] = part(item->u.text->data, item->u.text->len);
    else
        parts[0] = part(item->u.message->text.data, item->u.message->text.len);
    return 1;
}

static size_t encode_payload(struct gw_item *item, struct iovec parts[GW_PARTS_MAX])
{
    if (item->type == GW_ITEM_TEXT)
        return encode_text(item, parts);
    encoded++;
    parts[0] = part("<", 1);
    parts[1] = part(item->u.message->payload.data, item->u.message->payload.len);
    parts[2] = part(">", 1);
    return 3;
}

/* Some messages become a text of its own, as those of several lines do with SSE. */
static size_t encode_lines(struct gw_item *item, struct iovec parts[GW_PARTS_MAX])
{
    if (item->type == GW_ITEM_MESSAGE && item->u.message->payload.len % 5 == 0) {
        struct gw_buf text = {0};
        gw_buf_printf(&text, "%.*s\n", (int)item->u.message->channel.len, item->u.message->channel.data);
        gw_item_set_text(item, &text);
    }
    if (item->type == GW_ITEM_TEXT)
        return encode_text(item, parts);
    encoded++;
    parts[0] = part("[", 1);
    parts[1] = part(item->u.message->channel.data, item->u.message->channel.len);
    parts[2] = part("|", 1);
    parts[3] = part(item->u.message->payload.data, item->u.message->payload.len);
    parts[4] = part("]", 1);
    return 5;
}

static const gw_encode forms[] = {encode_text, encode_payload, encode_lines};

static void expect(struct client *client, struct gw_message *msg)
{
    if (client->filter[0] != '#' && client->filter[0] != msg->channel.data[0])
        return;
    struct gw_item item = {.type = GW_ITEM_MESSAGE, .u.message = gw_message_ref(msg)};
    struct iovec parts[GW_PARTS_MAX];
    size_t count = forms[client->form](&item, parts);
    for (size_t i = 0; i < count; i++)
        gw_buf_add(&client->expected, parts[i].iov_base, parts[i].iov_len);
    gw_item_release(&item);
}

/* --- clients ---------------------------------------------------------------------------------------------------- */

static void on_ready(struct gw_session *session)
{
    struct client *client = (struct client *)session;
    gw_outbox_drain(&client->sock, session, forms[client->form]);
}

static bool on_writable(struct gw_sock *sock)
{
    on_ready((struct gw_session *)((char *)sock - offsetof(struct client, sock)));
    return true;
}

static void on_kick(struct gw_session *session, enum gw_err why)
{
    (void)session;
    fail_msg("kicked: %s", gw_err_code(why));
}

static const struct gw_session_ops session_ops = {.ready = on_ready, .kick = on_kick};
static const struct gw_sock_ops sock_ops = {.writable = on_writable};

static void client_open(struct client *client, unsigned form, const char *filter, bool slow)
{
    int pair[2], size = slow ? 8192 : 1 << 20;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    *client = (struct client){.fd = pair[1], .form = form, .filter = filter, .slow = slow};
    client->sock = (struct gw_sock){.worker = &worker, .fd = pair[0], .ops = &sock_ops};
    gw_session_open(&client->session, worker.hub, &session_ops);
    struct gw_start start = {.at = GW_START_NOW};
    struct gw_subscribed subscribed;
    assert_int_equal(gw_session_subscribe(&client->session, filter, strlen(filter), &start, &subscribed), GW_OK);
    gw_session_catch_up(&client->session);
}

/* What is there; true if it was something. Then the socket has room again. */
static bool client_read(struct client *client)
{
    static char data[1 << 16];
    ssize_t got = recv(client->fd, data, sizeof data, MSG_DONTWAIT);
    if (got <= 0)
        return false;
    assert_true(client->read + (size_t)got <= client->expected.len);
    assert_memory_equal(client->expected.data + client->read, data, (size_t)got);
    client->read += (size_t)got;
    if (client->sock.out.blocked)
        assert_true(gw_sock_on_writable(&client->sock));
    return true;
}

static void client_close(struct client *client)
{
    while (client_read(client))
        ;
    assert_int_equal(client->read, client->expected.len);
    gw_session_close(&client->session);
    close(client->fd);
    close(client->sock.fd);
    gw_buf_fini(&client->expected);
    gw_outbox_fini(&client->sock);
}

/* --- the gateway ------------------------------------------------------------------------------------------------ */

static enum gw_err no_publish(void *context, struct gw_publish **publish)
{
    (void)context;
    (void)publish;
    return GW_ERR_UPSTREAM_DOWN;
}

static void setup(void)
{
    config = calloc(1, sizeof *config);
    atomic_init(&config->refs, 1);
    config->file = strdup("test");
    config->route_count = 1;
    config->routes = calloc(1, sizeof *config->routes);
    config->routes[0].topic = strdup("#");
    config->routes[0].codec = gw_codec_find("auto");
    config->routes[0].history_engine =
        gw_history_find("memory"); /* which keeps nothing: messages go, and their addresses come again */
    config->limits =
        (struct gw_cfg_limits){.subscriptions = 10, .queue_bytes = 1 << 26, .channels = 10, .history_bytes = 1 << 20};
    struct gw_routes *routes = gw_routes_build(config);
    server = (struct gw_server){.workers = &worker, .worker_count = 1};
    worker = (struct gw_worker){.server = &server, .sockets = {.fd = -1}, .batches = gw_batches_create()};
    gw_timers_init(&worker.timers);
    struct gw_hub_setup setup = {
        .epoch = EPOCH, .config = config, .routes = routes, .timers = &worker.timers, .upstream = {NULL, no_publish}};
    worker.hub = gw_hub_create(&setup);
    gw_hub_tick(worker.hub, 1, 1);
    gw_routes_unref(routes);
    head = encoded = 0;
}

static void teardown(void)
{
    gw_batches_destroy(worker.batches);
    gw_ring_destroy(worker.ring);
    gw_hub_destroy(worker.hub);
    gw_timers_fini(&worker.timers);
    gw_config_unref(config);
}

static void publish(size_t len, unsigned count)
{
    static char json[400000];
    memset(json, 'a' + (int)(head % 26), len);
    json[0] = json[len - 1] = '"';
    const char *channel = channel_names[check_random(&seed) % COUNT(channel_names)];
    struct gw_message_spec spec = {.channel = channel,
                                   .channel_len = 1,
                                   .json = json,
                                   .json_len = len,
                                   .payload = json,
                                   .payload_len = len,
                                   .epoch = EPOCH,
                                   .seq = ++head,
                                   .ts = 1};
    struct gw_event event = {.type = GW_EVENT_MESSAGE, .u.message = gw_message_create(&spec)};
    for (unsigned i = 0; i < count; i++)
        expect(&clients[i], event.u.message);
    gw_hub_handle(worker.hub, &event);
}

static void turn_ends(void)
{
    gw_hub_flush(worker.hub);
    if (worker.ring)
        gw_ring_submit(worker.ring);
    gw_batches_forget(worker.batches);
}

static void say(struct client *client)
{
    struct gw_buf text = {0};
    gw_buf_adds(&text, "(a word of its own)");
    gw_buf_add(&client->expected, text.data, text.len);
    gw_session_push(&client->session, &text);
}

static void random_turn(void)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (check_random(&seed) % 16 == 0)
            say(&clients[i]);
    }
    unsigned count = check_random(&seed) % 4 ? check_random(&seed) % 8 : check_random(&seed) % 400;
    for (unsigned i = 0; i < count; i++)
        publish(2 + (check_random(&seed) % 64  ? check_random(&seed) % 100
                     : check_random(&seed) % 4 ? check_random(&seed) % 15000
                                               : check_random(&seed) % 300000), /* held and not copied */
                CLIENTS);
    turn_ends();
    for (unsigned i = 0; i < CLIENTS; i++) {
        while ((!clients[i].slow || check_random(&seed) % 8 == 0) && client_read(&clients[i]))
            ;
    }
}

/* Turns until nobody has anything left: large messages leave by bytes a turn. */
static void settle(void)
{
    bool more = true;
    while (more) {
        gw_hub_tick(worker.hub, 1, 1);
        turn_ends();
        more = gw_hub_busy(worker.hub);
        for (unsigned i = 0; i < CLIENTS; i++) {
            while (client_read(&clients[i]))
                more = true;
        }
    }
}

static void model(bool ring)
{
    static const char *const filters[] = {"#", "#", "#", "a", "b"};
    setup();
    worker.ring = ring ? gw_ring_create() : NULL; /* where the kernel has none it is the first case again */
    worker.joining = worker.ring != NULL;
    for (unsigned i = 0; i < CLIENTS; i++)
        client_open(&clients[i], i / 2 % COUNT(forms), filters[i % COUNT(filters)], i % 4 == 3);
    for (unsigned i = 0; i < TURNS; i++)
        random_turn();
    settle();
    worker.joining = false;
    for (unsigned i = 0; i < CLIENTS; i++)
        client_close(&clients[i]);
    teardown();
}

static void test_everybody_gets_his_own(void **state)
{
    (void)state;
    for (seed = 1; seed < 4; seed++)
        model(false);
}

static void test_everybody_gets_his_own_by_the_ring(void **state)
{
    (void)state;
    for (seed = 1; seed < 4; seed++)
        model(true);
}

static void test_encoded_once(void **state)
{
    (void)state;
    setup();
    for (unsigned i = 0; i < CLIENTS; i++)
        client_open(&clients[i], 1, "#", false);
    for (unsigned i = 0; i < 150; i++)
        publish(40, CLIENTS);
    encoded = 0;
    turn_ends();
    assert_int_equal(encoded, 150);
    for (unsigned i = 0; i < CLIENTS; i++)
        client_close(&clients[i]);
    teardown();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everybody_gets_his_own),
        cmocka_unit_test(test_everybody_gets_his_own_by_the_ring),
        cmocka_unit_test(test_encoded_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
