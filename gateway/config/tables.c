/* tables.c: every key of the configuration. */
#include <stdint.h>

#include "config/fields.h"

#define CFG(member) offsetof(struct gw_config, member)
#define ROUTE(member) offsetof(struct gw_cfg_route, member)
#define MS(seconds) ((int64_t)(seconds) * 1000)
#define KIB(n) ((int64_t)(n) << 10)
#define MIB(n) ((int64_t)(n) << 20)
#define DAY MS(86400)

static const struct gw_choice choices_protocol[] = {{"5", 5}, {"3.1.1", 4}, {NULL, 0}};
static const struct gw_choice choices_qos[] = {{"0", 0}, {"1", 1}, {"2", 2}, {NULL, 0}};
static const struct gw_choice choices_while_down[] = {{"refuse", 0}, {"queue", 1}, {NULL, 0}};
static const struct gw_choice choices_rate[] = {{"all", GW_RATE_ALL}, {"latest", GW_RATE_LATEST},
                                               {"on_change", GW_RATE_ON_CHANGE}, {NULL, 0}};
static const struct gw_choice choices_slow[] = {{"gap", GW_SLOW_GAP}, {"close", GW_SLOW_CLOSE}, {NULL, 0}};

static const struct gw_field fields_tls[] = {
    {.key = "ca_file", .type = GW_FIELD_FILE, .offset = CFG(broker.tls.ca_file),
     .doc = "Certificates that may have signed the broker's; without it those in /etc/ssl/certs."},
    {.key = "cert_file", .type = GW_FIELD_FILE, .offset = CFG(broker.tls.cert_file),
     .doc = "Client certificate, PEM; together with `key_file`."},
    {.key = "key_file", .type = GW_FIELD_FILE, .offset = CFG(broker.tls.key_file), .doc = "Its private key, PEM."},
    {.key = "verify_hostname", .type = GW_FIELD_BOOL, .offset = CFG(broker.tls.verify_hostname), .def = "true",
     .doc = "Must the broker's certificate be for the host in the URL?"},
    {.key = NULL},
};

static const struct gw_field fields_reconnect[] = {
    {.key = "min", .type = GW_FIELD_DURATION, .offset = CFG(broker.reconnect_min_ms), .min = 50, .max = MS(3600),
     .def = "500ms", .doc = "Bound of the first delay before connecting again; it doubles with each attempt."},
    {.key = "max", .type = GW_FIELD_DURATION, .offset = CFG(broker.reconnect_max_ms), .min = 50, .max = MS(3600),
     .def = "30s", .doc = "The bound grows no further; not below `min`. Every delay is drawn at random between a quarter of its bound"
            " and the bound."},
    {.key = NULL},
};

