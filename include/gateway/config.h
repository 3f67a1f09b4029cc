/* config.h: the configuration as the rest of the gateway sees it: plain structs, filled by gateway/config/.
 *
 * A struct gw_config is immutable once loaded and reference-counted: a reload makes a new one, and whoever still uses
 * the old one keeps it alive. Thread: any. */
#ifndef GATEWAY_CONFIG_H
#define GATEWAY_CONFIG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/buf.h"
#include "gateway/error.h"
#include "gateway/history.h"
#include "gateway/options.h"

struct gw_codec;
struct gw_rollup;
struct gw_transform;
struct gw_engine;

struct gw_cfg_tls {
    char *ca_file;   /* NULL: the system's certificates */
    char *cert_file; /* client certificate; NULL: none */
    char *key_file;
    bool verify_hostname; /* default true */
};

struct gw_cfg_broker {
    char *url; /* as written, without a password */
    char *host;
    uint16_t port;
    bool tls_enabled;    /* mqtts:// */
    char *client_id;     /* never NULL after loading */
    bool client_id_made; /* not configured: made up for this process, new with each load */
    char *username;      /* NULL: anonymous */
    char *password;      /* from `password` or the first line of `password_file` */
    char *password_file;
    int protocol; /* 5 or 4 (MQTT 3.1.1), as libmosquitto's MQTT_PROTOCOL_V5 / V311; 0: 5, or 4 where the broker
                     takes no other */
    int64_t keepalive_ms;
    int64_t session_expiry_ms;  /* 0: clean start */
    int64_t reconnect_min_ms;   /* first delay of the backoff */
    int64_t reconnect_max_ms;   /* its cap */
    int64_t publish_timeout_ms; /* how long a client waits for the broker's acknowledgement */
    char *response_topic;       /* where answers to requests come; NULL: sluice/response/<client_id> */
    int64_t request_timeout_ms; /* how long a request waits for its answer if it doesn't say */
    size_t max_packet;          /* larger payloads from the broker are dropped and counted */
    int queue_while_down; /* publish: hold up to publish_timeout while the broker is away; false: refuse at once */
    struct gw_cfg_tls tls;
};

struct gw_cfg_listen {
    char *address;   /* as written */
    char *host;      /* numeric address: "0.0.0.0", "::"; NULL: a Unix socket */
    char *path;      /* of the Unix socket; NULL: TCP */
    uint16_t port;   /* 0: any free one */
    char *mode;      /* of the Unix socket's file, octal digits */
    char *cert_file; /* PEM, the chain; NULL: no TLS */
    char *key_file;
    char *cert_pem; /* what the two held when they were read; NULL: no TLS */
    char *key_pem;
    bool proxy_protocol;  /* every connection begins with a PROXY header (HAProxy, versions 1 and 2) */
    const char *protocol; /* static: "http", or a transport's stream_protocol */
};

/* What a role may do. Filters may hold claims: plants/{claims.site}/#. */
struct gw_cfg_role {
    char *name;
    struct gw_strings subscribe, publish, history;
    bool has_history;         /* without it, history goes as far as subscribe */
    struct gw_strings fields; /* members of JSON objects that it sees; empty: all */
};

struct gw_cfg_api_key {
    char *name;
    char *hash; /* sha256:<64 hexadecimal digits> of the key */
    struct gw_strings roles;
};

struct gw_cfg_jwt {
    char *key_file;    /* PEM public key or certificate (RS256, ES256, EdDSA …); NULL: none */
    char *secret_file; /* its bytes, without a line end at the end, are the secret of HS256 … */
    char *jwks_file;
    char *jwks_url;
    int64_t jwks_refresh_ms;
    struct gw_strings algorithms; /* empty: what the keys are made for */
    char *issuer;                 /* NULL: not checked */
    struct gw_strings audience;   /* empty: not checked; else one of them must be in `aud` */
    int64_t leeway_ms;
    char *roles_claim;
    char *permissions_claim; /* NULL: none is looked at */
};

struct gw_cfg_auth {
    bool enabled; /* there is an auth: block: whatever is not granted is refused */
    bool has_jwt;
    struct gw_cfg_jwt jwt;
    struct gw_cfg_api_key *api_keys;
    size_t api_key_count;
    struct gw_strings anonymous; /* roles of a client without credentials; empty: it may do nothing */
    char *cookie;                /* name of the cookie with a token; NULL: none */
    int64_t hello_timeout_ms;    /* for a WebSocket without credentials to say hello, where nothing is anonymous */
    int64_t expiry_warning_ms;
    int64_t ticket_ttl_ms;
};

#define GW_STALE_AUTO (-1)

enum gw_rate_policy { GW_RATE_ALL, GW_RATE_LATEST, GW_RATE_ON_CHANGE };

