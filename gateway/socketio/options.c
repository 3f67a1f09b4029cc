/* options.c: `socketio:`: its rows, and names that clients of Socket.IO can use. */
#include "socketio/options.h"

#include <stdio.h>
#include <string.h>

#include "gateway/config.h"

#define OPT(member) offsetof(struct gw_sio_options, member)
#define MS(seconds) ((int64_t)(seconds)*1000)

static const struct gw_choice choices_preset[] = {{"sluice", SIO_PRESET_SLUICE},
                                                  {"mqtt", SIO_PRESET_MQTT},
                                                  {"flask", SIO_PRESET_FLASK},
                                                  {"topic", SIO_PRESET_TOPIC},
                                                  {NULL, 0}};
static const struct gw_choice choices_payload[] = {{"json", SIO_PAYLOAD_JSON}, {"text", SIO_PAYLOAD_TEXT}, {NULL, 0}};

static const struct gw_field fields_socketio_events[] = {
    {.key = "message",
     .type = GW_FIELD_STRING,
     .offset = OPT(events.message),
     .doc = "Event that brings a message; default: `message`, or as the preset says."},
    {.key = "subscribe",
     .type = GW_FIELD_STRING,
     .offset = OPT(events.subscribe),
     .doc = "Another name that pages use for `subscribe`."},
    {.key = "unsubscribe",
     .type = GW_FIELD_STRING,
     .offset = OPT(events.unsubscribe),
     .doc = "Another name for `unsubscribe`."},
    {.key = "publish", .type = GW_FIELD_STRING, .offset = OPT(events.publish), .doc = "Another name for `publish`."},
    {.key = NULL},
};

static const struct gw_field fields_socketio_members[] = {
    {.key = "channel",
     .type = GW_FIELD_STRING,
     .offset = OPT(members.channel),
     .doc = "Member with the channel; default: `channel`, or as the preset says."},
    {.key = "data",
     .type = GW_FIELD_STRING,
     .offset = OPT(members.data),
     .doc = "Member with the value; default: `data`, or as the preset says."},
    {.key = NULL},
};

static const struct gw_field fields_socketio[] = {
    {.key = "path",
     .type = GW_FIELD_STRING,
     .offset = OPT(path),
     .def = "/socket.io/",
     .doc = "Where clients connect to: their option `path`. With or without the last slash."},
    {.key = "preset",
     .type = GW_FIELD_CHOICE,
     .offset = OPT(preset),
     .def = "sluice",
     .choices = choices_preset,
     .doc = "What pages expect: `sluice`: `message` with channel, data, cursor, ts; `mqtt`: `mqtt` with topic and "
            "payload (text); `flask`: `mqtt_message` with the same; `topic`: an event named like the channel, with "
            "the text. Up, all spellings are taken."},
    {.key = "events", .type = GW_FIELD_TABLE, .table = fields_socketio_events, .doc = "Names of events."},
    {.key = "members",
     .type = GW_FIELD_TABLE,
     .table = fields_socketio_members,
     .doc = "Names of members in a message's object."},
    {.key = "payload",
     .type = GW_FIELD_CHOICE,
     .offset = OPT(payload),
     .choices = choices_payload,
     .doc = "The value as JSON, or as the text that the device sent; default: as the preset says."},
    {.key = "ping_interval",
     .type = GW_FIELD_DURATION,
     .offset = OPT(ping_interval_ms),
     .min = 100,
     .max = MS(3600),
     .def = "25s",
     .doc = "Time between pings of Engine.IO; a poll is held as long at most."},
    {.key = "ping_timeout",
     .type = GW_FIELD_DURATION,
     .offset = OPT(ping_timeout_ms),
     .min = 100,
     .max = MS(3600),
     .def = "20s",
     .doc = "A client that does not answer a ping within it is gone."},
    {.key = "connect_timeout",
     .type = GW_FIELD_DURATION,
     .offset = OPT(connect_timeout_ms),
     .min = 100,
     .max = MS(3600),
     .def = "45s",
     .doc = "Time to join a namespace; with `auth`, `auth.hello_timeout` if that is shorter."},
    {.key = "recovery",
     .type = GW_FIELD_DURATION,
     .offset = OPT(recovery_ms),
     .min = 0,
     .max = MS(86400),
     .def = "2m",
     .doc = "How long a session that was cut off can be recovered; 0s: never."},
    {.key = "sessions",
     .type = GW_FIELD_INT,
     .offset = OPT(sessions),
     .min = 1,
     .max = 10000000,
     .def = "16000",
     .doc = "Sessions that poll, and as many that are remembered for recovery."},
    {.key = "namespaces",
     .type = GW_FIELD_STRINGS,
     .offset = OPT(namespaces),
     .doc = "Namespaces besides `/`, such as `/custom`; they all mean the same."},
    {.key = NULL},
};

