/* resp.h: a connection to a Valkey or Redis server: hiredis' formatter and parser (RESP2) on a socket of our own,
 * with or without TLS, so that every wait has an end and can be called off. Thread: one at a time, but for
 * gw_resp_interrupt(). */
#ifndef GW_ENGINE_RESP_H
#define GW_ENGINE_RESP_H

#include <hiredis.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lookup.h"
#include "base/tls_peer.h"
#include "gateway/buf.h"

/* Where the server is, and as whom we ask. Everything is borrowed. */
struct gw_resp_server {
    const char *host, *port;
    struct gw_lookup *lookup;        /* of host */
    const char *username, *password; /* NULL: none */
    unsigned database;
    SSL_CTX *tls; /* NULL: without */
    const struct gw_tls_peer *peer;
};

struct gw_resp {
    atomic_int fd; /* -1: closed */
    SSL *tls;      /* NULL: without */
    struct gw_tls_reason reason;
    redisReader *reader;
    char error[GW_TLS_REASON]; /* why it was closed, or what the server refused */
};

void gw_resp_init(struct gw_resp *resp);
/* May be called on a closed one. */
void gw_resp_close(struct gw_resp *resp);

/* Connects, authenticates and selects the database. False: resp->error says why, and it is closed. */
bool gw_resp_open(struct gw_resp *resp, const struct gw_resp_server *server, int64_t timeout_ms);

/* The arguments of one command, collected; what is added must stay where it is until it was sent. */
struct gw_resp_args {
    const char **at;
    size_t *len;
    int count, allocated;
};

void gw_resp_arg(struct gw_resp_args *args, const char *data, size_t len);
void gw_resp_args_fini(struct gw_resp_args *args);

/* Sends a command. False: it is closed. */
bool gw_resp_send(struct gw_resp *resp, const struct gw_resp_args *args, int64_t timeout_ms);
/* The next reply, the caller's to free with freeReplyObject(); waits at most timeout_ms (0: not at all). NULL: none
 * came; resp is closed if it is broken, and open if it was only the time. */
redisReply *gw_resp_read(struct gw_resp *resp, int64_t timeout_ms);

/* A command of words, NULL-terminated, and its reply. An error reply is put into resp->error and not returned; then
 * it is still open. NULL and closed: no reply came in time. */
redisReply *gw_resp_ask(struct gw_resp *resp, int64_t timeout_ms, ...) __attribute__((sentinel));
redisReply *gw_resp_ask_args(struct gw_resp *resp, int64_t timeout_ms, const struct gw_resp_args *args);

/* The text of a reply; empty if it is none. */
const char *gw_resp_text(const redisReply *reply);

bool gw_resp_is_open(const struct gw_resp *resp);
/* Whoever waits in it comes back, with it closed. Thread: any. */
void gw_resp_interrupt(struct gw_resp *resp);

/* `redis://host[:port][/database]`, `rediss://` with TLS; valkey:// and valkeys:// as well. NULL: it is good, and
 * *host, *port (malloc'd), *database and *tls are set; otherwise what is wrong with it. */
const char *gw_resp_parse_url(const char *url, char **host, char **port, unsigned *database, bool *tls);

#endif
