/* broker_side.h: the broker's side of one connection, over TCP or TLS, for tests that are the broker themselves. */
#ifndef SLUICE_TESTS_BROKER_SIDE_H
#define SLUICE_TESTS_BROKER_SIDE_H

#include <errno.h>
#include <mosquitto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"

static int broker;
static SSL_CTX *client_tls, *broker_tls; /* NULL: plain */
static SSL *broker_ssl;

static ssize_t broker_again(int result)
{
    int why = SSL_get_error(broker_ssl, result);
    errno = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? EAGAIN : EIO;
    return -1;
}

static ssize_t broker_write(const void *data, size_t len)
{
    if (!broker_ssl)
        return send(broker, data, len, MSG_NOSIGNAL);
    ERR_clear_error();
    int sent = SSL_write(broker_ssl, data, (int)len);
    return sent > 0 ? sent : broker_again(sent);
}

static ssize_t broker_read(void *data, size_t len)
{
    if (!broker_ssl)
        return recv(broker, data, len, 0);
    ERR_clear_error();
    int got = SSL_read(broker_ssl, data, (int)len);
    return got > 0 ? got : broker_again(got);
}

/* A certificate signed by itself, which the client does not look at. */
static void broker_use_tls(struct mosquitto *mosq)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    broker_tls = SSL_CTX_new(TLS_server_method());
    client_tls = SSL_CTX_new(TLS_client_method());
    assert_int_equal(SSL_CTX_use_certificate(broker_tls, cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(broker_tls, key), 1);
    SSL_CTX_set_mode(broker_tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    X509_free(cert);
    EVP_PKEY_free(key);
    assert_int_equal(mosquitto_void_option(mosq, MOSQ_OPT_SSL_CTX, client_tls), MOSQ_ERR_SUCCESS);
    assert_int_equal(mosquitto_int_option(mosq, MOSQ_OPT_SSL_CTX_WITH_DEFAULTS, 0), MOSQ_ERR_SUCCESS);
}

static void broker_fini(void)
{
    SSL_free(broker_ssl);
    SSL_CTX_free(broker_tls);
    SSL_CTX_free(client_tls);
    broker_ssl = NULL;
    broker_tls = client_tls = NULL;
    close(broker);
}

#endif
