/* http_client.h: requests to a running gateway, for the commands that need one. Thread: main. */
#ifndef GW_APP_HTTP_CLIENT_H
#define GW_APP_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include "gateway/buf.h"
#include "gateway/config.h"

struct gw_http_client;

struct gw_http_where {
    const char *url;                /* of the gateway; NULL: the first listener of `config` that speaks HTTP */
    const struct gw_config *config; /* NULL where there is a url */
    const char *token;              /* a JWT or an API key; NULL: none */
    long patience_ms;               /* for an answer that is no stream; 0: 60 seconds */
};

/* NULL: `problem` has one line. */
struct gw_http_client *gw_http_client_create(const struct gw_http_where *where, struct gw_buf *problem);
void gw_http_client_free(struct gw_http_client *client); /* NULL is fine */

/* The address, for messages. */
const char *gw_http_client_address(const struct gw_http_client *client);

/* Adds `text` to a path or query, percent-encoded. */
void gw_http_client_escape(struct gw_buf *out, const char *text);

/* Reads what the gateway says of an error, {"type":"error","code":…,"message":…}, and adds it in words. Returns false
 * if it is nothing of the kind. `code` gets the code, cut off where it is longer. */
#define GW_HTTP_CODE_SIZE 32
bool gw_http_client_error(const struct gw_buf *json, char code[GW_HTTP_CODE_SIZE], struct gw_buf *out);

/* What comes of a request. */
enum gw_http_outcome {
    GW_HTTP_GOOD,    /* 2xx, to its end */
    GW_HTTP_REFUSED, /* the gateway said no, and would again: `problem` says why */
    GW_HTTP_LATER    /* no answer, not a whole one, or a refusal that passes: `problem` says why */
};

/* Called with each piece of a body that has the status 200; false ends the transfer. */
typedef bool (*gw_http_piece)(void *context, const char *data, size_t len);

/* `path` begins with a slash and comes after the base path. `body` NULL: GET, else POST. `piece` NULL: *answer
 * (init'd) gets the body, which is at most 1 MiB. Streams are given up after two minutes without a byte, everything
 * else after the client's patience. */
enum gw_http_outcome gw_http_client_ask(struct gw_http_client *client, const char *path, const struct gw_slice *body,
                                        gw_http_piece piece, void *context, struct gw_buf *answer,
                                        struct gw_buf *problem);

#endif