/* --- what the rows can't say ----------------------------------------------------------------------------------- */

bool gw_sio_event_reserved(const char *name, size_t len)
{
    static const char *const reserved[] = {"connect",       "connect_error", "disconnect",
                                           "disconnecting", "newListener",   "removeListener"};
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++) {
        if (strlen(reserved[i]) == len && !memcmp(reserved[i], name, len))
            return true;
    }
    return false;
}

/* The first level of paths that have another meaning. */
static bool options_path_taken(const char *path)
{
    static const char *const taken[] = {"ws",      "sse",    "poll",    "channels", "explain",
                                        "healthz", "readyz", "metrics", "ticket"};
    size_t len = strcspn(path + 1, "/");
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        if (strlen(taken[i]) == len && !memcmp(taken[i], path + 1, len))
            return true;
    }
    return !len;
}

static void options_check_path(struct gw_sio_options *options, struct gw_report *report)
{
    if (options->path[0] != '/' || strpbrk(options->path, " ?#%") || options_path_taken(options->path))
        gw_report_error(report, "path", "'%s' can't be used (a path of its own such as /socket.io/ expected)",
                        options->path);
    options->path_len = strlen(options->path);
    if (options->path_len && options->path[options->path_len - 1] == '/')
        options->path_len--;
}

static void options_check_events(const struct gw_sio_options *options, struct gw_report *report)
{
    static const char *const keys[] = {"subscribe", "unsubscribe", "publish", "message"};
    const char *const names[] = {options->events.subscribe, options->events.unsubscribe, options->events.publish,
                                 options->events.message};
    for (size_t i = 0; i < 4; i++) {
        char place[32];
        snprintf(place, sizeof place, "events.%s", keys[i]);
        if (names[i] && gw_sio_event_reserved(names[i], strlen(names[i])))
            gw_report_error(report, place, "'%s' is an event of the client library itself (another name expected)",
                            names[i]);
        for (size_t j = 0; j < 3 && i < 3 && names[i]; j++) { /* what is sent may have the name of what comes */
            if (j < i && names[j] && !strcmp(names[i], names[j]))
                gw_report_error(report, place, "'%s' is the name of %s, too (another name expected)", names[i],
                                keys[j]);
            else if (j != i && !strcmp(names[i], keys[j]))
                gw_report_error(report, place, "'%s' is always the name of %s (another name expected)", names[i],
                                keys[j]);
        }
    }
}

static void options_check_members(const struct gw_sio_options *options, struct gw_report *report)
{
    const char *channel = options->members.channel, *data = options->members.data;
    if (channel && data && !strcmp(channel, data))
        gw_report_error(report, "members", "channel and data are both '%s' (two names expected)", data);
    if ((channel || data) && options->preset == SIO_PRESET_TOPIC)
        gw_report_error(report, "members", "it has no effect with preset topic (another preset expected)");
    if (options->events.message && options->preset == SIO_PRESET_TOPIC)
        gw_report_error(report, "events.message", "it has no effect with preset topic (another preset expected)");
}

static void options_check(void *values, const struct gw_config *config, struct gw_report *report)
{
    (void)config;
    struct gw_sio_options *options = values;
    options_check_path(options, report);
    options_check_events(options, report);
    options_check_members(options, report);
    for (size_t i = 0; i < options->namespaces.count; i++) {
        const char *name = options->namespaces.items[i];
        char place[40];
        snprintf(place, sizeof place, "namespaces[%zu]", i);
        if (name[0] != '/' || !name[1] || strpbrk(name, ",?"))
            gw_report_error(report, place, "'%s' can't be used (a name such as /custom expected; / is always there)",
                            name);
    }
}

const struct gw_options gw_sio_options = {
    .key = "socketio",
    .doc = "Stock clients of Socket.IO; without it its address is 404.",
    .size = sizeof(struct gw_sio_options),
    .fields = fields_socketio,
    .check = options_check,
};
