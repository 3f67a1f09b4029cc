/* Reading beside libmosquitto, over a real connection of a real libmosquitto client; the test is the broker, since no
 * broker can be told where to cut its stream or when to stop reading. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker_side.h"
#include "check.h"
#include "gateway/buf.h"
#include "mqtt/receiver.h"

static struct mosquitto *mosq;
static struct gw_receiver receiver;
static bool connected;
static unsigned taken, by_library,
    published;              /* messages by either way; numbers of ours that the broker acknowledged */
static unsigned next;       /* the number that the next message must have */
static bool skipped[60000]; /* numbers that won't come: QoS 2 without PUBREL */
static struct gw_buf out;   /* what the broker has still to send */
static size_t out_sent;

static void message(const char *payload, size_t len)
{
    char text[16] = "";
    assert_true(len >= 8);
    memcpy(text, payload, 8);
    while (skipped[next])
        next++;
    assert_int_equal(strtoul(text, NULL, 10), next);
    next++;
}

static void take(void *context, const struct gw_packet *packet)
{
    (void)context;
    taken++;
    message(packet->payload, packet->payload_len);
}

static void on_message(struct mosquitto *from, void *object, const struct mosquitto_message *it,
                       const mosquitto_property *properties)
{
    (void)from, (void)object, (void)properties;
    by_library++;
    message(it->payload, (size_t)it->payloadlen);
    errno = 0; /* as receiver.h wants it */
}

static void on_connect(struct mosquitto *from, void *object, int reason, int flags,
                       const mosquitto_property *properties)
{
    (void)from, (void)object, (void)flags, (void)properties;
    assert_int_equal(reason, 0);
    gw_receiver_connected(&receiver, false, broker_tls != NULL);
    connected = true;
}

static void on_publish(struct mosquitto *from, void *object, int mid, int reason,
                       const mosquitto_property *properties)
{
    (void)from, (void)object, (void)mid, (void)properties;
    assert_int_equal(reason, 0);
    published++;
}

/* What the MQTT thread does in one turn. False: there was nothing to do. */
static bool turn(int timeout_ms)
{
    struct pollfd wait = {.fd = mosquitto_socket(mosq), .events = gw_receiver_events(&receiver, mosq)};
    bool pending = gw_receiver_pending(&receiver, mosq);
    if (poll(&wait, 1, pending ? 0 : timeout_ms) <= 0 && !pending)
        return false;
    if (pending || wait.revents & (POLLIN | POLLHUP | POLLERR))
        assert_int_equal(gw_receiver_read(&receiver, mosq), MOSQ_ERR_SUCCESS);
    assert_int_equal(gw_receiver_write(&receiver, mosq), MOSQ_ERR_SUCCESS);
    return true;
}

static void broker_accept(int listener)
{
    broker = accept(listener, NULL, NULL);
    close(listener);
    fcntl(broker, F_SETFL, O_NONBLOCK);
    if (!broker_tls)
        return;
    broker_ssl = SSL_new(broker_tls);
    SSL_set_fd(broker_ssl, broker);
    for (int result = 0; (result = SSL_accept(broker_ssl)) <= 0;) {
        assert_true(broker_again(result) < 0 && errno == EAGAIN);
        turn(10);
    }
}

static int begin_as(bool tls)
{
    taken = by_library = published = next = 0;
    connected = false;
    memset(skipped, 0, sizeof skipped);
    out = (struct gw_buf){0};
    out_sent = 0;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), small = 4096;
    setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 1), 0);
    getsockname(listener, (struct sockaddr *)&address, &len);

    mosquitto_lib_init();
    mosq = mosquitto_new("receiver", true, NULL);
    mosquitto_threaded_set(mosq, true);
    mosquitto_connect_v5_callback_set(mosq, on_connect);
    mosquitto_message_v5_callback_set(mosq, on_message);
    mosquitto_publish_v5_callback_set(mosq, on_publish);
    if (tls)
        broker_use_tls(mosq);
    gw_receiver_init(&receiver, take, NULL, NULL);
    assert_int_equal(mosquitto_connect_bind_async(mosq, "127.0.0.1", ntohs(address.sin_port), 600, NULL),
                     MOSQ_ERR_SUCCESS);
    broker_accept(listener);
    char request[256];
    while (broker_read(request, sizeof request) <= 0) /* CONNECT */
        turn(10);
    assert_int_equal(broker_write("\x20\2\0\0", 4), 4);
    while (!connected)
        assert_true(turn(5000));
    return 0;
}

