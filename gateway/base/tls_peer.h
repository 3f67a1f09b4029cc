/* tls_peer.h: TLS as a client: the certificates and checks, and the reason why a handshake failed, in words that name
 * the key of the configuration to be changed. Thread: one at a time for each reason. */
#ifndef GW_BASE_TLS_PEER_H
#define GW_BASE_TLS_PEER_H

#include <openssl/types.h>
#include <stdbool.h>

#define GW_TLS_REASON 640

/* The other side. All texts are borrowed. */
struct gw_tls_peer {
    const char *who;  /* "the broker" */
    const char *host; /* whose name the certificate must have */
    const char *key;  /* of the configuration: "broker.tls" */
    const char *url_key;
    const char *plain;                          /* scheme without TLS */
    const char *chain;                          /* how it is given the whole chain */
    const char *ca_file, *cert_file, *key_file; /* NULL: the system's, none, none */
    bool verify_hostname;
};

struct gw_tls_reason {
    const struct gw_tls_peer *peer;
    bool final;               /* nothing that comes later tells more */
    char text[GW_TLS_REASON]; /* why the last handshake failed; "": nothing is known */
};

/* NULL: reason->text says why. The reason is that of all connections of the context without one of their own
 * (SSL_set_app_data()); it must outlive them. */
SSL_CTX *gw_tls_peer_context(struct gw_tls_reason *reason);

/* A line of OpenSSL's error queue. */
void gw_tls_note(struct gw_tls_reason *reason, const char *line);

#endif