const struct gw_field gw_fields_broker[] = {
    {.key = "url", .type = GW_FIELD_STRING, .offset = CFG(broker.url), .required = true,
     .doc = "`mqtt://host[:1883]` or `mqtts://host[:8883]`, IPv6 as `[::1]`; credentials in it are refused."},
    {.key = "client_id", .type = GW_FIELD_STRING, .offset = CFG(broker.client_id),
     .doc = "MQTT client identifier; default `sluice-<hostname>-<random>`."},
    {.key = "username", .type = GW_FIELD_STRING, .offset = CFG(broker.username), .doc = "MQTT user name."},
    {.key = "password", .type = GW_FIELD_STRING, .offset = CFG(broker.password),
     .doc = "Its password, only with `username`; better `${MQTT_PASSWORD}` or `password_file` than the word itself."},
    {.key = "password_file", .type = GW_FIELD_LIST, /* read by config.c: its first line is the password */
     .doc = "File whose first line (up to 1,023 octets) is the password, instead of `password`."},
    {.key = "protocol", .type = GW_FIELD_CHOICE, .offset = CFG(broker.protocol), .def = "5", .choices = choices_protocol,
     .doc = "MQTT version."},
    {.key = "keepalive", .type = GW_FIELD_DURATION, .offset = CFG(broker.keepalive_ms), .min = MS(5), .max = MS(3600),
     .def = "30s", .doc = "MQTT keep-alive, in whole seconds: how soon a dead connection to the broker is noticed."},
    {.key = "session_expiry", .type = GW_FIELD_DURATION, .offset = CFG(broker.session_expiry_ms), .min = 0,
     .max = MS(4294967294), .def = "0s",
     .doc = "Above 0 the broker keeps QoS 1 and 2 messages while the gateway is away; needs `client_id`. Rounded up to"
            " seconds. With protocol 3.1.1 the broker itself decides how long."},
    {.key = "reconnect", .type = GW_FIELD_TABLE, .table = fields_reconnect, .doc = "Back-off between attempts."},
    {.key = "publish_timeout", .type = GW_FIELD_DURATION, .offset = CFG(broker.publish_timeout_ms), .min = 100,
     .max = MS(300), .def = "10s", .doc = "How long a client waits for the broker's acknowledgement."},
    {.key = "request_timeout", .type = GW_FIELD_DURATION, .offset = CFG(broker.request_timeout_ms), .min = 100,
     .max = MS(300), .def = "5s", .doc = "How long a request waits for the device's answer if it doesn't say."},
    {.key = "response_topic", .type = GW_FIELD_STRING, .offset = CFG(broker.response_topic),
     .doc = "Topic for the answers to requests, this gateway's alone; default `sluice/response/<client_id>`."},
    {.key = "while_down", .type = GW_FIELD_CHOICE, .offset = CFG(broker.queue_while_down), .def = "refuse",
     .choices = choices_while_down,
     .doc = "Publishes while the broker is away: refused at once (`upstream_down`), or queued up to `publish_timeout` and"
            " then refused. At QoS 0 a client has `accepted` by then, so nobody is told."},
    {.key = "max_packet", .type = GW_FIELD_SIZE, .offset = CFG(broker.max_packet), .min = KIB(1), .max = MIB(256),
     .def = "2MiB", .doc = "Larger payloads from the broker are dropped and counted (`sluice_mqtt_too_large_total`)."},
    {.key = "tls", .type = GW_FIELD_TABLE, .table = fields_tls, .doc = "For `mqtts://` only."},
    {.key = NULL},
};

static const struct gw_field fields_listen_tls[] = {
    {.key = "cert_file", .type = GW_FIELD_FILE, .offset = offsetof(struct gw_cfg_listen, cert_file), .required = true,
     .doc = "Certificate and its chain, PEM, the server's own first. Read again by SIGHUP."},
    {.key = "key_file", .type = GW_FIELD_FILE, .offset = offsetof(struct gw_cfg_listen, key_file), .required = true,
     .doc = "Its private key, PEM without a password."},
    {.key = NULL},
};

const struct gw_field gw_fields_listen[] = {
    {.key = "address", .type = GW_FIELD_STRING, .offset = offsetof(struct gw_cfg_listen, address), .required = true,
     .doc = "Numeric address and port: `0.0.0.0:8080`, `127.0.0.1:8080`, `\"[::]:8080\"` (quoted, for YAML). Port 0 picks a"
            " free one, which is logged. Or `unix:/path`: a Unix socket; a socket file that nobody listens on is"
            " replaced, anything else in its place is an error."},
    {.key = "mode", .type = GW_FIELD_STRING, .offset = offsetof(struct gw_cfg_listen, mode), .def = "0660",
     .doc = "Permissions of the Unix socket's file, octal."},
    {.key = "tls", .type = GW_FIELD_TABLE, .table = fields_listen_tls, .doc = "Speak TLS 1.2 and 1.3 here, and nothing else; without it plain."},
    {.key = "proxy_protocol", .type = GW_FIELD_BOOL, .offset = offsetof(struct gw_cfg_listen, proxy_protocol), .def = "false",
     .doc = "Every connection begins with a PROXY header (HAProxy's versions 1 and 2; before TLS); only those from"
            " `web.trusted_proxies` are taken."},
    {.key = NULL},
};