static int begin(void **state)
{
    (void)state;
    return begin_as(false);
}

static int begin_tls(void **state)
{
    (void)state;
    return begin_as(true);
}

static int end(void **state)
{
    (void)state;
    mosquitto_destroy(mosq);
    gw_receiver_lost(&receiver);
    broker_fini();
    gw_buf_fini(&out);
    mosquitto_lib_cleanup();
    return 0;
}

static void add_publish(unsigned number, unsigned qos, size_t padding)
{
    size_t len = 2 + 1 + (qos ? 2 : 0) + 8 + padding;
    char text[16];
    gw_buf_addc(&out, (char)(0x30 | qos << 1));
    for (size_t rest = len;; rest >>= 7) {
        gw_buf_addc(&out, (char)((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0)));
        if (rest <= 0x7f)
            break;
    }
    gw_buf_add(&out, "\0\1a", 3);
    if (qos) {
        unsigned mid = number % 65535 + 1;
        gw_buf_addc(&out, (char)(mid >> 8));
        gw_buf_addc(&out, (char)mid);
    }
    gw_buf_add(&out, text, (size_t)snprintf(text, sizeof text, "%08u", number));
    for (size_t i = 0; i < padding; i++)
        gw_buf_addc(&out, '.');
}

/* Sends at most `len` bytes of what is to be sent. False: the client's buffers are full, or that was all. */
static bool broker_send(size_t len)
{
    size_t left = out.len - out_sent;
    if (!left)
        return false;
    ssize_t sent = broker_write(out.data + out_sent, left < len ? left : len);
    assert_true(sent > 0 || errno == EAGAIN);
    out_sent += sent > 0 ? (size_t)sent : 0;
    return sent > 0;
}

/* Everything that the client sends, as packets: PUBACKs must name `acked` + 1, and so on; others are only counted. */
struct upstream {
    uint8_t data[1 << 16];
    size_t len;
    unsigned acked, received, publishes; /* PUBACKs, PUBRECs, PUBLISHes */
};

static void upstream_read(struct upstream *up, const unsigned *acks)
{
    ssize_t got = broker_read(up->data + up->len, sizeof up->data - up->len);
    assert_true(got > 0 || errno == EAGAIN);
    up->len += got > 0 ? (size_t)got : 0;
    size_t at = 0;
    while (up->len - at >= 4 && up->len - at >= 2u + up->data[at + 1]) {
        const uint8_t *packet = up->data + at;
        assert_true(packet[1] < 128);
        switch (packet[0] >> 4) {
        case 4:
            assert_int_equal(packet[2] << 8 | packet[3], acks[up->acked] % 65535 + 1);
            up->acked++;
            break;
        case 5:
            up->received++;
            break;
        case 3:
            assert_int_equal(packet[1], 2 + 3 + 2 + 5);
            assert_memory_equal(packet + 2, "\0\3out", 5);
            assert_memory_equal(packet + 9, "hello", 5);
            up->publishes++;
            break;
        default:
            fail_msg("packet type %d", packet[0] >> 4);
        }
        at += 2u + packet[1];
    }
    memmove(up->data, up->data + at, up->len - at);
    up->len -= at;
}

/* Messages of every QoS and size among other packets, the stream cut at any place. */
static void test_cut_anywhere(void **state)
{
    (void)state;
    enum { MESSAGES = 6000 };
    static unsigned acks[MESSAGES];
    static struct upstream up;
    up = (struct upstream){0};
    uint64_t random = 1;
    unsigned ack_count = 0, qos2 = 0, ours = 0;
    for (unsigned i = 0; i < MESSAGES; i++) {
        unsigned kind = check_random(&random) % 100, qos = kind < 2 ? 2 : kind < 40 ? 1 : 0;
        size_t padding = kind == 50 ? 70000 : kind == 51 ? 5000 : check_random(&random) % 150;
        if (qos == 2 && qos2 >= 19) /* the client takes 20 that are not released */
            qos = 0;
        add_publish(i, qos, padding);
        if (qos == 1)
            acks[ack_count++] = i;
        skipped[i] = qos == 2;
        qos2 += qos == 2;
        if (kind == 60)
            gw_buf_add(&out, "\xd0\0", 2); /* PINGRESP */
        if (kind > 96) {                   /* and PUBACK, for one of ours */
            int mid = 0;
            assert_int_equal(mosquitto_publish(mosq, &mid, "out", 5, "hello", 1, false), MOSQ_ERR_SUCCESS);
            gw_buf_add(&out, "\x40\2", 2);
            gw_buf_addc(&out, (char)(mid >> 8));
            gw_buf_addc(&out, (char)mid);
            ours++;
        }
        while (out_sent < out.len) {
            broker_send(kind == 50 ? 20000 : 1 + check_random(&random) % 200);
            if (check_random(&random) % 4 == 0 || kind == 50)
                turn(0);
            upstream_read(&up, acks);
        }
    }
    while (up.acked < ack_count || up.publishes < ours || up.received < qos2 ||
           by_library + taken < MESSAGES - qos2) {
        turn(10);
        upstream_read(&up, acks);
    }
    assert_int_equal(published, ours);
    printf("%u taken, %u by libmosquitto\n", taken, by_library);
    assert_true(taken > (broker_tls ? MESSAGES / 100 : MESSAGES / 10)); /* a record is seldom a whole packet here */
    assert_true(by_library > MESSAGES / 10);
}