struct gw_cfg_route {
    char *topic;              /* with captures, as written */
    struct gw_strings except; /* topics, with captures, that are not the route's although `topic` matches them */
    char *channel;            /* template; NULL: the topic itself */
    const struct gw_codec *codec;
    char *content_type;                   /* of the payloads, over HTTP; NULL: as they say or look */
    const struct gw_transform *transform; /* NULL: a payload is one message, and the codec makes it */
    void *transform_options;              /* as the transform's table says; NULL: it has none */
    int qos;                              /* of the subscription: 0, 1, 2 */
    struct gw_history_limits history;
    const struct gw_history_engine *history_engine;
    struct gw_strings rollup_fields, rollup_every, rollup_keep; /* as written */
    struct gw_rollup *rollup;                                   /* what they say; NULL: nothing is rolled up */
    enum gw_rate_policy rate;
    int64_t rate_interval_ms; /* 0: none */
    double rate_deadband;     /* a number may differ by so much and still be the same */
    char *rate_pointer;       /* JSON pointer (RFC 6901) to what on_change looks at; NULL: the whole value */
    int64_t stale_ms;      /* a channel is stale after so long without a message; 0: never, GW_STALE_AUTO: learnt */
    char *available_topic; /* template; NULL: there is none */
    struct gw_strings online; /* payloads of it that say that the device is there */
    bool publish;             /* there is a publish: block */
    char *publish_topic;      /* template; NULL: the topic itself */
    int publish_qos;
    bool publish_retain;
    bool publish_identify;            /* the broker hears who publishes, by a user property of MQTT 5 */
    bool confirm;                     /* there is a publish.confirm: block */
    struct gw_strings confirm_fields; /* JSON pointers to what is compared; empty: the whole value */
    struct gw_strings confirm_change; /* commands that another value than before shows */
    struct gw_strings confirm_any;    /* commands that any state shows */
    char *confirm_topic;              /* template of the topic that shows the state; NULL: the channel does */
    int64_t confirm_within_ms;
    double confirm_tolerance; /* numbers that differ by so much are the same */
    int line, column;         /* of the route in the file, 1-based */
};

enum gw_slow_policy { GW_SLOW_GAP, GW_SLOW_CLOSE };

struct gw_cfg_limits {
    uint32_t connections;             /* open sockets in all */
    uint32_t connections_per_address; /* 0: no bound of its own */
    uint32_t subscriptions;           /* per session */
    size_t frame_bytes;               /* WebSocket message from a client, and HTTP body */
    size_t header_bytes;              /* HTTP request line and headers */
    size_t queue_bytes;               /* waiting for one session */
    enum gw_slow_policy slow;         /* what happens to a session whose queue is full and whose history is gone */
    uint32_t inbox;                   /* messages waiting for one worker */
    uint32_t publish_queue;           /* publishes waiting for the broker, all clients together */
    uint32_t levels;                  /* of a topic that is published to: parts between slashes */
    uint32_t publishes_per_session;   /* publishes of one session waiting for the broker, or to be confirmed */
    uint32_t confirms;                /* publishes of one worker's clients waiting to be confirmed */
    uint32_t aggregates;              /* different ones of one worker's subscriptions */
    uint32_t windows;                 /* of them that are open, of one worker */
    uint32_t idempotency_keys;        /* remembered; 0: none */
    int64_t idempotency_ms;           /* how long */
    uint32_t channels;
    uint32_t payload_messages; /* that a transform may make of one payload */
    size_t properties_bytes;   /* that come along with one payload from the broker */
    size_t history_bytes;      /* history of all channels together */
    uint32_t connect_rate;     /* new connections a second from one address; 0: no bound */
    uint32_t message_rate;     /* frames a second from one session; 0: no bound */
    uint32_t publish_rate;     /* publishes a second of one session, and of one address over HTTP; 0: no bound */
    size_t memory_bytes;       /* resident memory beyond which new connections are refused; 0: no bound */
};

struct gw_cfg_web {
    int64_t heartbeat_ms;              /* WebSocket ping on an idle socket */
    int64_t poll_wait_ms;              /* default of `wait` */
    int64_t poll_wait_max_ms;          /* its cap */
    int64_t request_timeout_ms;        /* to send a complete request */
    int64_t keepalive_ms;              /* idle HTTP connection between requests */
    int64_t shutdown_ms;               /* how long SIGTERM waits for acknowledgements */
    bool compression;                  /* permessage-deflate for WebSockets that offer it */
    size_t compression_min;            /* smaller messages are sent as they are */
    struct gw_strings origins;         /* of web pages that may use the gateway, besides its own; "*": any */
    struct gw_strings frame_ancestors; /* pages that may show the dashboard in a frame; empty: none */
    char *base_path;                   /* before every path, such as /sluice; NULL: none */
    struct gw_strings hosts; /* names by which it may be asked, besides addresses and localhost; empty: any */
    struct gw_strings trusted_proxies; /* addresses and networks whose forwarding headers count */
};

struct gw_config {
    atomic_uint refs;
    char *file;
    struct gw_cfg_broker broker;
    struct gw_cfg_listen *listen;
    size_t listen_count;
    uint32_t workers; /* 0: by the number of cores */
    struct gw_cfg_route *routes;
    size_t route_count;
    struct gw_cfg_auth auth;
    struct gw_cfg_role *roles;
    size_t role_count;
    struct gw_cfg_limits limits;
    struct gw_cfg_web web;
    char *user; /* to become once everything is bound; NULL: stay */
    bool sandbox;
    int log_level;  /* enum gw_log_level */
    int log_format; /* enum gw_log_format */
    void **options; /* of extensions; use gw_options_of() */
};

/* Reads FILE and everything it names. On success *out has one reference; otherwise *out is NULL and *problems holds
 * one line `file:line:column: path: what is wrong (what was expected)` per problem, in the order of the file. Either
 * way it may hold warnings, `file:line:column: warning: path: …`. */
GW_MUST_CHECK enum gw_err gw_config_load(const char *file, struct gw_config **out, struct gw_buf *problems);

struct gw_config *gw_config_ref(struct gw_config *config);
/* NULL is fine. */
void gw_config_unref(struct gw_config *config);

/* The options of an extension, as its table in this file says; they live as long as the configuration. NULL: the
 * extension is off, since the file has no such table. */
const void *gw_options_of(const struct gw_config *config, const struct gw_options *options);

/* The engine that the file puts in force. */
const struct gw_engine *gw_config_engine(const struct gw_config *config);

#endif
