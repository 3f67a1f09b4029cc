/* crowd: many clients that do the same, over plain TCP or TLS: each sends a request, waits for the mark of its
 * beginning, and from then on reads everything or nothing.
 *
 *   crowd key=value...      port, clients, requests (a file, each request ended by a NUL; they go round)
 *                           begun (a text that comes once a client is served), mark (a text that is counted from then
 * on) read (1; 0: nothing is read after the beginning), parallel (clients on their way, 128) tls (0), version (TLS:
 * 12, 13), resume (0; 1: all but the first resume its session)
 *
 * Prints a line of JSON when all have begun. Each line on the standard input is a number: once that many marks have
 * come to all clients together, another line follows. Ends with the standard input. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define READ_SIZE 65536
#define PATIENCE  60.0 /* seconds without any client that begins */

enum state { CONNECTING, HANDSHAKE, ASKING, SERVED };

struct client {
    int fd;
    enum state state;
    SSL *tls;
    size_t begun, mark; /* bytes of these texts that have matched so far */
    double from;        /* of its connect() */
};

struct text {
    const char *data;
    size_t len;
    size_t *back; /* Knuth, Morris and Pratt: where to go on after a mismatch */
};

static struct client *clients;
static unsigned count, opened, served, resumed;
static int poller, port = 0, parallel = 128, with_tls = 0, reading = 1, resume = 0, version = 13;
static const char **requests;
static unsigned request_count;
static struct text begun, mark;
static uint64_t marks, expected;
static SSL_CTX *context;
static SSL_SESSION *session;
static double *times;

_Noreturn static void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "crowd: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    exit(1);
}

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static void text_set(struct text *text, const char *data)
{
    *text = (struct text){data, strlen(data), calloc(strlen(data) + 1, sizeof(size_t))};
    for (size_t i = 1, k = 0; i < text->len; i++) {
        while (k && data[i] != data[k])
            k = text->back[k - 1];
        k += data[i] == data[k];
        text->back[i] = k;
    }
}

/* Up to the end of the first occurrence, or all of it; how many bytes that is. */
static size_t text_match(const struct text *text, size_t *matched, const char *data, size_t len)
{
    size_t k = *matched, i = 0;
    while (i < len && k < text->len) {
        if (!k) { /* quickly over what cannot begin it */
            const char *first = memchr(data + i, text->data[0], len - i);
            i = first ? (size_t)(first - data) : len;
            if (i == len)
                break;
        }
        char c = data[i++];
        while (k && c != text->data[k])
            k = text->back[k - 1];
        k += c == text->data[k];
    }
    *matched = k;
    return i;
}

static int on_session(SSL *tls, SSL_SESSION *made)
{
    (void)tls;
    if (!resume || session)
        return 0;
    session = made;
    return 1; /* the reference is ours */
}

static void watch(struct client *client, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = client};
    if (epoll_ctl(poller, operation, client->fd, &event))
        die("epoll_ctl: %s", strerror(errno));
}

static void client_open(struct client *client)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    client->from = now();
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->fd < 0)
        die("socket: %s", strerror(errno));
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(client->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS)
        die("connect: %s", strerror(errno));
    watch(client, EPOLL_CTL_ADD, EPOLLOUT);
}

static void client_ask(struct client *client)
{
    const char *request = requests[(unsigned)(client - clients) % request_count];
    size_t len = strlen(request);
    if (client->tls ? SSL_write(client->tls, request, (int)len) != (int)len
                    : send(client->fd, request, len, MSG_NOSIGNAL) != (ssize_t)len)
        die("a request could not be sent whole");
    client->state = ASKING;
    watch(client, EPOLL_CTL_MOD, EPOLLIN);
}

/* EAGAIN in whichever form: true if there is nothing more to do now. */
static bool tls_waits(struct client *client, int result)
{
    int why = SSL_get_error(client->tls, result);
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
        if (client->state == HANDSHAKE)
            watch(client, EPOLL_CTL_MOD, why == SSL_ERROR_WANT_READ ? EPOLLIN : EPOLLOUT);
        return true;
    }
    return false;
}

static void client_handshake(struct client *client)
{
    int result = SSL_connect(client->tls);
    if (result != 1) {
        if (!tls_waits(client, result))
            die("handshake: %s", ERR_reason_error_string(ERR_get_error()));
        return;
    }
    resumed += SSL_session_reused(client->tls) != 0;
    client_ask(client);
}

static void client_connected(struct client *client)
{
    int error = 0;
    socklen_t len = sizeof error;
    getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error)
        die("connect: %s", strerror(error));
    if (!with_tls) {
        client_ask(client);
        return;
    }
    client->tls = SSL_new(context);
    SSL_set_fd(client->tls, client->fd);
    SSL_set_tlsext_host_name(client->tls, "localhost");
    if (session) { /* a copy: OpenSSL uses each of TLS 1.3 only once */
        SSL_SESSION *again = SSL_SESSION_dup(session);
        SSL_set_session(client->tls, again);
        SSL_SESSION_free(again);
    }
    client->state = HANDSHAKE;
    client_handshake(client);
}

static void client_came(struct client *client, const char *data, size_t len)
{
    size_t at = 0;
    if (client->state == ASKING) {
        at = text_match(&begun, &client->begun, data, len);
        if (client->begun < begun.len)
            return;
        times[served++] = now() - client->from;
        client->state = SERVED;
        if (!reading)
            watch(client, EPOLL_CTL_DEL, 0);
    }
    while (mark.len && at < len) {
        at += text_match(&mark, &client->mark, data + at, len - at);
        if (client->mark == mark.len) {
            client->mark = 0;
            marks++;
        }
    }
}