static const struct gw_field fields_history[] = {
    {.key = "count", .type = GW_FIELD_INT, .offset = ROUTE(history.count), .min = 0, .max = 1000000, .def = "256",
     .doc = "Messages kept per channel; 0: none (resuming then brings a gap and the last value)."},
    {.key = "bytes", .type = GW_FIELD_SIZE, .offset = ROUTE(history.bytes), .min = 0, .max = MIB(4096), .def = "1MiB",
     .doc = "Octets kept per channel. A message that is larger by itself empties the history."},
    {.key = "age", .type = GW_FIELD_DURATION, .offset = ROUTE(history.age_ms), .min = 0, .max = DAY * 366, .def = "1h",
     .doc = "How long messages are kept; 0s: no bound."},
    {.key = "store", .type = GW_FIELD_HISTORY, .offset = ROUTE(history_engine), .def = "memory",
     .doc = "Where it is kept: `memory` is lost at a restart of the gateway, `disk` survives it and needs `storage`."},
    {.key = NULL},
};

static const struct gw_field fields_rate[] = {
    {.key = "policy", .type = GW_FIELD_CHOICE, .offset = ROUTE(rate), .def = "all", .choices = choices_rate,
     .doc = "all: every message; latest: at most one per interval, session and channel, the last one always; on_change: "
            "only what differs from the channel's last value."},
    {.key = "interval", .type = GW_FIELD_DURATION, .offset = ROUTE(rate_interval_ms), .min = 1, .max = MS(3600),
     .doc = "For `latest`, which demands it; `on_change` may have it."},
    {.key = "deadband", .type = GW_FIELD_NUMBER, .offset = ROUTE(rate_deadband), .min = 0, .def = "0",
     .doc = "For `on_change`: a number that differs by no more than this is the same."},
    {.key = "pointer", .type = GW_FIELD_STRING, .offset = ROUTE(rate_pointer),
     .doc = "For `on_change`: JSON pointer to the value that counts, such as `/temperature`; default: the whole payload."},
    {.key = NULL},
};

static const struct gw_field fields_publish[] = {
    {.key = "topic", .type = GW_FIELD_STRING, .offset = ROUTE(publish_topic),
     .doc = "Where publishes to the channel go, made from the captures of the channel; default: the route's own topic."},
    {.key = "qos", .type = GW_FIELD_CHOICE, .offset = ROUTE(publish_qos), .def = "1", .choices = choices_qos,
     .doc = "With 1 and 2 `published` means that the broker has acknowledged; with 0 clients only get `accepted`."},
    {.key = "retain", .type = GW_FIELD_BOOL, .offset = ROUTE(publish_retain), .def = "false",
     .doc = "Is the broker to store them as retained?"},
    {.key = NULL},
};

const struct gw_field gw_fields_route[] = {
    {.key = "topic", .type = GW_FIELD_STRING, .offset = ROUTE(topic), .required = true,
     .doc = "MQTT topic filter; `{name}` captures one level, `{name...}` the rest; `+` and `#` work too."},
    {.key = "channel", .type = GW_FIELD_STRING, .offset = ROUTE(channel),
     .doc = "Name of the channel, made from the captures of `topic`; default: the topic itself."},
    {.key = "codec", .type = GW_FIELD_CODEC, .offset = ROUTE(codec), .def = "auto",
     .doc = "What `data` is. Payloads that it refuses are dropped and counted."},
    {.key = "qos", .type = GW_FIELD_CHOICE, .offset = ROUTE(qos), .def = "1", .choices = choices_qos,
     .doc = "QoS of the subscription at the broker. Where routes share or cover a topic filter, the highest counts. 2 is"
            " asked of the broker as 1, which brings the same: no message twice, none lost that the broker still has."},
    {.key = "history", .type = GW_FIELD_TABLE, .table = fields_history, .doc = "Recent messages, for resuming."},
    {.key = "rate", .type = GW_FIELD_TABLE, .table = fields_rate, .doc = "Thinning out."},
    {.key = "publish", .type = GW_FIELD_TABLE, .table = fields_publish,
     .doc = "Lets clients publish; without it they can't. `publish:` with nothing behind it takes all defaults."},
    {.key = NULL},
};

