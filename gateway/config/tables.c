/* tables.c: the keys at the top of the configuration, and those of `log`. */
#include "config/tables.h"

static const struct gw_choice choices_log[] = {{"error", 0}, {"warn", 1}, {"info", 2}, {"debug", 3}, {NULL, 0}};

static const struct gw_choice choices_log_format[] = {{"auto", 0}, {"text", 1}, {"json", 2}, {NULL, 0}};

static const struct gw_field fields_log[] = {
    {.key = "level",
     .type = GW_FIELD_CHOICE,
     .offset = CFG(log_level),
     .def = "info",
     .choices = choices_log,
     .doc = "The least important lines that are written."},
    {.key = "format",
     .type = GW_FIELD_CHOICE,
     .offset = CFG(log_format),
     .def = "auto",
     .choices = choices_log_format,
     .doc = "`text` for people, `json` for programs; `auto`: text on a terminal, JSON lines otherwise."},
    {.key = NULL},
};

const struct gw_field gw_fields_own[] = {
    {.key = "broker", .type = GW_FIELD_TABLE, .table = gw_fields_broker, .required = true, .doc = "The MQTT broker."},
    {.key = "listen",
     .type = GW_FIELD_LIST,
     .table = gw_fields_listen,
     .doc = "Addresses for web clients, each once; default: one entry, `0.0.0.0:8080`."},
    {.key = "workers",
     .type = GW_FIELD_INT,
     .offset = CFG(workers),
     .min = 0,
     .max = 64,
     .def = "0",
     .doc = "Threads that serve web clients; 0: one for each core but one, which MQTT has, and at least one."},
    {.key = "routes",
     .type = GW_FIELD_LIST,
     .table = gw_fields_route,
     .required = true,
     .doc = "Which topics become which channels."},
    {.key = "auth",
     .type = GW_FIELD_TABLE,
     .table = gw_fields_auth,
     .doc = "Who clients are. With it, whatever no role grants is refused."},
    {.key = "roles",
     .type = GW_FIELD_MAP,
     .table = gw_fields_role,
     .doc = "What clients may do: names and their grants."},
    {.key = "limits", .type = GW_FIELD_TABLE, .table = gw_fields_limits, .doc = "Everything that could grow."},
    {.key = "web", .type = GW_FIELD_TABLE, .table = gw_fields_web, .doc = "Times of the web side."},
    {.key = "user",
     .type = GW_FIELD_STRING,
     .offset = CFG(user),
     .doc = "User to become once everything is bound and read, if started as root; default: stay."},
    {.key = "sandbox",
     .type = GW_FIELD_BOOL,
     .offset = CFG(sandbox),
     .def = "true",
     .doc = "Give up what a gateway never does: no new privileges, no capabilities, no system calls such as execve."},
    {.key = "log", .type = GW_FIELD_TABLE, .table = fields_log, .doc = "What is logged."},
    {.key = NULL},
};
