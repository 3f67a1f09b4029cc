#include "engine/resp.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/alloc.h"
#include "gateway/clock.h"

#define READ_SIZE 65536
/* A listener without TLS takes our first packet for the beginning of a command, and waits for its end. */
#define SHAKE_MS 3000

void gw_resp_init(struct gw_resp *resp)
{
    memset(resp, 0, sizeof *resp);
    atomic_init(&resp->fd, -1);
}

bool gw_resp_is_open(const struct gw_resp *resp)
{
    return atomic_load(&resp->fd) >= 0;
}

void gw_resp_close(struct gw_resp *resp)
{
    int fd = atomic_exchange(&resp->fd, -1);
    SSL_free(resp->tls); /* without a close_notify: nobody waits for one, and it may be broken */
    resp->tls = NULL;
    if (fd >= 0)
        close(fd);
    if (resp->reader)
        redisReaderFree(resp->reader);
    resp->reader = NULL;
}

void gw_resp_interrupt(struct gw_resp *resp)
{
    int fd = atomic_load(&resp->fd);
    if (fd >= 0)
        shutdown(fd, SHUT_RDWR);
}

static void resp_fail(struct gw_resp *resp, const char *what, const char *why)
{
    snprintf(resp->error, sizeof resp->error, "%s%s%s", what, *what && *why ? ": " : "", why);
    gw_resp_close(resp);
}

/* --- waiting ---------------------------------------------------------------------------------------------------- */

static bool resp_wait(int fd, short events, int64_t until_ms)
{
    for (;;) {
        int64_t left = until_ms - gw_monotonic_ms();
        struct pollfd wait = {.fd = fd, .events = events};
        int ready = poll(&wait, 1, left > 0 ? (int)left : 0);
        if (ready > 0)
            return true;
        if (ready == 0 || errno != EINTR)
            return false;
    }
}

/* --- bytes ------------------------------------------------------------------------------------------------------ */

/* What a step of TLS came to, as send(2) and recv(2) say it: -1 and EAGAIN with what to wait for, 0 at the end. */
static ssize_t resp_tls_result(struct gw_resp *resp, int result, short *events)
{
    switch (SSL_get_error(resp->tls, result)) {
    case SSL_ERROR_WANT_READ:
        *events = POLLIN;
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_WANT_WRITE:
        *events = POLLOUT;
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SYSCALL:
        return errno ? -1 : 0;
    default:
        errno = EPROTO;
        return -1;
    }
}

