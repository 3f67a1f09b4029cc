/* Listeners that speak no HTTP: a toy transport gets the bytes of its connections over plain TCP, over TLS and behind
 * a PROXY header, from real sockets and a worker's own thread. Its protocol: lines.
 *
 *   echo TEXT       TEXT comes back
 *   follow CHANNEL  every message of the channel, a line each
 *   pause           nothing more is read until the next message of a channel that is followed
 *   bye             "bye" comes back, and the connection is closed */
#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "gateway/clock.h"
#include "gateway/config.h"
#include "gateway/transport.h"
#include "http/conn.h"
#include "hub/inbox.h"
#include "net/server.h"
#include "route/routes.h"
#include "websocket/wsconn.h"

#define WAIT_MS 10000

/* --- the toy ---------------------------------------------------------------------------------------------------- */

struct toy {
    struct gw_session session; /* first member */
    struct gw_conn *conn;
    struct gw_buf line;
};

static atomic_uint toys_made, toys_closed;
static atomic_size_t toy_bytes;

static size_t toy_encode(struct gw_item *item, struct iovec parts[GW_PARTS_MAX])
{
    if (item->type != GW_ITEM_MESSAGE)
        return 0;
    parts[0] = (struct iovec){(void *)(uintptr_t)item->u.message->payload.data, item->u.message->payload.len};
    parts[1] = (struct iovec){"\n", 1};
    return 2;
}

static void toy_on_ready(struct gw_session *session)
{
    struct toy *toy = (struct toy *)session;
    gw_conn_pause(toy->conn, false);
    gw_conn_drain(toy->conn, session, toy_encode);
}

static void toy_on_kick(struct gw_session *session, enum gw_err why)
{
    (void)why;
    gw_conn_close(((struct toy *)session)->conn);
}

static const struct gw_session_ops toy_session_ops = {.transport = "toy", .ready = toy_on_ready, .kick = toy_on_kick};

static void toy_on_line(struct toy *toy, char *line)
{
    if (!strncmp(line, "echo ", 5)) {
        gw_conn_send(toy->conn, line + 5, strlen(line + 5));
        gw_conn_send(toy->conn, "\n", 1);
    } else if (!strncmp(line, "follow ", 7)) {
        struct gw_start start = {.at = GW_START_NOW};
        struct gw_subscribed subscribed;
        assert_int_equal(gw_session_subscribe(&toy->session, line + 7, strlen(line + 7), &start, &subscribed), GW_OK);
        gw_session_catch_up(&toy->session);
        gw_conn_send(toy->conn, "following\n", 10);
    } else if (!strcmp(line, "pause")) {
        gw_conn_pause(toy->conn, true);
        gw_conn_send(toy->conn, "paused\n", 7);
    } else if (!strcmp(line, "bye")) {
        gw_conn_send(toy->conn, "bye\n", 4);
        gw_conn_close(toy->conn);
    }
}

static void toy_on_input(struct gw_conn *conn, const char *data, size_t len)
{
    struct toy *toy = gw_conn_context(conn);
    atomic_fetch_add(&toy_bytes, len);
    for (size_t i = 0; i < len; i++) {
        if (data[i] != '\n') {
            gw_buf_addc(&toy->line, data[i]);
            continue;
        }
        gw_buf_addc(&toy->line, '\0');
        toy_on_line(toy, toy->line.data);
        gw_buf_clear(&toy->line);
    }
}

static void toy_on_writable(struct gw_conn *conn)
{
    struct toy *toy = gw_conn_context(conn);
    gw_conn_drain(conn, &toy->session, toy_encode);
}

static void toy_on_closed(struct gw_conn *conn)
{
    struct toy *toy = gw_conn_context(conn);
    gw_session_close(&toy->session);
    gw_buf_fini(&toy->line);
    free(toy);
    atomic_fetch_add(&toys_closed, 1);
}

static const struct gw_conn_ops toy_ops = {
    .input = toy_on_input, .writable = toy_on_writable, .closed = toy_on_closed};

static void toy_accept(struct gw_conn *conn)
{
    struct toy *toy = calloc(1, sizeof *toy);
    toy->conn = conn;
    gw_session_open(&toy->session, gw_conn_hub(conn), &toy_session_ops);
    gw_conn_attach(conn, &toy_ops, toy);
    gw_conn_log_session(conn, &toy->session);
    atomic_fetch_add(&toys_made, 1);
}

static const struct gw_transport toy_transport = {.name = "toy", .stream_protocol = "toy", .accept = toy_accept};
static const struct gw_transport *const transports[] = {&toy_transport, NULL};

/* --- the gateway ------------------------------------------------------------------------------------------------ */

enum { PLAIN, PROXY, TLS, LISTENERS };

static char folder[] = "/tmp/sluice-stream-XXXXXX";
static struct gw_server server;
static struct gw_config *config;
static const struct gw_service service = {gw_conn_accept, gw_conn_refusal, gw_ws_configure, gw_ws_leave};
static uint64_t head;

