/* options.c: `mqtt:` in the configuration. */
#include <stddef.h>
#include <string.h>

#include "mqttd/client.h"

/* For listeners without `mqtt:`, and the defaults in it. */
#define RECEIVE_MAXIMUM_DEFAULT 1000
#define SESSIONS_DEFAULT        1000
#define EXPIRY_HOURS_DEFAULT    1

#define TEXT_OF(number)      TEXT_OF_ONCE(number)
#define TEXT_OF_ONCE(number) #number
#define OPTION(member)       offsetof(struct gw_mqttd_options, member)

static const struct gw_choice option_names[] = {{"channels", GW_MQTTD_CHANNELS}, {NULL, 0}};

static const struct gw_field option_fields[] = {
    {.key = "path",
     .type = GW_FIELD_STRING,
     .offset = OPTION(path),
     .def = "/mqtt",
     .doc = "Where clients connect to by WebSocket."},
    {.key = "names",
     .type = GW_FIELD_CHOICE,
     .offset = OPTION(names),
     .def = "channels",
     .choices = option_names,
     .doc = "What clients subscribe to and publish to: the channels of `routes`."},
    {.key = "receive_maximum",
     .type = GW_FIELD_INT,
     .offset = OPTION(receive_maximum),
     .min = 1,
     .max = 1000,
     .def = TEXT_OF(RECEIVE_MAXIMUM_DEFAULT),
     .doc = "Messages at QoS 1 that a client has not acknowledged yet; more wait. A client may ask for fewer."},
    {.key = "sessions",
     .type = GW_FIELD_INT,
     .offset = OPTION(sessions),
     .min = 0,
     .max = 1000000,
     .def = TEXT_OF(SESSIONS_DEFAULT),
     .doc =
         "Sessions kept for clients that are away; beyond that the one that has been away the longest is given up."},
    {.key = "session_expiry",
     .type = GW_FIELD_DURATION,
     .offset = OPTION(session_expiry_ms),
     .min = 0,
     .max = INT64_C(30) * 86400 * 1000,
     .def = TEXT_OF(EXPIRY_HOURS_DEFAULT) "h",
     .doc = "How long at most, whatever the client asks for; what happened meanwhile comes from `history`. 0s: not at"
            " all."},
    {.key = NULL},
};

static void option_check(void *options, const struct gw_config *config, struct gw_report *report)
{
    (void)config;
    const char *path = ((struct gw_mqttd_options *)options)->path;
    if (*path != '/' || strchr(path, '?') || strchr(path, '#'))
        gw_report_error(report, "path", "'%s' is no path (such as /mqtt expected)", path);
}

const struct gw_options gw_mqttd_options = {
    .key = "mqtt",
    .doc = "MQTT 3.1.1 and 5.0 for stock clients; without it its address is 404.",
    .size = sizeof(struct gw_mqttd_options),
    .fields = option_fields,
    .check = option_check,
};

const struct gw_mqttd_options *gw_mqttd_config(const struct gw_mqttd_client *client)
{
    /* A listener needs no `mqtt:`, and clients stay when a reload takes it away. */
    static const struct gw_mqttd_options defaults = {
        .receive_maximum = RECEIVE_MAXIMUM_DEFAULT,
        .sessions = SESSIONS_DEFAULT,
        .session_expiry_ms = EXPIRY_HOURS_DEFAULT * 3600 * 1000,
    };
    const struct gw_mqttd_options *options =
        gw_options_of(gw_hub_config(gw_conn_hub(client->conn)), &gw_mqttd_options);
    return options ? options : &defaults;
}