static ssize_t resp_some_out(struct gw_resp *resp, const char *data, size_t len, short *events)
{
    *events = POLLOUT;
    if (!resp->tls)
        return send(resp->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    ERR_clear_error();
    errno = 0;
    int sent = SSL_write(resp->tls, data, (int)(len < INT_MAX ? len : INT_MAX));
    return sent > 0 ? sent : resp_tls_result(resp, sent, events);
}

static ssize_t resp_some_in(struct gw_resp *resp, char *data, size_t size, short *events)
{
    *events = POLLIN;
    if (!resp->tls)
        return recv(resp->fd, data, size, MSG_DONTWAIT);
    ERR_clear_error();
    errno = 0;
    int got = SSL_read(resp->tls, data, (int)size);
    return got > 0 ? got : resp_tls_result(resp, got, events);
}

static void resp_lost(struct gw_resp *resp, ssize_t result)
{
    int error = errno;
    char rest[256];
    if (resp->tls && result < 0 && !*resp->reason.text) { /* what it said before may still lie there */
        ERR_clear_error();
        (void)SSL_read(resp->tls, rest, sizeof rest);
    }
    if (*resp->reason.text) /* TLS knows why: an alert */
        resp_fail(resp, resp->reason.text, "");
    else if (result == 0)
        resp_fail(resp, "it closed the connection", "");
    else
        resp_fail(resp, "the connection is lost", strerror(error));
}

static bool resp_would_block(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static bool resp_write(struct gw_resp *resp, const char *data, size_t len, int64_t timeout_ms)
{
    int64_t until = gw_monotonic_ms() + timeout_ms;
    while (len && gw_resp_is_open(resp)) {
        short events;
        ssize_t sent = resp_some_out(resp, data, len, &events);
        if (sent > 0) {
            data += sent;
            len -= (size_t)sent;
        } else if (sent == 0 || !resp_would_block()) {
            resp_lost(resp, sent);
        } else if (!resp_wait(resp->fd, events, until)) {
            resp_fail(resp, "it does not take what is sent", "");
        }
    }
    return len == 0;
}

redisReply *gw_resp_read(struct gw_resp *resp, int64_t timeout_ms)
{
    int64_t until = timeout_ms ? gw_monotonic_ms() + timeout_ms : 0;
    char buffer[READ_SIZE];
    /* Where we may wait, nothing will be there yet: it is rarely faster than we are. */
    bool wait = timeout_ms && !(resp->tls && SSL_has_pending(resp->tls));
    short events = POLLIN;
    while (gw_resp_is_open(resp)) {
        void *reply = NULL;
        if (redisReaderGetReply(resp->reader, &reply) != REDIS_OK) {
            resp_fail(resp, "its reply is not understood", resp->reader->errstr);
            return NULL;
        }
        if (reply)
            return reply;
        if (wait && !resp_wait(resp->fd, events, until))
            return NULL;
        ssize_t got = resp_some_in(resp, buffer, sizeof buffer, &events);
        wait = false;
        if (got > 0)
            redisReaderFeed(resp->reader, buffer, (size_t)got);
        else if (got == 0 || !resp_would_block())
            resp_lost(resp, got);
        else if (!timeout_ms)
            return NULL;
        else
            wait = true;
    }
    return NULL;
}

/* --- commands --------------------------------------------------------------------------------------------------- */

void gw_resp_arg(struct gw_resp_args *args, const char *data, size_t len)
{
    if (args->count == args->allocated) {
        args->allocated = args->allocated ? args->allocated * 2 : 16;
        args->at = gw_reallocarray(args->at, (size_t)args->allocated, sizeof *args->at);
        args->len = gw_reallocarray(args->len, (size_t)args->allocated, sizeof *args->len);
    }
    args->at[args->count] = data;
    args->len[args->count++] = len;
}

void gw_resp_args_fini(struct gw_resp_args *args)
{
    free(args->at);
    free(args->len);
    memset(args, 0, sizeof *args);
}

bool gw_resp_send(struct gw_resp *resp, const struct gw_resp_args *args, int64_t timeout_ms)
{
    sds command = NULL; /* of the library's two formatters this one does without printf */
    long long len = redisFormatSdsCommandArgv(&command, args->count, args->at, args->len);
    if (len < 0) {
        resp_fail(resp, "a command is too long", "");
        return false;
    }
    bool sent = resp_write(resp, command, (size_t)len, timeout_ms);
    redisFreeSdsCommand(command);
    return sent;
}

redisReply *gw_resp_ask_args(struct gw_resp *resp, int64_t timeout_ms, const struct gw_resp_args *args)
{
    resp->error[0] = '\0';
    if (!gw_resp_send(resp, args, timeout_ms))
        return NULL;
    redisReply *reply = gw_resp_read(resp, timeout_ms);
    if (!reply && gw_resp_is_open(resp))
        resp_fail(resp, "it does not answer", ""); /* its reply would be taken for another command's */
    if (!reply || reply->type != REDIS_REPLY_ERROR)
        return reply;
    snprintf(resp->error, sizeof resp->error, "%s", reply->str);
    freeReplyObject(reply);
    return NULL;
}

redisReply *gw_resp_ask(struct gw_resp *resp, int64_t timeout_ms, ...)
{
    struct gw_resp_args args = {0};
    va_list words;
    va_start(words, timeout_ms);
    for (const char *word; (word = va_arg(words, const char *));)
        gw_resp_arg(&args, word, strlen(word));
    va_end(words);
    redisReply *reply = gw_resp_ask_args(resp, timeout_ms, &args);
    gw_resp_args_fini(&args);
    return reply;
}

const char *gw_resp_text(const redisReply *reply)
{
    return reply->str ? reply->str : "";
}

/* --- opening ---------------------------------------------------------------------------------------------------- */

static int resp_connect_one(struct gw_resp *resp, const struct gw_address *address, uint16_t port, int64_t until_ms)
{
    struct sockaddr_storage to = address->socket;
    int fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), error = 0, one = 1;
    socklen_t len = sizeof error;
    if (to.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)&to)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)&to)->sin_port = htons(port);
    if (fd < 0) {
        resp_fail(resp, "no socket", strerror(errno));
        return -1;
    }
    if (connect(fd, (const struct sockaddr *)&to, address->len) && errno != EINPROGRESS)
        error = errno;
    else if (!resp_wait(fd, POLLOUT, until_ms))
        error = ETIMEDOUT;
    else
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (!error) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        return fd;
    }
    resp_fail(resp, "", strerror(error));
    close(fd);
    return -1;
}

