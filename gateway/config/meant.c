/* meant.c: unknown keys: what they are called here, and where they belong. */
#include "config/meant.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/distance.h"
#include "config/yaml_line.h"

#define KEY_MAX  40
#define PATH_LEN 256

/* --- names that other programs have ---------------------------------------------------------------------------- */

static const struct {
    const char *table; /* path without indices */
    const char *key;   /* as normal() writes it */
    const char *meant; /* completes "(… expected)" */
} other_names[] = {
    {"mqtt", "host", "broker.url: mqtt://HOST:PORT, as mqtt: is for MQTT clients in browsers,"},
    {"mqtt", "server", "broker.url: mqtt://HOST:PORT, as mqtt: is for MQTT clients in browsers,"},
    {"mqtt", "broker", "broker.url: mqtt://HOST:PORT, as mqtt: is for MQTT clients in browsers,"},
    {"mqtt", "port", "broker.url: mqtt://HOST:PORT, as mqtt: is for MQTT clients in browsers,"},
    {"", "topics", "routes"},
    {"", "topic", "routes: with an entry - topic: …"},
    {"", "mappings", "routes"},
    {"", "subscriptions", "routes"},
    {"", "subscribe", "routes"},
    {"", "channels", "routes: with channel: in its entries"},
    {"", "host", "broker.url: mqtt://HOST:PORT for the broker, listen: [{ address: HOST:PORT }] for web clients"},
    {"", "server", "broker.url: mqtt://HOST:PORT for the broker, listen: [{ address: HOST:PORT }] for web clients"},
    {"", "port", "listen: [{ address: 0.0.0.0:PORT }]"},
    {"", "bind", "listen: [{ address: HOST:PORT }]"},
    {"", "http", "listen: [{ address: HOST:PORT }], and web: for the rest"},
    {"", "address", "listen: [{ address: … }]"},
    {"", "tls", "broker.tls for the broker, tls: in an entry of listen: for web clients"},
    {"", "ssl", "broker.tls for the broker, tls: in an entry of listen: for web clients"},
    {"", "cors", "web.origins"},
    {"", "users", "auth, and roles"},
    {"", "log_level", "log.level"},
    {"", "logging", "log"},
    {"", "debug", "log: { level: debug }"},
    {"", "history", "history: in an entry of routes:"},
    {"broker", "host", "broker.url: mqtt://HOST:PORT"},
    {"broker", "hostname", "broker.url: mqtt://HOST:PORT"},
    {"broker", "server", "broker.url: mqtt://HOST:PORT"},
    {"broker", "address", "broker.url: mqtt://HOST:PORT"},
    {"broker", "port", "broker.url: mqtt://HOST:PORT"},
    {"broker", "scheme", "broker.url: mqtts://HOST:PORT"},
    {"broker", "uri", "broker.url"},
    {"broker", "user", "broker.username"},
    {"broker", "pass", "broker.password"},
    {"broker", "ssl", "broker.tls, and mqtts:// in broker.url"},
    {"broker", "ca", "broker.tls.ca_file"},
    {"broker", "cafile", "broker.tls.ca_file"},
    {"broker", "ca_cert", "broker.tls.ca_file"},
    {"broker", "ca_certfile", "broker.tls.ca_file"},
    {"broker", "cert", "broker.tls.cert_file"},
    {"broker", "key", "broker.tls.key_file"},
    {"broker", "insecure", "broker.tls.verify_hostname: false, which skips the name only,"},
    {"broker", "version", "broker.protocol"},
    {"broker", "protocol_version", "broker.protocol"},
    {"broker", "clean", "broker.session_expiry: 0s for a clean session, which is the default,"},
    {"broker", "clean_session", "broker.session_expiry: 0s for a clean session, which is the default,"},
    {"broker", "clean_start", "broker.session_expiry: 0s for a clean session, which is the default,"},
    {"broker", "qos", "qos: in an entry of routes:"},
    {"broker", "topic", "routes: with an entry - topic: …"},
    {"broker", "topics", "routes"},
    {"broker", "base_topic", "routes: with an entry - topic: BASE/#"},
    {"broker.tls", "ca", "broker.tls.ca_file"},
    {"broker.tls", "ca_certfile", "broker.tls.ca_file"},
    {"broker.tls", "ca_cert", "broker.tls.ca_file"},
    {"broker.tls", "client_cert", "broker.tls.cert_file"},
    {"broker.tls", "client_key", "broker.tls.key_file"},
    {"broker.tls", "cert", "broker.tls.cert_file"},
    {"broker.tls", "key", "broker.tls.key_file"},
    {"broker.tls", "insecure", "broker.tls.verify_hostname: false, which skips the name only,"},
    {"broker.tls", "verify", "broker.tls.verify_hostname"},
    {"broker.tls", "enabled", "mqtts:// in broker.url"},
    {"listen", "host", "address: HOST:PORT"},
    {"listen", "port", "address: 0.0.0.0:PORT"},
    {"listen", "bind", "address: HOST:PORT"},
    {"listen", "url", "address: HOST:PORT"},
    {"listen", "cert_file", "tls: { cert_file: …, key_file: … }"},
    {"listen", "key_file", "tls: { cert_file: …, key_file: … }"},
    {"listen", "ssl", "tls"},
    {"routes", "filter", "topic"},
    {"routes", "pattern", "topic"},
    {"routes", "from", "topic"},
    {"routes", "source", "topic"},
    {"routes", "subscribe", "topic"},
    {"routes", "to", "channel"},
    {"routes", "target", "channel"},
    {"routes", "name", "channel"},
    {"routes", "path", "channel"},
    {"routes", "exclude", "except"},
    {"routes", "ignore", "except"},
    {"routes", "deny", "except"},
    {"routes", "exceptions", "except"},
    {"routes", "format", "codec"},
    {"routes", "type", "codec"},
    {"routes", "payload", "codec"},
    {"routes", "encoding", "codec"},
    {"routes", "throttle", "rate: { policy: latest, interval: … }"},
    {"routes", "interval", "rate: { policy: latest, interval: … }"},
    {"routes", "write", "publish"},
    {"routes", "writable", "publish"},
    {"routes", "command_topic", "publish.topic"},
    {"routes", "set_topic", "publish.topic"},
    {"routes", "publish_topic", "publish.topic"},
    {"web", "cors", "web.origins"},
    {"web", "allowed_origins", "web.origins"},
    {"web", "cors_origins", "web.origins"},
    {"web", "port", "listen: [{ address: 0.0.0.0:PORT }]"},
    {"web", "address", "listen: [{ address: … }]"},
    {"web", "prefix", "web.base_path"},
};