/* A certificate that nobody checks. */
static void write_certificate(const char *cert_path, const char *key_path)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, (const unsigned char *)"x", -1, -1,
                               0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    X509_set_pubkey(cert, key);
    assert_int_not_equal(X509_sign(cert, key, EVP_sha256()), 0);
    FILE *file = fopen(cert_path, "w");
    PEM_write_X509(file, cert);
    fclose(file);
    file = fopen(key_path, "w");
    PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
    fclose(file);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static enum gw_err no_publish(void *context, struct gw_publish **publish)
{
    (void)context, (void)publish;
    return GW_ERR_UPSTREAM_DOWN;
}

static int setup(void **state)
{
    (void)state;
    char path[64], cert[64], key[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/sluice.yaml", folder);
    snprintf(cert, sizeof cert, "%s/cert.pem", folder);
    snprintf(key, sizeof key, "%s/key.pem", folder);
    write_certificate(cert, key);
    FILE *file = fopen(path, "w");
    fprintf(file,
            "broker: { url: mqtt://127.0.0.1 }\n"
            "routes: [{ topic: '#' }]\n"
            "limits: { connections: 20 }\n"
            "web: { trusted_proxies: ['127.0.0.1'], request_timeout: 1s }\n"
            "listen:\n"
            "  - { address: '127.0.0.1:0', protocol: toy }\n"
            "  - { address: '127.0.0.1:0', protocol: toy, proxy_protocol: true }\n"
            "  - { address: '127.0.0.1:0', protocol: toy, tls: { cert_file: %s, key_file: %s } }\n",
            cert, key);
    fclose(file);
    struct gw_buf problems = {0};
    if (gw_config_load(path, &config, &problems) != GW_OK)
        fail_msg("%s", problems.data);
    if (gw_server_init(&server, &service, config, 1, &problems) != GW_OK)
        fail_msg("%s", problems.data);
    gw_buf_fini(&problems);
    struct gw_routes *routes = gw_routes_build(config);
    struct gw_hub_setup hub = {
        .epoch = "toytoytoy", .config = config, .routes = routes, .upstream = {NULL, no_publish}};
    gw_server_prepare(&server, &hub);
    gw_routes_unref(routes);
    assert_int_equal(gw_server_start(&server), GW_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gw_server_stop(&server);
    gw_server_fini(&server);
    gw_config_unref(config);
    static const char *const files[] = {"sluice.yaml", "cert.pem", "key.pem"};
    for (size_t i = 0; i < COUNT(files); i++) {
        char path[64];
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        unlink(path);
    }
    rmdir(folder);
    return 0;
}

static void publish(const char *channel, const char *payload)
{
    struct gw_message_spec spec = {.channel = channel,
                                   .channel_len = strlen(channel),
                                   .json = payload,
                                   .json_len = strlen(payload),
                                   .payload = payload,
                                   .payload_len = strlen(payload),
                                   .epoch = "toytoytoy",
                                   .seq = ++head,
                                   .ts = 1};
    struct gw_event event = {.type = GW_EVENT_MESSAGE, .u.message = gw_message_create(&spec)};
    gw_inbox_put(server.workers[0].inbox, &event);
}

/* --- clients ---------------------------------------------------------------------------------------------------- */

static int dial(unsigned listener)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(server.ports[listener])};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    const struct timeval patience = {.tv_sec = WAIT_MS / 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (int)strlen(text));
}

static void hear(int fd, const char *text)
{
    char got[200];
    size_t len = strlen(text);
    assert_int_equal(recv(fd, got, len, MSG_WAITALL), (int)len);
    assert_memory_equal(got, text, len);
}

/* The gateway closed it, in order. */
static void hear_the_end(int fd)
{
    char any;
    assert_int_equal(recv(fd, &any, 1, 0), 0);
    close(fd);
}

static void until_all_are_closed(void)
{
    int64_t end = gw_monotonic_ms() + WAIT_MS;
    while (atomic_load(&toys_made) != atomic_load(&toys_closed)) {
        assert_true(gw_monotonic_ms() < end);
        poll(NULL, 0, 1);
    }
}

/* --- tests ------------------------------------------------------------------------------------------------------ */

static void test_bytes_in_any_pieces(void **state)
{
    (void)state;
    int fd = dial(PLAIN);
    say(fd, "ec");
    say(fd, "ho one\necho two\nec");
    hear(fd, "one\ntwo\n");
    say(fd, "ho GET / HTTP/1.1\n"); /* no matter what it looks like */
    hear(fd, "GET / HTTP/1.1\n");
    say(fd, "bye\necho unheard\n");
    hear(fd, "bye\n");
    hear_the_end(fd);
    until_all_are_closed();
}

static void test_messages_reach_it(void **state)
{
    (void)state;
    int fd = dial(PLAIN);
    say(fd, "follow a/b\n");
    hear(fd, "following\n");
    publish("a/b", "11");
    publish("a/c", "12");
    publish("a/b", "13");
    hear(fd, "11\n13\n");
    close(fd);
    until_all_are_closed();
}

