/* tls.h: TLS for listeners: libwebsockets does the handshake and reads, OpenSSL's SSL_write() is called from here,
 * because while libwebsockets holds unsent output of a raw socket it does not read it (docs/decisions/0001). Thread:
 * the worker's, except where it says so. */
#ifndef GW_NET_TLS_H
#define GW_NET_TLS_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "gateway/buf.h"
#include "gateway/config.h"

struct gw_conn;
struct gw_tls; /* one listener of one worker: a vhost and the certificate in force */
struct gw_server;
struct gw_worker;
struct lws_context_creation_info;
struct lws_vhost;

/* For the context and each vhost of a gateway that has TLS. libwebsockets wants to be ready for TLS as a client too;
 * what it makes for that itself it does not free. Thread: main. */
void gw_tls_prepare(struct gw_server *server, struct lws_context_creation_info *info);
void gw_tls_fini(struct gw_server *server);
/* NULL: *error says why. Thread: main, before the worker starts. */
struct gw_tls *gw_tls_create(struct gw_worker *worker, const struct gw_cfg_listen *listen, size_t index,
                             struct gw_buf *error);
void gw_tls_destroy(struct gw_tls *tls);
/* New handshakes get this certificate; whoever is connected notices nothing. */
void gw_tls_renew(struct gw_tls *tls, const struct gw_cfg_listen *listen);
/* LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS: the vhost's SSL_CTX is there. */
void gw_tls_on_context(struct lws_vhost *vhost, void *ssl_ctx);

/* sock.h's functions for connections with TLS. */
bool gw_tls_open(struct gw_conn *conn);
/* Bytes have come. Once the handshake is done libwebsockets would give the peer a few seconds and then close,
 * whatever happens in them: this ends that. */
void gw_tls_on_input(struct gw_conn *conn);
ssize_t gw_tls_send(struct gw_conn *conn, struct iovec *parts, size_t count);
void gw_tls_want_write(struct gw_conn *conn);
void gw_tls_pause(struct gw_conn *conn, bool pause);
bool gw_tls_shutdown(struct gw_conn *conn);
void gw_tls_kill(struct gw_conn *conn);

#endif