#define ROLE(member) offsetof(struct gw_cfg_role, member)
const struct gw_field gw_fields_role[] = {
    {.key = "subscribe", .type = GW_FIELD_STRINGS, .offset = ROLE(subscribe),
     .doc = "Channel filters to read; {claims.NAME} is filled in from the token."},
    {.key = "publish", .type = GW_FIELD_STRINGS, .offset = ROLE(publish),
     .doc = "Channel filters to publish and to send requests to, where a route has publish."},
    {.key = "history", .type = GW_FIELD_STRINGS, .offset = ROLE(history),
     .doc = "Channel filters whose history can be read and resumed from; default: as subscribe."},
    {.key = "fields", .type = GW_FIELD_STRINGS, .offset = ROLE(fields),
     .doc = "Members of JSON objects that the role sees, by name; default: all."},
    {.key = NULL},
};

#define KEY(member) offsetof(struct gw_cfg_api_key, member)
const struct gw_field gw_fields_api_key[] = {
    {.key = "name", .type = GW_FIELD_STRING, .offset = KEY(name), .required = true, .doc = "Whose key it is, for the log."},
    {.key = "hash", .type = GW_FIELD_STRING, .offset = KEY(hash), .required = true,
     .doc = "sha256:… as printed by sluice apikey; the key itself stands nowhere."},
    {.key = "roles", .type = GW_FIELD_STRINGS, .offset = KEY(roles), .required = true, .doc = "Its roles."},
    {.key = NULL},
};

static const struct gw_field fields_jwt[] = {
    {.key = "key_file", .type = GW_FIELD_FILE, .offset = CFG(auth.jwt.key_file),
     .doc = "Public key, PEM: RSA for RS256 and PS256, EC for ES256, Ed25519 for EdDSA."},
    {.key = "secret_file", .type = GW_FIELD_FILE, .offset = CFG(auth.jwt.secret_file),
     .doc = "Shared secret for HS256, HS384 and HS512, 32 octets or more."},
    {.key = "jwks_file", .type = GW_FIELD_FILE, .offset = CFG(auth.jwt.jwks_file),
     .doc = "JSON Web Key Set (RFC 7517). Read again by SIGHUP and every jwks_refresh."},
    {.key = "jwks_url", .type = GW_FIELD_STRING, .offset = CFG(auth.jwt.jwks_url),
     .doc = "Key set of an identity provider: https://…, or http:// to loopback."},
    {.key = "jwks_refresh", .type = GW_FIELD_DURATION, .offset = CFG(auth.jwt.jwks_refresh_ms), .min = 1000, .max = DAY,
     .def = "10m", .doc = "How often the key sets are read again; also when a token names a key that is not there."},
    {.key = "algorithms", .type = GW_FIELD_STRINGS, .offset = CFG(auth.jwt.algorithms),
     .doc = "Signatures that are taken, such as RS256; default: those that the keys are for. none never is."},
    {.key = "issuer", .type = GW_FIELD_STRING, .offset = CFG(auth.jwt.issuer), .doc = "Required iss; default: not checked."},
    {.key = "audience", .type = GW_FIELD_STRINGS, .offset = CFG(auth.jwt.audience),
     .doc = "One of these must be in aud; default: not checked."},
    {.key = "leeway", .type = GW_FIELD_DURATION, .offset = CFG(auth.jwt.leeway_ms), .min = 0, .max = MS(600), .def = "10s",
     .doc = "How far clocks may differ for exp and nbf."},
    {.key = "roles_claim", .type = GW_FIELD_STRING, .offset = CFG(auth.jwt.roles_claim), .def = "roles",
     .doc = "Claim with the names of roles, a text or a list; a.b looks inside."},
    {.key = "permissions_claim", .type = GW_FIELD_STRING, .offset = CFG(auth.jwt.permissions_claim),
     .doc = "Claim with lists subscribe, publish, history and fields of its own; default: none is looked at."},
    {.key = NULL},
};