/* At most a few buffers: the others wait too. A record is smaller than the buffer, so none is left within OpenSSL. */
static void client_read(struct client *client)
{
    static char data[READ_SIZE];
    for (int i = 0; i < 4; i++) {
        ssize_t got = client->tls ? SSL_read(client->tls, data, sizeof data) : recv(client->fd, data, sizeof data, 0);
        if (got <= 0 && (client->tls ? tls_waits(client, (int)got) : got < 0 && errno == EAGAIN))
            return;
        if (got <= 0)
            die("the server closed a connection (%s)", client->state == SERVED ? "served" : "not served yet");
        client_came(client, data, (size_t)got);
        if (client->state == SERVED && !reading)
            return;
        if (!client->tls && got < (ssize_t)sizeof data)
            return;
    }
}

static void client_event(struct client *client)
{
    if (client->state == CONNECTING)
        client_connected(client);
    else if (client->state == HANDSHAKE)
        client_handshake(client);
    else
        client_read(client);
}

static void requests_load(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        die("%s: %s", path, strerror(errno));
    char *data = NULL;
    size_t len = 0, got = 0;
    do {
        len += got;
        data = realloc(data, len + READ_SIZE);
        got = fread(data + len, 1, READ_SIZE, file);
    } while (got);
    fclose(file);
    for (size_t at = 0; at < len; at += strlen(data + at) + 1) {
        requests = realloc(requests, (request_count + 1) * sizeof *requests);
        requests[request_count++] = data + at;
    }
    if (!request_count || data[len - 1])
        die("%s: no request that a NUL ends", path);
}

static void options_read(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const struct {
            const char *key;
            int *to;
        } numbers[] = {{"port", &port},       {"clients", (int *)&count}, {"parallel", &parallel}, {"tls", &with_tls},
                       {"version", &version}, {"resume", &resume},        {"read", &reading}};
        char *value = strchr(argv[i], '=');
        if (!value)
            die("not understood: %s", argv[i]);
        *value++ = '\0';
        bool known = true;
        if (strcmp(argv[i], "requests") == 0)
            requests_load(value);
        else if (strcmp(argv[i], "begun") == 0)
            text_set(&begun, value);
        else if (strcmp(argv[i], "mark") == 0)
            text_set(&mark, value);
        else
            known = false;
        for (size_t k = 0; k < sizeof numbers / sizeof numbers[0]; k++) {
            if (strcmp(argv[i], numbers[k].key) == 0) {
                *numbers[k].to = atoi(value);
                known = true;
            }
        }
        if (!known)
            die("not understood: %s", argv[i]);
    }
    if (!port || !count || !request_count || !begun.len)
        die("port, clients, requests and begun are needed");
}

static void prepare(void)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    poller = epoll_create1(EPOLL_CLOEXEC);
    clients = calloc(count, sizeof *clients);
    times = calloc(count, sizeof *times);
    if (!with_tls)
        return;
    context = SSL_CTX_new(TLS_client_method());
    int only = version == 12 ? TLS1_2_VERSION : TLS1_3_VERSION;
    SSL_CTX_set_min_proto_version(context, only);
    SSL_CTX_set_max_proto_version(context, only);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, on_session);
}

/* True: there is nothing more to wait for on the standard input. */
static bool command(void)
{
    static char line[64];
    static size_t len;
    ssize_t got = read(0, line + len, sizeof line - 1 - len);
    if (got <= 0)
        return true;
    len += (size_t)got;
    line[len] = '\0';
    if (strchr(line, '\n')) {
        expected = strtoull(line, NULL, 10);
        len = 0;
    }
    return false;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* One turn of the loop; false at the end. */
static bool turn(void)
{
    struct epoll_event events[256];
    int ready = epoll_wait(poller, events, 256, 200);
    for (int i = 0; i < ready; i++) {
        if (!events[i].data.ptr) {
            if (command())
                return false;
            continue;
        }
        client_event(events[i].data.ptr);
    }
    if (expected && marks >= expected) {
        printf("{\"marks\": %llu}\n", (unsigned long long)marks);
        fflush(stdout);
        expected = 0;
    }
    return true;
}

int main(int argc, char **argv)
{
    options_read(argc, argv);
    prepare();
    double begin = now(), progress = begin;
    unsigned seen = 0;
    while (served < count) {
        /* The first one's session must have come before the others can resume it. */
        unsigned most = resume && with_tls && !session ? 1 : count;
        while (opened < most && opened - served < (unsigned)parallel)
            client_open(&clients[opened++]);
        turn();
        if (served != seen)
            progress = now();
        else if (now() - progress > PATIENCE)
            die("%u of %u clients were served, and no more", served, count);
        seen = served;
    }
    double took = now() - begin;
    if (resume && with_tls && resumed < count - 1)
        die("only %u sessions were resumed", resumed);
    qsort(times, count, sizeof *times, by_value);
    printf("{\"connect_s\": %.6f, \"p50_s\": %.6f, \"p99_s\": %.6f}\n", took, times[count / 2],
           times[count * 99 / 100]);
    fflush(stdout);
    struct epoll_event commands = {.events = EPOLLIN};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &commands))
        die("epoll_ctl: %s", strerror(errno));
    while (turn())
        continue;
    return 0;
}
