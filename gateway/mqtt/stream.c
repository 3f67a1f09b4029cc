#include "mqtt/stream.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

/* What an operation of OpenSSL that brought nothing means: 0: not now; -1: the end, or an error. */
static ssize_t stream_failed(const SSL *ssl, int result)
{
    int why = SSL_get_error(ssl, result);
    ERR_clear_error();
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static ssize_t stream_plain(ssize_t result)
{
    if (result > 0)
        return result;
    return result < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) ? 0 : -1;
}

ssize_t gw_stream_peek(struct mosquitto *mosq, bool tls, void *buffer, size_t size)
{
    if (!tls)
        return stream_plain(recv(mosquitto_socket(mosq), buffer, size, MSG_PEEK | MSG_DONTWAIT));
    SSL *ssl = mosquitto_ssl_get(mosq);
    if (!ssl)
        return -1;
    ERR_clear_error();
    int got = SSL_peek(ssl, buffer, (int)size);
    return got > 0 ? got : stream_failed(ssl, got);
}

bool gw_stream_drop(struct mosquitto *mosq, bool tls, void *buffer, size_t len)
{
    SSL *ssl = tls ? mosquitto_ssl_get(mosq) : NULL;
    while (len) {
        ssize_t got;
        if (ssl)
            got = SSL_read(ssl, buffer, (int)len);
        else
            got = recv(mosquitto_socket(mosq), buffer, len, MSG_TRUNC | MSG_DONTWAIT); /* tcp(7): without copying */
        if (got == 0 || (got < 0 && (ssl || errno != EINTR)))
            return false;
        len -= got > 0 ? (size_t)got : 0;
    }
    return true;
}

ssize_t gw_stream_send(struct mosquitto *mosq, bool tls, const void *data, size_t len)
{
    if (!tls)
        return stream_plain(send(mosquitto_socket(mosq), data, len, MSG_DONTWAIT | MSG_NOSIGNAL));
    SSL *ssl = mosquitto_ssl_get(mosq);
    if (!ssl)
        return -1;
    ERR_clear_error();
    int sent = SSL_write(ssl, data, (int)len);
    return sent > 0 ? sent : stream_failed(ssl, sent);
}

bool gw_stream_pending(struct mosquitto *mosq, bool tls)
{
    const SSL *ssl = tls ? mosquitto_ssl_get(mosq) : NULL;
    return ssl && SSL_pending(ssl) > 0;
}