static const struct gw_field fields_auth[] = {
    {.key = "jwt", .type = GW_FIELD_TABLE, .table = fields_jwt, .doc = "Tokens that somebody signed (RFC 7519)."},
    {.key = "api_keys", .type = GW_FIELD_LIST, .table = gw_fields_api_key, .doc = "Keys that do not change, for programs."},
    {.key = "anonymous", .type = GW_FIELD_STRINGS, .offset = CFG(auth.anonymous),
     .doc = "Roles of clients without credentials; default: none, they are refused."},
    {.key = "cookie", .type = GW_FIELD_STRING, .offset = CFG(auth.cookie), .doc = "Name of a cookie with a token; default: none."},
    {.key = "hello_timeout", .type = GW_FIELD_DURATION, .offset = CFG(auth.hello_timeout_ms), .min = 100, .max = MS(300),
     .def = "5s", .doc = "Time for a WebSocket without credentials to say hello, where nobody is anonymous."},
    {.key = "expiry_warning", .type = GW_FIELD_DURATION, .offset = CFG(auth.expiry_warning_ms), .min = 0, .max = MS(3600),
     .def = "30s", .doc = "How long before its token expires a session is warned."},
    {.key = "ticket_ttl", .type = GW_FIELD_DURATION, .offset = CFG(auth.ticket_ttl_ms), .min = 1000, .max = MS(600), .def = "30s",
     .doc = "How long a ticket of POST /ticket can be used, once."},
    {.key = NULL},
};

static const struct gw_field fields_limits[] = {
    {.key = "connections", .type = GW_FIELD_INT, .offset = CFG(limits.connections), .min = 1, .max = 1000000,
     .def = "16000", .doc = "Open sockets in all; beyond that 503."},
    {.key = "connections_per_address", .type = GW_FIELD_INT, .offset = CFG(limits.connections_per_address), .min = 0,
     .max = 1000000, .def = "0",
     .doc = "Open sockets from one address (IPv6: from one /64); 0: no bound of its own; beyond it 429. Addresses of"
            " `web.trusted_proxies` and Unix sockets have no such bound, but those that a PROXY header names have; behind a"
            " proxy that is not trusted all clients have its address."},
    {.key = "subscriptions", .type = GW_FIELD_INT, .offset = CFG(limits.subscriptions), .min = 1, .max = 100000,
     .def = "128", .doc = "Subscriptions of one session, `channel=` of one poll; beyond that `limit_reached`."},
    {.key = "frame", .type = GW_FIELD_SIZE, .offset = CFG(limits.frame_bytes), .min = 128, .max = MIB(256),
     .def = "1MiB", .doc = "WebSocket message or HTTP body from a client; beyond that close 1009, or 413."},
    {.key = "header", .type = GW_FIELD_SIZE, .offset = CFG(limits.header_bytes), .min = KIB(1), .max = MIB(1),
     .def = "16KiB", .doc = "HTTP request line and headers; beyond that 431."},
    {.key = "queue", .type = GW_FIELD_SIZE, .offset = CFG(limits.queue_bytes), .min = KIB(4), .max = MIB(1024),
     .def = "1MiB", .doc = "Octets waiting for one session before it counts as slow."},
    {.key = "slow_consumer", .type = GW_FIELD_CHOICE, .offset = CFG(limits.slow), .def = "gap", .choices = choices_slow,
     .doc = "A slow session goes on from history when it reads again; if that is gone too: a gap, or close 1013."},
    {.key = "inbox", .type = GW_FIELD_INT, .offset = CFG(limits.inbox), .min = 16, .max = 1000000, .def = "8192",
     .doc = "Events waiting for one worker before the MQTT side waits, and then the broker queues. Takes effect at the"
            " next start only."},
    {.key = "publish_queue", .type = GW_FIELD_INT, .offset = CFG(limits.publish_queue), .min = 1, .max = 60000,
     .def = "1024", .doc = "Publishes of all clients waiting for the broker; beyond that `overloaded`."},
    {.key = "publishes_per_session", .type = GW_FIELD_INT, .offset = CFG(limits.publishes_per_session), .min = 1,
     .max = 60000, .def = "64", .doc = "Publishes of one session waiting for the broker's acknowledgement; beyond that `overloaded`."},
    {.key = "channels", .type = GW_FIELD_INT, .offset = CFG(limits.channels), .min = 1, .max = 10000000,
     .def = "100000", .doc = "Channels known; beyond that the one silent the longest is forgotten, with its last value."},
    {.key = "history", .type = GW_FIELD_SIZE, .offset = CFG(limits.history_bytes), .min = 0, .max = MIB(1048576),
     .def = "256MiB", .doc = "Octets of history of all channels together (workers share the messages); beyond that the history of the"
            " channel silent the longest is dropped. Last values stay."},
    {.key = "connect_rate", .type = GW_FIELD_INT, .offset = CFG(limits.connect_rate), .min = 0, .max = 1000000, .def = "0",
     .doc = "New connections a second from one address, with bursts of as many; 0: no bound; beyond it 429. Proxies as for"
            " `connections_per_address`."},
    {.key = "message_rate", .type = GW_FIELD_INT, .offset = CFG(limits.message_rate), .min = 0, .max = 1000000, .def = "0",
     .doc = "Frames a second from one WebSocket, with bursts of as many; 0: no bound."},
    {.key = "publish_rate", .type = GW_FIELD_INT, .offset = CFG(limits.publish_rate), .min = 0, .max = 1000000, .def = "0",
     .doc = "Publishes a second of one session, or by POST from one address, with bursts of as many; 0: no bound."},
    {.key = "memory", .type = GW_FIELD_SIZE, .offset = CFG(limits.memory_bytes), .min = 0, .max = MIB(1048576), .def = "0",
     .doc = "Resident memory of the process beyond which new connections get 503; 0: no bound. Looked at once a second."},
    {.key = NULL},
};

