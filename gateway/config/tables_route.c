/* tables_route.c: the keys of a route. */
#include "config/tables.h"

#define ROUTE(member) offsetof(struct gw_cfg_route, member)

static const struct gw_choice choices_qos[] = {{"0", 0}, {"1", 1}, {"2", 2}, {NULL, 0}};
static const struct gw_choice choices_rate[] = {
    {"all", GW_RATE_ALL}, {"latest", GW_RATE_LATEST}, {"on_change", GW_RATE_ON_CHANGE}, {NULL, 0}};

static const struct gw_field fields_rollup[] = {
    {.key = "fields",
     .type = GW_FIELD_STRINGS,
     .offset = ROUTE(rollup_fields),
     .required = true,
     .doc = "JSON pointers to the numbers, such as `/temperature`, 64 at most; `value` where the payload is the "
            "number itself."},
    {.key = "every",
     .type = GW_FIELD_STRINGS,
     .offset = ROUTE(rollup_every),
     .required = true,
     .doc = "Lengths of the windows, the shortest first, such as `[10s, 5m, 1h]`; 1s to 366d, 8 at most."},
    {.key = "keep",
     .type = GW_FIELD_STRINGS,
     .offset = ROUTE(rollup_keep),
     .required = true,
     .doc = "How long the windows of each length are kept, such as `[7d, 90d, 1825d]`; 131072 windows of each at "
            "most."},
    {.key = NULL},
};

static const struct gw_field fields_history[] = {
    {.key = "count",
     .type = GW_FIELD_INT,
     .offset = ROUTE(history.count),
     .min = 0,
     .max = 1000000,
     .def = "256",
     .doc = "Messages kept per channel; 0: none (resuming then brings a gap and the last value)."},
    {.key = "bytes",
     .type = GW_FIELD_SIZE,
     .offset = ROUTE(history.bytes),
     .min = 0,
     .max = MIB(4096),
     .def = "1MiB",
     .doc = "Bytes kept per channel. A message that is larger by itself empties the history."},
    {.key = "age",
     .type = GW_FIELD_DURATION,
     .offset = ROUTE(history.age_ms),
     .min = 0,
     .max = DAY * 366,
     .def = "1h",
     .doc = "How long messages are kept; 0s: no bound."},
    {.key = "store",
     .type = GW_FIELD_HISTORY,
     .offset = ROUTE(history_engine),
     .def = "memory",
     .doc =
         "Where it is kept: `memory` is lost at a restart of the gateway, `disk` survives it and needs `storage`."},
    {.key = "rollup",
     .type = GW_FIELD_TABLE,
     .table = fields_rollup,
     .doc =
         "What charts need for longer than messages are kept: min, max, mean, last and count of each window. Needs "
         "`store: disk`."},
    {.key = NULL},
};

static const struct gw_field fields_rate[] = {
    {.key = "policy",
     .type = GW_FIELD_CHOICE,
     .offset = ROUTE(rate),
     .def = "all",
     .choices = choices_rate,
     .doc =
         "all: every message; latest: at most one per interval, session and channel, the last one always; on_change: "
         "only what differs from the channel's last value."},
    {.key = "interval",
     .type = GW_FIELD_DURATION,
     .offset = ROUTE(rate_interval_ms),
     .min = 1,
     .max = MS(3600),
     .doc = "For `latest`, which demands it; `on_change` may have it."},
    {.key = "deadband",
     .type = GW_FIELD_NUMBER,
     .offset = ROUTE(rate_deadband),
     .min = 0,
     .def = "0",
     .doc = "For `on_change`: a number that differs by no more than this is the same."},
    {.key = "pointer",
     .type = GW_FIELD_STRING,
     .offset = ROUTE(rate_pointer),
     .doc = "For `on_change`: JSON pointer to the value that counts, such as `/temperature`; default: the whole "
            "payload."},
    {.key = NULL},
};

static const struct gw_field fields_confirm[] = {
    {.key = "field",
     .type = GW_FIELD_STRINGS,
     .offset = ROUTE(confirm_fields),
     .doc =
         "JSON pointers to what must be as it was sent, such as `/state`; those that a command does not have don't "
         "count. Default: all that was sent."},
    {.key = "change",
     .type = GW_FIELD_STRINGS,
     .offset = ROUTE(confirm_change),
     .def = "TOGGLE",
     .doc =
         "Commands that are no states, such as `TOGGLE` or, for all that begin so, `+*`. Another value than before "
         "confirms them."},
    {.key = "any",
     .type = GW_FIELD_STRINGS,
     .offset = ROUTE(confirm_any),
     .blank = true,
     .doc = "Commands that ask for the state, such as `status_update` or `\"\"`, an empty payload. The next value "
            "confirms them, whatever it is."},
    {.key = "topic",
     .type = GW_FIELD_STRING,
     .offset = ROUTE(confirm_topic),
     .doc = "Topic that shows the state, made from the captures of the channel, such as `stat/{device}/POWER`; some "
            "route must take it in. Default: the channel itself shows it."},
    {.key = "within",
     .type = GW_FIELD_DURATION,
     .offset = ROUTE(confirm_within_ms),
     .min = 1,
     .max = MS(300),
     .def = "5s",
     .doc =
         "How long after the broker's acknowledgement the state may take to show; then the client gets `timeout`."},
    {.key = "tolerance",
     .type = GW_FIELD_NUMBER,
     .offset = ROUTE(confirm_tolerance),
     .min = 0,
     .def = "0",
     .doc = "Numbers that differ by no more than this are the same, for devices that round."},
    {.key = NULL},
};

