/* tls_conn.c: a TLS connection. OpenSSL reads from the socket within a budget for each event, and writes into a
 * buffer that the worker's connections share; from there the bytes go to the socket or into the ring.
 *
 * Invariants:
 *  1. The shared output buffer is empty whenever control leaves this file.
 *  2. SSL_write() never finds the way blocked, because the buffer takes everything: no record is left half written
 *     inside OpenSSL.
 *  3. `sealed` holds what the socket did not take. While it holds anything, gw_tls_send() takes nothing.
 *  4. gw_tls_read() ends only when OpenSSL has no complete record left. So a socket in which nothing is left to read
 *     means that there is nothing left to read inside OpenSSL either, and a level-triggered epoll set is enough. */
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "gateway/alloc.h"
#include "gateway/log.h"
#include "net/address.h"
#include "net/listener.h"
#include "net/ring.h"
#include "net/sock.h"
#include "net/tls.h"
#include "net/worker.h"

/* What one record holds at most (RFC 8446 section 5.1). */
#define RECORD_BYTES 16384
/* Encrypted before the socket is asked: what it does not take is kept encrypted. */
#define SEND_BYTES (4 * RECORD_BYTES)
/* A peer that makes us answer (key updates, refused renegotiations) and does not read is cut off here. */
#define ANSWERS_BYTES (4 * RECORD_BYTES)
/* Kept by the shared buffer between events. */
#define OUT_KEPT_BYTES (2 * SEND_BYTES)

struct gw_tls_conn {
    SSL *ssl;             /* NULL: nothing has come yet */
    struct gw_buf sealed; /* encrypted bytes that the socket did not take */
    size_t sealed_at;     /* of which this many have been sent */
};

struct gw_tls_io {
    BIO_METHOD *method;
    struct gw_buf out; /* what OpenSSL wrote */
    size_t budget;     /* bytes that may still be read in this event */
    bool eof, broken;  /* of the connection that is being read */
    char room[RECORD_BYTES];
};

/* --- between OpenSSL and the socket ---------------------------------------------------------------------------- */

static int tls_bio_read(BIO *bio, char *to, int size)
{
    const struct gw_sock *sock = BIO_get_data(bio);
    struct gw_tls_io *io = sock->worker->tls_io;
    size_t want = (size_t)size < io->budget ? (size_t)size : io->budget;
    BIO_clear_retry_flags(bio);
    if (!want) {
        BIO_set_retry_read(bio);
        return -1;
    }
    ssize_t got;
    do
        got = recv(sock->fd, to, want, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    if (got > 0) {
        /* Less than wanted: the socket is empty. If it is not, or the peer has closed it, epoll says so. */
        io->budget = (size_t)got < want ? 0 : io->budget - (size_t)got;
        return (int)got;
    }
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        io->budget = 0;
        BIO_set_retry_read(bio);
        return -1;
    }
    io->eof = got == 0;
    io->broken = got < 0;
    return (int)got;
}

static int tls_bio_write(BIO *bio, const char *data, int len)
{
    const struct gw_sock *sock = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    gw_buf_add(&sock->worker->tls_io->out, data, (size_t)len);
    return len;
}

static long tls_bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)number, (void)pointer;
    const struct gw_sock *sock = BIO_get_data(bio);
    switch (command) {
    case BIO_CTRL_FLUSH:
        return 1;
    case BIO_CTRL_EOF:
        return sock->worker->tls_io->eof;
    default:
        return 0;
    }
}

struct gw_tls_io *gw_tls_io_create(void)
{
    struct gw_tls_io *io = gw_calloc(1, sizeof *io);
    io->method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sluice");
    if (io->method) {
        BIO_meth_set_read(io->method, tls_bio_read);
        BIO_meth_set_write(io->method, tls_bio_write);
        BIO_meth_set_ctrl(io->method, tls_bio_ctrl);
    }
    return io;
}

void gw_tls_io_destroy(struct gw_tls_io *io)
{
    if (!io)
        return;
    BIO_meth_free(io->method);
    gw_buf_fini(&io->out);
    free(io);
}

/* --- encrypted bytes to the socket ----------------------------------------------------------------------------- */