/* --- unknown keys ---------------------------------------------------------------------------------------------- */

/* clientId, client-id and CLIENT ID as client_id. */
static void normal(const char *key, char out[KEY_MAX])
{
    size_t len = 0;
    for (size_t i = 0; key[i] && len + 2 < KEY_MAX; i++) {
        unsigned char c = (unsigned char)key[i];
        if (isupper(c) && i && islower((unsigned char)key[i - 1]))
            out[len++] = '_';
        out[len++] = c == '-' || c == ' ' || c == '.' ? '_' : (char)tolower(c);
    }
    out[len] = '\0';
}

/* The path without indices: "routes" for "routes[3]", "roles" for one of its names. */
static void table_path(const char *path, char out[PATH_LEN])
{
    size_t len = 0;
    for (const char *at = path; *at && len + 1 < PATH_LEN; at++) {
        if (*at == '[')
            at += strcspn(at, "]");
        else
            out[len++] = *at;
        if (!*at)
            break;
    }
    out[len] = '\0';
}

static const char *nearest_key(const struct gw_field *table, const char *key, size_t *how_far)
{
    const char *nearest = NULL;
    *how_far = 3;
    for (const struct gw_field *field = table; field->key; field++) {
        size_t far = gw_distance(key, field->key);
        /* A short word becomes any other short word in two steps. */
        if (far < *how_far && far < strlen(field->key) - 1) {
            *how_far = far;
            nearest = field->key;
        }
    }
    return nearest;
}

/* Where else in the file a key of this name belongs. */
struct elsewhere {
    const char *key;
    char from[PATH_LEN]; /* the table that does not have it */
    char path[PATH_LEN], parent[KEY_MAX];
    enum gw_field_type parent_type;
    int rank;       /* 0: below that table, 1: above it, 2: elsewhere; 3: nowhere */
    unsigned depth; /* of those elsewhere the one that is nested least is meant: broker.url, not engine.valkey.url */
    bool several;
};

static unsigned path_depth(const char *path)
{
    unsigned depth = 0;
    for (; *path; path++)
        depth += *path == '.';
    return depth;
}

static void elsewhere_note(struct elsewhere *found, const char *path, const struct gw_field *parent)
{
    size_t from = strlen(found->from), len = strlen(path);
    const char *dot = strrchr(path, '.');
    size_t above = dot ? (size_t)(dot - path) : 0; /* the length of the path of the table that has the key */
    int rank = len > from && !strncmp(path, found->from, from) && (!from || path[from] == '.')                ? 0
               : above <= from && !strncmp(path, found->from, above) && (!above || found->from[above] == '.') ? 1
                                                                                                              : 2;
    unsigned depth = path_depth(path);
    if (rank > found->rank || (rank == found->rank && (rank < 2 || depth > found->depth)))
        return;
    found->several = rank == found->rank && depth == found->depth;
    found->rank = rank;
    found->depth = depth;
    snprintf(found->path, sizeof found->path, "%s", path);
    snprintf(found->parent, sizeof found->parent, "%s", parent ? parent->key : "");
    found->parent_type = parent ? parent->type : GW_FIELD_TABLE;
}

/* Tables are nested four deep at most. */
static void elsewhere_walk(const struct gw_field *table, const char *path, const struct gw_field *parent,
                           struct elsewhere *found)
{
    for (const struct gw_field *field = table; field->key; field++) {
        char own[PATH_LEN];
        snprintf(own, sizeof own, "%s%s%s", path, *path ? "." : "", field->key);
        if (!strcmp(field->key, found->key))
            elsewhere_note(found, own, parent);
        if (field->table)
            elsewhere_walk(field->table, own, field, found);
    }
}