/* The handshake. False: it is closed, and resp->error says why. */
static bool resp_shake_hands(struct gw_resp *resp, const struct gw_resp_server *server, int64_t until_ms)
{
    resp->reason = (struct gw_tls_reason){.peer = server->peer};
    resp->tls = SSL_new(server->tls);
    if (!resp->tls || !SSL_set_fd(resp->tls, resp->fd)) {
        resp_fail(resp, "no memory for TLS", "");
        return false;
    }
    SSL_set_app_data(resp->tls, &resp->reason);
    for (;;) {
        short events = POLLIN;
        ERR_clear_error();
        errno = 0;
        int done = SSL_connect(resp->tls);
        if (done == 1)
            return true;
        ssize_t result = resp_tls_result(resp, done, &events);
        if (result < 0 && errno == EAGAIN) {
            if (resp_wait(resp->fd, events, until_ms))
                continue;
            resp_fail(resp, "it does not answer in the TLS handshake: is the port that of its TLS listener?", "");
            return false;
        }
        int error = errno;
        char line[256];
        for (unsigned long code; (code = ERR_get_error());) {
            ERR_error_string_n(code, line, sizeof line);
            gw_tls_note(&resp->reason, line);
        }
        errno = error;
        if (!*resp->reason.text && result == 0)
            gw_tls_note(&resp->reason, "unexpected eof");
        resp_lost(resp, result);
        return false;
    }
}

static bool resp_greet(struct gw_resp *resp, const struct gw_resp_server *server, int64_t timeout_ms)
{
    char number[16];
    redisReply *reply = NULL;
    if (server->password) {
        reply = server->username ? gw_resp_ask(resp, timeout_ms, "AUTH", server->username, server->password, NULL)
                                 : gw_resp_ask(resp, timeout_ms, "AUTH", server->password, NULL);
        if (!reply)
            return false;
        freeReplyObject(reply);
    }
    snprintf(number, sizeof number, "%u", server->database);
    reply = gw_resp_ask(resp, timeout_ms, "SELECT", number, NULL);
    bool good = reply != NULL;
    if (reply)
        freeReplyObject(reply);
    return good;
}

/* Every address of the name has its share of the time. */
static int resp_connect(struct gw_resp *resp, const struct gw_resp_server *server, int64_t timeout_ms)
{
    struct gw_lookup_answer answer;
    int64_t now = gw_monotonic_ms(), until = now + timeout_ms;
    gw_lookup_wait(server->lookup, timeout_ms / 2, &answer);
    if (!answer.count)
        resp_fail(resp, answer.reason, "");
    for (size_t i = 0; i < answer.count; i++) {
        now = gw_monotonic_ms();
        int64_t share = until > now ? (until - now) / (int64_t)(answer.count - i) : 0;
        int fd = resp_connect_one(resp, &answer.addresses[i], (uint16_t)atoi(server->port), now + share);
        if (fd < 0)
            continue;
        gw_lookup_prefer(server->lookup, &answer.addresses[i]);
        return fd;
    }
    return -1;
}

bool gw_resp_open(struct gw_resp *resp, const struct gw_resp_server *server, int64_t timeout_ms)
{
    gw_resp_close(resp);
    int fd = resp_connect(resp, server, timeout_ms);
    if (fd < 0)
        return false;
    atomic_store(&resp->fd, fd);
    resp->reader = redisReaderCreate();
    resp->reason.text[0] = '\0';
    if (server->tls &&
        !resp_shake_hands(resp, server, gw_monotonic_ms() + (timeout_ms < SHAKE_MS ? timeout_ms : SHAKE_MS)))
        return false;
    if (resp_greet(resp, server, timeout_ms))
        return true;
    gw_resp_close(resp);
    return false;
}