static const struct gw_field fields_web[] = {
    {.key = "heartbeat", .type = GW_FIELD_DURATION, .offset = CFG(web.heartbeat_ms), .min = 200, .max = MS(3600),
     .def = "25s", .doc = "Time between WebSocket pings; below the 60 s after which many proxies hang up. A peer silent for three of"
            " them is dropped."},
    {.key = "poll_wait", .type = GW_FIELD_DURATION, .offset = CFG(web.poll_wait_ms), .min = 0, .max = MS(3600),
     .def = "25s", .doc = "How long a poll waits if it doesn't say; never more than `poll_wait_max`."},
    {.key = "poll_wait_max", .type = GW_FIELD_DURATION, .offset = CFG(web.poll_wait_max_ms), .min = 0, .max = MS(3600),
     .def = "60s", .doc = "The longest that a poll can ask to wait."},
    {.key = "request_timeout", .type = GW_FIELD_DURATION, .offset = CFG(web.request_timeout_ms), .min = 100,
     .max = MS(3600), .def = "10s", .doc = "Time to send a complete request, and for a new connection its first."},
    {.key = "keepalive", .type = GW_FIELD_DURATION, .offset = CFG(web.keepalive_ms), .min = 100, .max = MS(86400),
     .def = "75s", .doc = "How long an idle HTTP connection is kept."},
    {.key = "shutdown", .type = GW_FIELD_DURATION, .offset = CFG(web.shutdown_ms), .min = 0, .max = MS(300),
     .def = "3s", .doc = "How long stopping waits for the broker's acknowledgements."},
    {.key = "compression", .type = GW_FIELD_BOOL, .offset = CFG(web.compression), .def = "false",
     .doc = "permessage-deflate for WebSockets that connect from then on and offer it. Each message is compressed once, for all of them;"
            " the compressed forms take at most as much memory as `limits.history`, and 16MiB."},
    {.key = "compression_min", .type = GW_FIELD_SIZE, .offset = CFG(web.compression_min), .min = 0, .max = MIB(64),
     .def = "256", .doc = "Smaller messages are sent as they are. Those of less than 200 octets hardly shrink."},
    {.key = "origins", .type = GW_FIELD_STRINGS, .offset = CFG(web.origins),
     .doc = "Origins of other web pages that may use the gateway, such as https://dash.example; exact. \"*\": any."},
    {.key = "hosts", .type = GW_FIELD_STRINGS, .offset = CFG(web.hosts),
     .doc = "Names of the gateway, such as `dash.example`: requests with another name in `Host` get 403, so that no page can"
            " reach it by a name of its own that resolves to it. Addresses and `localhost` need not be listed. Default: any."},
    {.key = "trusted_proxies", .type = GW_FIELD_STRINGS, .offset = CFG(web.trusted_proxies),
     .doc = "Addresses and networks (`10.0.0.0/8`) whose `X-Forwarded-For` (the rightmost address that is not trusted),"
            " `X-Forwarded-Proto` and PROXY headers count; `unix`: whoever comes by a Unix socket."},
    {.key = NULL},
};