static bool elsewhere_problem(const struct gw_node *key, const char *name, const char *path,
                              struct gw_problems *problems)
{
    struct elsewhere found = {.key = name, .rank = 3};
    table_path(path, found.from);
    elsewhere_walk(gw_fields_root, "", NULL, &found);
    if (found.rank == 3 || found.several)
        return false;
    char where[96] = "without indentation";
    if (*found.parent)
        snprintf(where, sizeof where, "%s%s:",
                 found.parent_type == GW_FIELD_LIST  ? "in an entry of "
                 : found.parent_type == GW_FIELD_MAP ? "below a name in "
                                                     : "below ",
                 found.parent);
    /* Below this table, its own path says more: with the number of the entry. */
    const char *whole = found.rank ? "" : path, *rest = found.path + (found.rank ? 0 : strlen(found.from));
    gw_problem_add(problems, key->line, key->column, "%s%s%s: unknown key here (%s%s expected, %s)", path,
                   *path ? "." : "", key->text, whole, rest, where);
    return true;
}

/* `tls.ca_file: …` as one key. */
static bool dotted_problem(const struct gw_field *table, const struct gw_node *key, const char *path,
                           struct gw_problems *problems)
{
    size_t len = strcspn(key->text, ".");
    if (!key->text[len])
        return false;
    for (const struct gw_field *field = table; field->key; field++) {
        if (strlen(field->key) != len || strncmp(field->key, key->text, len) != 0)
            continue;
        gw_problem_add(problems, key->line, key->column, "%s%s%s: a key has no '.' (%s: expected, and below it %s:)",
                       path, *path ? "." : "", key->text, field->key, key->text + len + 1);
        return true;
    }
    return false;
}

static bool other_name_problem(const struct gw_node *key, const char *name, const char *path,
                               struct gw_problems *problems)
{
    char table[PATH_LEN];
    table_path(path, table);
    for (size_t i = 0; i < sizeof other_names / sizeof *other_names; i++) {
        if (strcmp(other_names[i].table, table) != 0 || strcmp(other_names[i].key, name) != 0)
            continue;
        gw_problem_add(problems, key->line, key->column, "%s%s%s: unknown key (%s expected)", path, *path ? "." : "",
                       key->text, other_names[i].meant);
        return true;
    }
    return false;
}

static bool broker_problem(const struct gw_node *key, const char *name, struct gw_problems *problems)
{
    size_t how_far;
    const char *meant = nearest_key(gw_fields_broker, name, &how_far);
    for (size_t i = 0; !meant && i < sizeof other_names / sizeof *other_names; i++) {
        if (!strcmp(other_names[i].table, "broker") && !strcmp(other_names[i].key, name) &&
            !strncmp(other_names[i].meant, "broker.", 7))
            meant = other_names[i].meant + 7;
    }
    if (meant)
        gw_problem_add(problems, key->line, key->column, "%s: unknown key (broker.%s expected, below broker:)",
                       key->text, meant);
    return meant != NULL;
}

void gw_meant_key(const struct gw_field *table, const struct gw_node *key, const char *path,
                  struct gw_problems *problems)
{
    char name[KEY_MAX];
    size_t how_far;
    struct gw_buf odd = {0};
    bool reported = gw_yaml_odd(key->text, &odd);
    gw_buf_fini(&odd);
    if (reported)
        return;
    size_t glued = gw_meant_glued(key->text);
    if (glued) {
        gw_problem_add(problems, key->line, key->column, "%s%s%.*s: no blank behind its ':' (%.*s: … expected)", path,
                       *path ? "." : "", (int)glued, key->text, (int)glued, key->text);
        return;
    }
    normal(key->text, name);
    const char *nearest = nearest_key(table, name, &how_far);
    bool close = nearest && how_far < 2;
    /* mqtt_host and broker_password at the top are keys of broker: */
    size_t prefix = *path ? 0 : !strncmp(name, "mqtt_", 5) ? 5 : !strncmp(name, "broker_", 7) ? 7 : 0;
    if (prefix && !close && broker_problem(key, name + prefix, problems))
        return;
    if (!close && (other_name_problem(key, name, path, problems) || dotted_problem(table, key, path, problems) ||
                   elsewhere_problem(key, name, path, problems)))
        return;
    struct gw_buf known = {0};
    for (const struct gw_field *field = table; field->key; field++)
        gw_buf_printf(&known, "%s%s", known.len ? ", " : "", field->key);
    if (nearest)
        gw_problem_add(problems, key->line, key->column, "%s%s%s: unknown key (did you mean %s?)", path,
                       *path ? "." : "", key->text, nearest);
    else
        gw_problem_add(problems, key->line, key->column, "%s%s%s: unknown key (%s expected)", path, *path ? "." : "",
                       key->text, known.data);
    gw_buf_fini(&known);
}