/* Of bytes: whole packets of 15, as brokers put them into a TLS record. */
#define WHOLE (15 * 1000)

/* Sends until neither side gets on, because the broker does not read and PUBACKs can't leave. */
static void get_stuck(void)
{
    int small = 4096;
    setsockopt(mosquitto_socket(mosq), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    unsigned still = 0;
    while (still < 3) {
        unsigned before = next;
        bool sent = broker_send(WHOLE);
        turn(10);
        still = sent || next != before ? 0 : still + 1;
    }
    assert_false(gw_receiver_events(&receiver, mosq) & POLLIN);
}

/* A broker that sends and doesn't read: PUBACKs wait, whole and in order, and meanwhile no more is read. */
static void test_acks_that_can_not_leave(void **state)
{
    (void)state;
    enum { MESSAGES = 60000 };
    static unsigned acks[MESSAGES];
    static struct upstream up;
    up = (struct upstream){0};
    for (unsigned i = 0; i < MESSAGES; i++) {
        add_publish(i, 1, 0);
        acks[i] = i;
    }
    get_stuck();
    assert_true(next < MESSAGES);
    for (int i = 0; i < 100; i++) /* ours get in line behind them, not into them */
        assert_int_equal(mosquitto_publish(mosq, NULL, "out", 5, "hello", 1, false), MOSQ_ERR_SUCCESS);
    while (up.acked < MESSAGES || up.publishes < 20) { /* 20: the client sends no more until they are acknowledged */
        if (out_sent < out.len)
            broker_send(WHOLE);
        turn(10);
        upstream_read(&up, acks);
    }
    assert_int_equal(next, MESSAGES);
    assert_true(taken > MESSAGES / 10 * 9);
}

/* The end of the connection is libmosquitto's to see, after everything before it was taken. */
static void test_end(void **state)
{
    (void)state;
    add_publish(0, 0, 0);
    add_publish(1, 0, 0);
    gw_buf_add(&out, "\x30\x7f", 2);
    assert_true(broker_send(1000));
    shutdown(broker, SHUT_WR);
    int rc = MOSQ_ERR_SUCCESS;
    for (int i = 0; i < 10 && rc == MOSQ_ERR_SUCCESS; i++)
        rc = gw_receiver_read(&receiver, mosq);
    assert_int_not_equal(rc, MOSQ_ERR_SUCCESS);
    assert_int_equal(next, 2);
}

/* ... and then it is gone: no turn without an end. */
static void test_reset_while_acks_wait(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 60000; i++)
        add_publish(i, 1, 0);
    get_stuck();
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    setsockopt(broker, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(broker);
    int rc = MOSQ_ERR_SUCCESS;
    for (int i = 0; i < 1000 && rc == MOSQ_ERR_SUCCESS; i++) {
        rc = gw_receiver_read(&receiver, mosq);
        if (rc == MOSQ_ERR_SUCCESS)
            rc = gw_receiver_write(&receiver, mosq);
    }
    assert_int_not_equal(rc, MOSQ_ERR_SUCCESS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_reset_while_acks_wait, begin, end),
        cmocka_unit_test_setup_teardown(test_cut_anywhere, begin, end),
        cmocka_unit_test_setup_teardown(test_acks_that_can_not_leave, begin, end),
        cmocka_unit_test_setup_teardown(test_end, begin, end),
        cmocka_unit_test_setup_teardown(test_reset_while_acks_wait, begin_tls, end),
        cmocka_unit_test_setup_teardown(test_cut_anywhere, begin_tls, end),
        cmocka_unit_test_setup_teardown(test_acks_that_can_not_leave, begin_tls, end),
        cmocka_unit_test_setup_teardown(test_end, begin_tls, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