static const struct gw_field fields_publish[] = {
    {.key = "topic",
     .type = GW_FIELD_STRING,
     .offset = ROUTE(publish_topic),
     .doc =
         "Where publishes to the channel go, made from the captures of the channel; default: the route's own topic."},
    {.key = "qos",
     .type = GW_FIELD_CHOICE,
     .offset = ROUTE(publish_qos),
     .def = "1",
     .choices = choices_qos,
     .doc = "With 1 and 2 `published` means that the broker has acknowledged; with 0 clients only get `accepted`."},
    {.key = "retain",
     .type = GW_FIELD_BOOL,
     .offset = ROUTE(publish_retain),
     .def = "false",
     .doc = "Is the broker to store them as retained?"},
    {.key = "identify",
     .type = GW_FIELD_BOOL,
     .offset = ROUTE(publish_identify),
     .def = "false",
     .doc = "Tells the broker and the device who publishes: the client's name goes along as the user property `sub` "
            "(MQTT 5 only). A client can't send that property itself then."},
    {.key = "confirm",
     .type = GW_FIELD_TABLE,
     .table = fields_confirm,
     .switchable = true,
     .doc = "Lets clients ask for a further receipt: `confirmed` when the device's state shows what was sent. For "
            "devices that know no responses of MQTT 5. `confirm: true` takes all defaults."},
    {.key = NULL},
};

static const struct gw_field fields_available[] = {
    {.key = "topic",
     .type = GW_FIELD_STRING,
     .offset = ROUTE(available_topic),
     .required = true,
     .doc = "Topic of the device's availability or will, made from the captures of the channel, such as "
            "`zigbee2mqtt/{device}/availability`."},
    {.key = "online",
     .type = GW_FIELD_STRINGS,
     .offset = ROUTE(online),
     .doc = "Payloads that say that it is there, in capitals or not; all others say that it is not. The payload, a "
            "JSON value, or its member `state`. Default: online."},
    {.key = NULL},
};

const struct gw_field gw_fields_route[] = {
    {.key = "topic",
     .type = GW_FIELD_STRING,
     .offset = ROUTE(topic),
     .required = true,
     .doc = "MQTT topic filter; `{name}` captures one level, `{name...}` the rest, or what is before fixed levels: "
            "`{device...}/availability`; `+` and `#` work too."},
    {.key = "except",
     .type = GW_FIELD_STRINGS,
     .offset = ROUTE(except),
     .doc = "Filters, written as `topic`: what any of them matches is not the route's, in either direction."},
    {.key = "channel",
     .type = GW_FIELD_STRING,
     .offset = ROUTE(channel),
     .doc = "Name of the channel, made from the captures of `topic`; default: the topic itself."},
    {.key = "codec",
     .type = GW_FIELD_CODEC,
     .offset = ROUTE(codec),
     .def = "auto",
     .doc = "What `data` is. Payloads that it refuses are dropped and counted. `lenient` is `json` for devices that "
            "send "
            "NaN, single quotes or a NUL at the end."},
    {.key = "content_type",
     .type = GW_FIELD_STRING,
     .offset = ROUTE(content_type),
     .doc =
         "What the payloads are, such as `image/jpeg`, for GET /channels/NAME/raw and `codec: blob`. Default: what "
         "the device says of them (MQTT 5), else what they look like."},
    {.key = "transform",
     .type = GW_FIELD_TRANSFORM,
     .offset = ROUTE(transform),
     .doc = "Makes none, one or several messages of one payload, by its name or with options. Default: none; a "
            "payload is one message."},
    {.key = "qos",
     .type = GW_FIELD_CHOICE,
     .offset = ROUTE(qos),
     .def = "1",
     .choices = choices_qos,
     .doc =
         "QoS of the subscription at the broker. Where routes share or cover a topic filter, the highest counts. 2 is"
         " asked of the broker as 1, which brings the same: no message twice, none lost that the broker still has."},
    {.key = "stale",
     .type = GW_FIELD_DURATION,
     .offset = ROUTE(stale_ms),
     .min = 100,
     .max = DAY * 366,
     .word = "auto",
     .word_value = GW_STALE_AUTO,
     .doc = "A channel is stale when no message has come for so long. `auto`: for four times its usual interval, "
            "which is learnt; 10s to a day."},
    {.key = "available",
     .type = GW_FIELD_TABLE,
     .table = fields_available,
     .doc = "Where the device says whether it is there; its channels are offline while it is not."},
    {.key = "history", .type = GW_FIELD_TABLE, .table = fields_history, .doc = "Recent messages, for resuming."},
    {.key = "rate", .type = GW_FIELD_TABLE, .table = fields_rate, .doc = "Thinning out."},
    {.key = "publish",
     .type = GW_FIELD_TABLE,
     .table = fields_publish,
     .switchable = true,
     .doc = "Lets clients publish; without it they can't. `publish: true` takes all defaults."},
    {.key = NULL},
};
