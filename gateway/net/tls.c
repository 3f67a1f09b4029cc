#include "net/tls.h"

#include <libwebsockets.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "http/conn.h"
#include "net/server.h"

/* Forward secrecy and authenticated encryption only (RFC 9325 section 4.2); TLS 1.3 has no others. */
#define CIPHERS_TLS12 "ECDHE+AESGCM:ECDHE+CHACHA20"
/* What one record holds at most (RFC 8446 section 5.1). */
#define RECORD_BYTES 16384

struct gw_tls {
    struct lws_vhost *vhost;
    SSL_CTX *ctx;                     /* the vhost's */
    const unsigned char *ticket_keys; /* the server's */
    X509 *cert;
    STACK_OF(X509) * chain;
    EVP_PKEY *key;
};

/* --- certificates
 * --------------------------------------------------------------------------------------------------- */

static void tls_drop(struct gw_tls *tls)
{
    X509_free(tls->cert);
    sk_X509_pop_free(tls->chain, X509_free);
    EVP_PKEY_free(tls->key);
}

/* The configuration has checked the texts, so this fails only without memory. */
static bool tls_read(struct gw_tls *tls, const struct gw_cfg_listen *listen)
{
    BIO *cert = BIO_new_mem_buf(listen->cert_pem, -1), *key = BIO_new_mem_buf(listen->key_pem, -1);
    *tls = (struct gw_tls){
        .vhost = tls->vhost, .ctx = tls->ctx, .ticket_keys = tls->ticket_keys, .chain = sk_X509_new_null()};
    if (cert && key && tls->chain) {
        tls->cert = PEM_read_bio_X509(cert, NULL, NULL, NULL);
        tls->key = PEM_read_bio_PrivateKey(key, NULL, NULL, (void *)(uintptr_t) "");
        X509 *link;
        while ((link = PEM_read_bio_X509(cert, NULL, NULL, NULL)))
            sk_X509_push(tls->chain, link);
    }
    BIO_free(cert);
    BIO_free(key);
    ERR_clear_error();
    return tls->cert && tls->key;
}

void gw_tls_renew(struct gw_tls *tls, const struct gw_cfg_listen *listen)
{
    struct gw_tls old = *tls;
    if (tls_read(tls, listen)) {
        tls_drop(&old);
        return;
    }
    gw_log(GW_LOG_ERROR, "web", "%s keeps its certificate: the new one can't be taken", listen->address);
    tls_drop(tls);
    *tls = old;
}

static int tls_choose_certificate(SSL *ssl, void *context)
{
    const struct gw_tls *tls = context;
    SSL_certs_clear(ssl);
    return SSL_use_cert_and_key(ssl, tls->cert, tls->key, tls->chain, 1) == 1;
}

static int tls_choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                               unsigned in_len, void *context)
{
    static const unsigned char ours[] = "\x08http/1.1";
    (void)ssl;
    (void)context;
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof ours - 1, in, in_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL; /* RFC 7301 section 3.2: it speaks only what we don't */
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

void gw_tls_on_context(struct lws_vhost *vhost, void *ssl_ctx)
{
    SSL_CTX *ctx = ssl_ctx;
    struct gw_tls *tls = lws_vhost_user(vhost);
    if (!tls || !ctx)
        return;
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_cipher_list(ctx, CIPHERS_TLS12);
    SSL_CTX_set_mode(ctx,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    /* A client's next connection may reach another worker: tickets must be good for all. */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"sluice", 6);
    SSL_CTX_set_tlsext_ticket_keys(ctx, (void *)(uintptr_t)tls->ticket_keys, GW_TICKET_KEYS_BYTES);
    SSL_CTX_set_cert_cb(ctx, tls_choose_certificate, tls);
    tls->ctx = ctx;
}

void gw_tls_prepare(struct gw_server *server, struct lws_context_creation_info *info)
{
    if (!server->client_ctx)
        server->client_ctx = SSL_CTX_new(TLS_client_method());
    info->options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS;
    info->provided_client_ssl_ctx = server->client_ctx;
}

void gw_tls_fini(struct gw_server *server)
{
    SSL_CTX_free(server->client_ctx);
}

struct gw_tls *gw_tls_create(struct gw_worker *worker, const struct gw_cfg_listen *listen, size_t index,
                             struct gw_buf *error)
{
    struct gw_tls *tls = gw_calloc(1, sizeof *tls);
    char name[32];
    snprintf(name, sizeof name, "tls%zu", index);
    tls->ticket_keys = worker->server->ticket_keys;
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .protocols = gw_server_protocols,
        .vhost_name = name,
        .user = tls,
        .alpn = "http/1.1",
    };
    gw_tls_prepare(worker->server, &info);
    info.options |= LWS_SERVER_OPTION_CREATE_VHOST_SSL_CTX;
    if (tls_read(tls, listen))
        tls->vhost = lws_create_vhost(worker->context, &info);
    if (tls->vhost && tls->ctx) {
        /* libwebsockets' own would go on without a word with a client that speaks only HTTP/2. */
        SSL_CTX_set_alpn_select_cb(tls->ctx, tls_choose_protocol, NULL);
        return tls;
    }
    gw_buf_printf(error, "can't listen on %s: libwebsockets could not set up TLS", listen->address);
    gw_tls_destroy(tls);
    return NULL;
}

