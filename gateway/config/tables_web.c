/* tables_web.c: the keys of `listen` and `web`. */
#include "config/tables.h"

static const struct gw_field fields_listen_tls[] = {
    {.key = "cert_file",
     .type = GW_FIELD_FILE,
     .offset = offsetof(struct gw_cfg_listen, cert_file),
     .required = true,
     .doc = "Certificate and its chain, PEM, the server's own first. Read again by SIGHUP."},
    {.key = "key_file",
     .type = GW_FIELD_FILE,
     .offset = offsetof(struct gw_cfg_listen, key_file),
     .required = true,
     .doc = "Its private key, PEM without a password."},
    {.key = NULL},
};

const struct gw_field gw_fields_listen[] = {
    {.key = "address",
     .type = GW_FIELD_STRING,
     .offset = offsetof(struct gw_cfg_listen, address),
     .required = true,
     .doc = "Numeric address and port: `0.0.0.0:8080`, `127.0.0.1:8080`, `\"[::]:8080\"` (quoted, for YAML). Port 0 "
            "picks a"
            " free one, which is logged. Or `unix:/path`: a Unix socket; a socket file that nobody listens on is"
            " replaced, anything else in its place is an error."},
    {.key = "mode",
     .type = GW_FIELD_STRING,
     .offset = offsetof(struct gw_cfg_listen, mode),
     .def = "0660",
     .doc = "Permissions of the Unix socket's file, octal."},
    {.key = "tls",
     .type = GW_FIELD_TABLE,
     .table = fields_listen_tls,
     .doc = "Speak TLS 1.2 and 1.3 here, and nothing else; without it plain."},
    {.key = "proxy_protocol",
     .type = GW_FIELD_BOOL,
     .offset = offsetof(struct gw_cfg_listen, proxy_protocol),
     .def = "false",
     .doc = "Every connection begins with a PROXY header (HAProxy's versions 1 and 2; before TLS); only those from"
            " `web.trusted_proxies` are taken."},
    {.key = "protocol",
     .type = GW_FIELD_PROTOCOL,
     .offset = offsetof(struct gw_cfg_listen, protocol),
     .def = "http",
     .doc = "What clients speak here: `http`, with WebSocket, SSE and long-poll, or the protocol of a transport that "
            "takes a plain stream of bytes."},
    {.key = NULL},
};

const struct gw_field gw_fields_web[] = {
    {.key = "heartbeat",
     .type = GW_FIELD_DURATION,
     .offset = CFG(web.heartbeat_ms),
     .min = 200,
     .max = MS(3600),
     .def = "25s",
     .doc =
         "Time between WebSocket pings; below the 60 s after which many proxies hang up. A peer silent for three of"
         " them is dropped."},
    {.key = "poll_wait",
     .type = GW_FIELD_DURATION,
     .offset = CFG(web.poll_wait_ms),
     .min = 0,
     .max = MS(3600),
     .def = "25s",
     .doc = "How long a poll waits if it doesn't say; never more than `poll_wait_max`."},
    {.key = "poll_wait_max",
     .type = GW_FIELD_DURATION,
     .offset = CFG(web.poll_wait_max_ms),
     .min = 0,
     .max = MS(3600),
     .def = "60s",
     .doc = "The longest that a poll can ask to wait."},
    {.key = "request_timeout",
     .type = GW_FIELD_DURATION,
     .offset = CFG(web.request_timeout_ms),
     .min = 100,
     .max = MS(3600),
     .def = "10s",
     .doc = "Time to send a complete request, and for a new connection its first."},
    {.key = "keepalive",
     .type = GW_FIELD_DURATION,
     .offset = CFG(web.keepalive_ms),
     .min = 100,
     .max = MS(86400),
     .def = "75s",
     .doc = "How long an idle HTTP connection is kept."},
    {.key = "shutdown",
     .type = GW_FIELD_DURATION,
     .offset = CFG(web.shutdown_ms),
     .min = 0,
     .max = MS(300),
     .def = "3s",
     .doc = "How long stopping waits for the broker's acknowledgements."},
    {.key = "compression",
     .type = GW_FIELD_BOOL,
     .offset = CFG(web.compression),
     .def = "false",
     .doc = "permessage-deflate for WebSockets that connect from then on and offer it. Each message is compressed "
            "once, for all of them;"
            " the compressed forms take at most as much memory as `limits.history`, and 16MiB."},
    {.key = "compression_min",
     .type = GW_FIELD_SIZE,
     .offset = CFG(web.compression_min),
     .min = 0,
     .max = MIB(64),
     .def = "256",
     .doc = "Smaller messages are sent as they are. Those of less than 200 bytes hardly shrink."},
    {.key = "origins",
     .type = GW_FIELD_STRINGS,
     .offset = CFG(web.origins),
     .doc =
         "Origins of other web pages and apps that may use the gateway, such as https://dash.example or "
         "capacitor://localhost; exact, but for `https://*.preview.example` (one or more labels) and "
         "`http://localhost:*` (any port). `null` and `file://` are those of pages from the disk, and of any page's "
         "sandboxed frames. \"*\": any. Cookies count for exact ones only."},
    {.key = "frame_ancestors",
     .type = GW_FIELD_STRINGS,
     .offset = CFG(web.frame_ancestors),
     .doc = "Origins of pages that may show the dashboard in a frame, such as https://home.example:8123; `self`: the "
            "gateway's own. Default: none."},
    {.key = "base_path",
     .type = GW_FIELD_STRING,
     .offset = CFG(web.base_path),
     .doc = "What comes before every path, such as `/sluice`, for a proxy that passes it on. `/healthz` and "
            "`/metrics` are below it, too."},
    {.key = "hosts",
     .type = GW_FIELD_STRINGS,
     .offset = CFG(web.hosts),
     .doc = "Names of the gateway, such as `dash.example`: requests with another name in `Host` get 403, so that no "
            "page can"
            " reach it by a name of its own that resolves to it. Addresses and `localhost` need not be listed. "
            "Default: any."},
    {.key = "trusted_proxies",
     .type = GW_FIELD_STRINGS,
     .offset = CFG(web.trusted_proxies),
     .doc =
         "Addresses and networks (`10.0.0.0/8`) whose `X-Forwarded-For` (the rightmost address that is not trusted),"
         " `X-Forwarded-Proto` and PROXY headers count; `unix`: all who come by a Unix socket."},
    {.key = NULL},
};
