/* tls.c: a TLS listener: its certificate, and what it speaks. */
#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/protocols.h"
#include "gateway/alloc.h"
#include "gateway/log.h"
#include "net/server.h"

/* Forward secrecy and authenticated encryption only (RFC 9325 section 4.2); TLS 1.3 has no others. */
#define CIPHERS_TLS12 "ECDHE+AESGCM:ECDHE+CHACHA20"

struct gw_tls {
    SSL_CTX *ctx;                     /* connections hold references: a renewed certificate is a new one */
    const unsigned char *ticket_keys; /* the server's */
    unsigned char alpn[32];           /* the protocol's name (RFC 7301 section 3.1), with its length before it */
};

static int tls_choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                               unsigned in_len, void *context)
{
    const struct gw_tls *tls = context;
    (void)ssl;
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_len, tls->alpn, tls->alpn[0] + 1u, in, in_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL; /* RFC 7301 section 3.2: it speaks only what we don't */
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* The configuration has checked that the texts can be read and fit together. OpenSSL may still refuse them, for
 * instance because the key is too short for its security level. */
static bool tls_use(SSL_CTX *ctx, const struct gw_cfg_listen *listen)
{
    BIO *cert_bio = BIO_new_mem_buf(listen->cert_pem, -1), *key_bio = BIO_new_mem_buf(listen->key_pem, -1);
    STACK_OF(X509) *chain = sk_X509_new_null();
    X509 *cert = NULL, *link;
    EVP_PKEY *key = NULL;
    if (cert_bio && key_bio && chain) {
        cert = PEM_read_bio_X509(cert_bio, NULL, NULL, NULL);
        key = PEM_read_bio_PrivateKey(key_bio, NULL, NULL, (void *)(uintptr_t) "");
        while ((link = PEM_read_bio_X509(cert_bio, NULL, NULL, NULL)))
            sk_X509_push(chain, link);
    }
    ERR_clear_error();
    bool done = cert && key && SSL_CTX_use_cert_and_key(ctx, cert, key, chain, 1) == 1;
    X509_free(cert);
    sk_X509_pop_free(chain, X509_free);
    EVP_PKEY_free(key);
    BIO_free(cert_bio);
    BIO_free(key_bio);
    return done;
}

static SSL_CTX *tls_context(const struct gw_tls *tls, const struct gw_cfg_listen *listen)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (!ctx)
        return NULL;
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_cipher_list(ctx, CIPHERS_TLS12);
    SSL_CTX_set_mode(ctx, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(ctx, 1); /* one call for header and body of a record */
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    /* A client's next connection may reach another worker: tickets must be good for all. */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"sluice", 6);
    SSL_CTX_set_tlsext_ticket_keys(ctx, (void *)(uintptr_t)tls->ticket_keys, GW_TICKET_KEYS_BYTES);
    SSL_CTX_set_num_tickets(ctx, 1); /* a page has one connection, and gets a new ticket with the next one */
    SSL_CTX_set_alpn_select_cb(ctx, tls_choose_protocol, (void *)(uintptr_t)tls);
    if (tls_use(ctx, listen))
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

static const char *tls_problem(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    return reason ? reason : "OpenSSL gives no reason";
}

void gw_tls_renew(struct gw_tls *tls, const struct gw_cfg_listen *listen)
{
    SSL_CTX *ctx = tls_context(tls, listen);
    if (ctx) {
        SSL_CTX_free(tls->ctx);
        tls->ctx = ctx;
        return;
    }
    gw_log(GW_LOG_ERROR, "web", "%s keeps its certificate: OpenSSL refuses the new one in %s with the key in %s: %s",
           listen->address, listen->cert_file, listen->key_file, tls_problem());
}

struct gw_tls *gw_tls_create(struct gw_worker *worker, const struct gw_cfg_listen *listen, struct gw_buf *error)
{
    struct gw_tls *tls = gw_calloc(1, sizeof *tls);
    tls->ticket_keys = worker->server->ticket_keys;
    const char *protocol = strcmp(listen->protocol, GW_PROTOCOL_HTTP) ? listen->protocol : "http/1.1";
    tls->alpn[0] = (unsigned char)snprintf((char *)tls->alpn + 1, sizeof tls->alpn - 1, "%s", protocol);
    tls->ctx = tls_context(tls, listen);
    if (tls->ctx)
        return tls;
    gw_buf_printf(error, "can't listen on %s: OpenSSL refuses the certificate in %s with the key in %s: %s",
                  listen->address, listen->cert_file, listen->key_file, tls_problem());
    gw_tls_destroy(tls);
    return NULL;
}

void gw_tls_destroy(struct gw_tls *tls)
{
    if (!tls)
        return;
    SSL_CTX_free(tls->ctx);
    free(tls);
}

SSL *gw_tls_session(const struct gw_tls *tls)
{
    return SSL_new(tls->ctx);
}