static const struct gw_choice choices_log[] = {{"error", 0}, {"warn", 1}, {"info", 2}, {"debug", 3}, {NULL, 0}};

static const struct gw_choice choices_log_format[] = {{"auto", 0}, {"text", 1}, {"json", 2}, {NULL, 0}};

static const struct gw_field fields_log[] = {
    {.key = "level", .type = GW_FIELD_CHOICE, .offset = CFG(log_level), .def = "info", .choices = choices_log,
     .doc = "The least important lines that are written."},
    {.key = "format", .type = GW_FIELD_CHOICE, .offset = CFG(log_format), .def = "auto", .choices = choices_log_format,
     .doc = "`text` for people, `json` for programs; `auto`: text on a terminal, JSON lines otherwise."},
    {.key = NULL},
};

static const struct gw_field fields_storage[] = {
    {.key = "path", .type = GW_FIELD_STRING, .offset = CFG(storage.path),
     .doc = "Needed here. Database file of this gateway alone; made if there is none. Its folder must exist and be writable."},
    {.key = "flush", .type = GW_FIELD_DURATION, .offset = CFG(storage.flush_ms), .min = 10, .max = MS(3600), .def = "1s",
     .doc = "How often changes are written; what came since is lost if the gateway is killed, and clients get a gap."},
    {.key = "queue", .type = GW_FIELD_SIZE, .offset = CFG(storage.queue_bytes), .min = KIB(64), .max = MIB(4096),
     .def = "64MiB", .doc = "Octets that wait for the disk; beyond it messages are not stored, which is counted"
            " (`sluice_storage_dropped_total`) and told by a gap after the next restart."},
    {.key = NULL},
};

const struct gw_field gw_fields_root[] = {
    {.key = "broker", .type = GW_FIELD_TABLE, .table = gw_fields_broker, .required = true, .doc = "The MQTT broker."},
    {.key = "listen", .type = GW_FIELD_LIST, .table = gw_fields_listen,
     .doc = "Addresses for web clients, each once; default: one entry, `0.0.0.0:8080`."},
    {.key = "workers", .type = GW_FIELD_INT, .offset = CFG(workers), .min = 0, .max = 64, .def = "0",
     .doc = "Threads that serve web clients; 0: one for each core but one, which MQTT has, and at least one."},
    {.key = "routes", .type = GW_FIELD_LIST, .table = gw_fields_route, .required = true,
     .doc = "Which topics become which channels."},
    {.key = "auth", .type = GW_FIELD_TABLE, .table = fields_auth,
     .doc = "Who clients are. With it, whatever no role grants is refused."},
    {.key = "roles", .type = GW_FIELD_MAP, .table = gw_fields_role, .doc = "What clients may do: names and their grants."},
    {.key = "limits", .type = GW_FIELD_TABLE, .table = fields_limits, .doc = "Everything that could grow."},
    {.key = "web", .type = GW_FIELD_TABLE, .table = fields_web, .doc = "Times of the web side."},
    {.key = "storage", .type = GW_FIELD_TABLE, .table = fields_storage,
     .doc = "Where the history of routes with `store: disk`, and the place in the sequence, outlive the process."},
    {.key = "user", .type = GW_FIELD_STRING, .offset = CFG(user),
     .doc = "User to become once everything is bound and read, if started as root; default: stay."},
    {.key = "sandbox", .type = GW_FIELD_BOOL, .offset = CFG(sandbox), .def = "true",
     .doc = "Give up what a gateway never does: no new privileges, no capabilities, no system calls such as execve."},
    {.key = "log", .type = GW_FIELD_TABLE, .table = fields_log, .doc = "What is logged."},
    {.key = NULL},
};