/* Returns how many bytes the socket took, or -1 if it is broken. */
static ssize_t tls_write(const struct gw_sock *sock, const char *data, size_t len)
{
    ssize_t sent;
    do
        sent = send(sock->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    return sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? 0 : sent;
}

bool gw_tls_waiting(const struct gw_sock *sock)
{
    return sock->tls->sealed.len > 0;
}

size_t gw_tls_unsent(const struct gw_sock *sock)
{
    return sock->tls->sealed.len - sock->tls->sealed_at;
}

void gw_tls_keep(struct gw_sock *sock, const char *data, size_t len)
{
    gw_buf_add(&sock->tls->sealed, data, len);
}

bool gw_tls_flush(struct gw_sock *sock)
{
    struct gw_tls_conn *tls = sock->tls;
    while (tls->sealed_at < tls->sealed.len) {
        ssize_t sent = tls_write(sock, tls->sealed.data + tls->sealed_at, tls->sealed.len - tls->sealed_at);
        if (sent < 0)
            return false;
        if (!sent)
            return true;
        tls->sealed_at += (size_t)sent;
    }
    gw_buf_fini(&tls->sealed);
    tls->sealed_at = 0;
    return true;
}

/* What OpenSSL wrote goes to the socket, or behind what waits for it. */
static bool tls_push(struct gw_sock *sock)
{
    struct gw_buf *out = &sock->worker->tls_io->out;
    ssize_t sent = 0;
    if (out->len && !gw_tls_waiting(sock))
        sent = tls_write(sock, out->data, out->len);
    if (sent >= 0 && (size_t)sent < out->len)
        gw_tls_keep(sock, out->data + sent, out->len - (size_t)sent);
    gw_buf_clear(out);
    if (out->cap > OUT_KEPT_BYTES)
        gw_buf_fini(out);
    return sent >= 0;
}

/* --- opening and closing --------------------------------------------------------------------------------------- */

void gw_tls_open(struct gw_sock *sock)
{
    sock->tls = gw_calloc(1, sizeof *sock->tls);
}

void gw_tls_close(struct gw_sock *sock)
{
    if (!sock->tls)
        return;
    SSL_free(sock->tls->ssl);
    gw_buf_fini(&sock->tls->sealed);
    free(sock->tls);
    sock->tls = NULL;
}

static bool tls_start(struct gw_sock *sock)
{
    SSL *ssl = gw_tls_session(sock->listener->tls);
    BIO *bio = ssl ? BIO_new(sock->worker->tls_io->method) : NULL;
    if (!bio) {
        SSL_free(ssl);
        return false;
    }
    BIO_set_data(bio, sock);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_accept_state(ssl);
    sock->tls->ssl = ssl;
    return true;
}

static void tls_begin(struct gw_tls_io *io)
{
    io->budget = GW_INPUT_BYTES;
    io->eof = io->broken = false;
    ERR_clear_error();
}

/* --- the handshake --------------------------------------------------------------------------------------------- */

static const char *tls_reason(const struct gw_tls_io *io)
{
    if (io->eof)
        return "the client closed the connection before it was complete";
    if (io->broken)
        return "the connection broke before it was complete";
    unsigned long error = ERR_peek_last_error();
    switch (ERR_GET_REASON(error)) {
    case SSL_R_HTTP_REQUEST:
        return "the client speaks plain HTTP; this listener expects https: or wss:";
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
        return "the client does not know the authority that signed the certificate (alert unknown_ca)";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
        return "the client refuses the certificate (alert bad_certificate or certificate_unknown)";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
        return "for the client the certificate has expired (alert certificate_expired)";
    default:
        break;
    }
    const char *text = ERR_reason_error_string(error);
    return text ? text : "OpenSSL gives no reason";
}

static void tls_log_failed(const struct gw_sock *sock, const char *why)
{
    if (!gw_log_enabled(GW_LOG_DEBUG))
        return;
    char address[INET6_ADDRSTRLEN];
    gw_address_format(&sock->origin, address);
    const struct gw_log_about about = {.address = address};
    gw_log_about(NULL, &about, GW_LOG_DEBUG, "web", "TLS handshake failed: %s", why);
}

enum gw_tls_step gw_tls_handshake(struct gw_sock *sock)
{
    struct gw_tls_io *io = sock->worker->tls_io;
    tls_begin(io);
    if (!sock->tls->ssl && !tls_start(sock)) {
        tls_log_failed(sock, "OpenSSL has no memory for it");
        return GW_TLS_FAILED;
    }
    int done = SSL_do_handshake(sock->tls->ssl);
    int why = done == 1 ? SSL_ERROR_NONE : SSL_get_error(sock->tls->ssl, done);
    bool failed = why != SSL_ERROR_NONE && why != SSL_ERROR_WANT_READ;
    if (failed)
        tls_log_failed(sock, tls_reason(io));
    if (!tls_push(sock) || failed)
        return GW_TLS_FAILED;
    return done == 1 ? GW_TLS_DONE : GW_TLS_MORE;
}

/* --- reading and writing --------------------------------------------------------------------------------------- */

bool gw_tls_read(struct gw_sock *sock)
{
    tls_begin(sock->worker->tls_io);
    return gw_tls_read_rest(sock);
}

bool gw_tls_read_rest(struct gw_sock *sock)
{
    struct gw_tls_io *io = sock->worker->tls_io;
    for (;;) {
        if (sock->paused)
            io->budget = 0; /* only what OpenSSL holds already */
        int got = SSL_read(sock->tls->ssl, sock->worker->input, GW_INPUT_BYTES);
        int why = got > 0 ? SSL_ERROR_NONE : SSL_get_error(sock->tls->ssl, got);
        /* Answers to what is no data: key updates, refused renegotiations, alerts. */
        if (io->out.len &&
            (!tls_push(sock) || sock->tls->sealed.len - sock->tls->sealed_at > ANSWERS_BYTES + SEND_BYTES))
            return false;
        if (gw_tls_waiting(sock) && !sock->out.blocked)
            gw_sock_block(sock);
        if (why == SSL_ERROR_WANT_READ)
            return true;
        if (why == SSL_ERROR_ZERO_RETURN && sock->ops->eof(sock))
            return true;
        if (why != SSL_ERROR_NONE) {
            gw_tls_shutdown(sock); /* as far as the socket takes it: the caller closes */
            return false;
        }
        if (!sock->ops->input(sock, sock->worker->input, (size_t)got))
            return false;
        ERR_clear_error();
    }
}

/* Bytes from the parts that go into one SSL_write(): those of one part as they lie there, or several copied. */
static size_t tls_gather(const struct iovec *parts, size_t count, size_t skip, char *room, const char **data)
{
    const char *first = (const char *)parts->iov_base + skip;
    size_t len = parts->iov_len - skip;
    *data = first;
    if (count == 1 || len >= RECORD_BYTES)
        return len < SEND_BYTES ? len : SEND_BYTES;
    *data = room;
    memcpy(room, first, len);
    for (size_t i = 1; i < count && len < RECORD_BYTES; i++) {
        size_t part = parts[i].iov_len < RECORD_BYTES - len ? parts[i].iov_len : RECORD_BYTES - len;
        memcpy(room + len, parts[i].iov_base, part);
        len += part;
    }
    return len;
}

/* Encrypts up to SEND_BYTES from `at` on into the shared buffer. Returns how many bytes, 0 if there are none, or -1.
 */
static ssize_t tls_encrypt(const struct gw_sock *sock, const struct iovec *parts, size_t count, size_t at)
{
    struct gw_tls_io *io = sock->worker->tls_io;
    size_t i = 0, done = 0;
    while (done < SEND_BYTES) {
        while (i < count && at >= parts[i].iov_len)
            at -= parts[i++].iov_len;
        if (i == count)
            break;
        const char *data;
        size_t len = tls_gather(parts + i, count - i, at, io->room, &data);
        ERR_clear_error();
        if (SSL_write(sock->tls->ssl, data, (int)len) != (int)len)
            return -1;
        done += len;
        at += len;
    }
    return (ssize_t)done;
}

ssize_t gw_tls_send(struct gw_sock *sock, struct iovec *parts, size_t count)
{
    struct gw_worker *worker = sock->worker;
    struct gw_buf *out = &worker->tls_io->out;
    if (!sock->tls->ssl || !SSL_is_init_finished(sock->tls->ssl))
        return -1; /* there is no way yet to say anything */
    if (gw_tls_waiting(sock) && !gw_tls_flush(sock))
        return -1;
    ssize_t taken = 0;
    while (!gw_tls_waiting(sock)) {
        ssize_t now = tls_encrypt(sock, parts, count, (size_t)taken);
        if (now < 0) {
            gw_buf_clear(out);
            return -1;
        }
        if (!now)
            break;
        taken += now;
        struct iovec one = {out->data, out->len};
        if (worker->joining && now < RECORD_BYTES && !sock->out.queued &&
            gw_ring_add(worker->ring, sock, &one, 1, out->len))
            gw_buf_clear(out);
        else if (!tls_push(sock))
            return -1;
        if (sock->out.queued)
            break;
    }
    return taken;
}

bool gw_tls_shutdown(struct gw_sock *sock)
{
    SSL *ssl = sock->tls->ssl;
    if (!ssl || !SSL_is_init_finished(ssl))
        return true;
    ERR_clear_error();
    if (!(SSL_get_shutdown(ssl) & SSL_SENT_SHUTDOWN))
        SSL_shutdown(ssl);
    return !tls_push(sock) || !gw_tls_waiting(sock); /* broken: there is nothing to wait for */
}