void gw_tls_destroy(struct gw_tls *tls)
{
    if (!tls)
        return;
    tls_drop(tls);
    free(tls);
}

/* --- connections
 * ---------------------------------------------------------------------------------------------------- */

bool gw_tls_open(struct gw_conn *conn)
{
    lws_adopt_desc_t desc = {
        .vh = conn->listener->tls->vhost,
        .type = LWS_ADOPT_SOCKET | LWS_ADOPT_ALLOW_SSL, /* not HTTP: the bytes as they come (docs/decisions/0001) */
        .fd = {.sockfd = conn->fd},
        .vh_prot_name = "sluice",
        .opaque = conn,
    };
    struct lws *wsi = lws_adopt_descriptor_vhost_via_info(&desc);
    if (!wsi) {
        conn->fd = -1; /* libwebsockets has closed it */
        return false;
    }
    conn->under.wsi = wsi;
    conn->tls = conn->secure = true;
    lws_set_timeout(wsi, NO_PENDING_TIMEOUT, 0); /* connections have deadlines of our own */
    return true;
}

void gw_tls_on_input(struct gw_conn *conn)
{
    if (!conn->dead) /* then the only time-out is that of gw_tls_kill() */
        lws_set_timeout(conn->under.wsi, NO_PENDING_TIMEOUT, 0);
}

/* Bytes from the parts that go into one record: those of one part as they lie there, or several copied together. */
static size_t tls_gather(const struct iovec *parts, size_t count, size_t skip, char *room, const char **data)
{
    const char *first = (const char *)parts->iov_base + skip;
    size_t len = parts->iov_len - skip;
    if (count == 1 || len >= RECORD_BYTES) {
        *data = first;
        return len < RECORD_BYTES ? len : RECORD_BYTES;
    }
    memcpy(room, first, len);
    for (size_t i = 1; i < count && len < RECORD_BYTES; i++) {
        size_t part = parts[i].iov_len < RECORD_BYTES - len ? parts[i].iov_len : RECORD_BYTES - len;
        memcpy(room + len, parts[i].iov_base, part);
        len += part;
    }
    *data = room;
    return len;
}

ssize_t gw_tls_send(struct gw_conn *conn, struct iovec *parts, size_t count)
{
    SSL *ssl = lws_get_ssl(conn->under.wsi);
    char room[RECORD_BYTES];
    size_t sent = 0, i = 0, skip = 0;
    for (;;) {
        while (i < count && skip >= parts[i].iov_len)
            skip -= parts[i++].iov_len;
        if (i == count)
            return (ssize_t)sent;
        const char *data;
        size_t len = tls_gather(parts + i, count - i, skip, room, &data);
        ERR_clear_error();
        int written = SSL_write(ssl, data, (int)len);
        if (written <= 0) {
            int why = SSL_get_error(ssl, written);
            return why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ ? (ssize_t)sent : -1;
        }
        sent += (size_t)written;
        skip += (size_t)written;
    }
}

void gw_tls_want_write(struct gw_conn *conn)
{
    lws_callback_on_writable(conn->under.wsi);
}

void gw_tls_pause(struct gw_conn *conn, bool pause)
{
    lws_rx_flow_control(conn->under.wsi, !pause);
}

bool gw_tls_shutdown(struct gw_conn *conn)
{
    SSL *ssl = lws_get_ssl(conn->under.wsi);
    ERR_clear_error();
    int result = SSL_is_init_finished(ssl) ? SSL_shutdown(ssl) : 1;
    return result >= 0 || SSL_get_error(ssl, result) != SSL_ERROR_WANT_WRITE;
}

void gw_tls_kill(struct gw_conn *conn)
{
    lws_set_timeout(conn->under.wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_ASYNC);
}