static void test_behind_a_proxy(void **state)
{
    (void)state;
    static const char v2[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x7f\0\0\x01\x12\x34\0\x50";
    int fd = dial(PROXY);
    say(fd, "PROXY TCP4 192.0.2.7 127.0.0.1 4711 80\r\necho x\n");
    hear(fd, "x\n");
    close(fd);
    fd = dial(PROXY);
    assert_int_equal(send(fd, v2, sizeof v2 - 1, MSG_NOSIGNAL), sizeof v2 - 1);
    say(fd, "echo y\n");
    hear(fd, "y\n");
    close(fd);
    fd = dial(PROXY);
    say(fd, "echo without the header\n");
    char any;
    assert_true(recv(fd, &any, 1, 0) <= 0);
    close(fd);
    until_all_are_closed();
}

static void hear_sealed(SSL *ssl, char *to, int len)
{
    for (int at = 0, now; at < len; at += now) {
        now = SSL_read(ssl, to + at, len - at);
        assert_true(now > 0);
    }
}

static void test_over_tls(void **state)
{
    (void)state;
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(context);
    static char got[100001];
    int fd = dial(TLS);
    SSL_set_fd(ssl, fd);
    assert_int_equal(SSL_connect(ssl), 1);
    assert_true(SSL_write(ssl, "echo se", 7) == 7);
    assert_true(SSL_write(ssl, "cret\n", 5) == 5);
    hear_sealed(ssl, got, 7);
    assert_memory_equal(got, "secret\n", 7);
    /* More than one record at once. */
    static char line[100008];
    memcpy(line, "echo ", 5);
    memset(line + 5, 'x', 100000);
    line[100005] = '\n';
    assert_int_equal(SSL_write(ssl, line, 100006), 100006);
    hear_sealed(ssl, got, 100001);
    assert_memory_equal(got, line + 5, 100001);
    SSL_shutdown(ssl);
    SSL_free(ssl);
    SSL_CTX_free(context);
    close(fd);
    until_all_are_closed();
}

static void test_pause_closes_the_window(void **state)
{
    (void)state;
    static char filler[1 << 16];
    memset(filler, 'x', sizeof filler);
    int fd = dial(PLAIN);
    say(fd, "follow a\npause\n");
    hear(fd, "following\npaused\n");
    size_t before = atomic_load(&toy_bytes), sent = 0;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    struct pollfd room = {.fd = fd, .events = POLLOUT};
    while (poll(&room, 1, 300) == 1) { /* until nothing more fits */
        ssize_t now = send(fd, filler, sizeof filler, MSG_NOSIGNAL);
        assert_true(now > 0);
        sent += (size_t)now;
        assert_true(sent < (size_t)1 << 30);
    }
    assert_true(atomic_load(&toy_bytes) - before <= GW_INPUT_BYTES);
    publish("a", "1");
    int64_t end = gw_monotonic_ms() + WAIT_MS;
    while (atomic_load(&toy_bytes) - before < sent) {
        assert_true(gw_monotonic_ms() < end);
        poll(NULL, 0, 1);
    }
    close(fd);
    until_all_are_closed();
}

static void test_silence_is_ended(void **state)
{
    (void)state;
    unsigned made = atomic_load(&toys_made);
    int fd = dial(PLAIN);
    hear_the_end(fd); /* after web.request_timeout, before the transport hears of it */
    assert_int_equal(atomic_load(&toys_made), made);
    fd = dial(PLAIN);
    say(fd, "echo 1\n");
    hear(fd, "1\n");
    struct pollfd closed = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&closed, 1, 1500), 0); /* one that has spoken may be silent */
    say(fd, "echo 2\n");
    hear(fd, "2\n");
    close(fd);
    until_all_are_closed();
}

static void test_too_many(void **state)
{
    (void)state;
    int fds[25];
    for (size_t i = 0; i < COUNT(fds); i++)
        fds[i] = dial(PLAIN);
    char any[10];
    assert_true(recv(fds[24], any, sizeof any, 0) <= 0); /* refused, and not by HTTP */
    say(fds[0], "echo first\n");
    hear(fds[0], "first\n");
    for (size_t i = 0; i < COUNT(fds); i++)
        close(fds[i]);
    until_all_are_closed();
}

static void test_a_stop_closes_it(void **state)
{
    (void)state;
    int following = dial(PLAIN), idle = dial(PLAIN);
    say(following, "follow a\n");
    hear(following, "following\n");
    say(idle, "echo x\n");
    hear(idle, "x\n");
    gw_server_stop(&server);
    hear_the_end(following);
    hear_the_end(idle);
    until_all_are_closed();
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    gw_transports_use(transports);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_in_any_pieces),
        cmocka_unit_test(test_messages_reach_it),
        cmocka_unit_test(test_behind_a_proxy),
        cmocka_unit_test(test_over_tls),
        cmocka_unit_test(test_pause_closes_the_window),
        cmocka_unit_test(test_silence_is_ended),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_a_stop_closes_it),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
