#include "config/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "engine/resp.h"
#include "gateway/codec.h"
#include "topic/pattern.h"
#include "topic/topic.h"

struct checked {
    struct gw_pattern *topic, *channel, *publish; /* NULL where absent or wrong */
    bool usable;                                  /* all that is there compiled */
};

static struct gw_pattern *check_compile(const char *text, enum gw_pattern_kind kind, const struct gw_node *node,
                                        size_t route, const char *key, struct checked *checked,
                                        struct gw_problems *problems)
{
    if (!text || !node)
        return NULL;
    struct gw_buf error;
    size_t offset = 0;
    gw_buf_init(&error);
    struct gw_pattern *pattern = gw_pattern_compile(text, kind, &error, &offset);
    if (!pattern) {
        checked->usable = false;
        /* Inside a quoted or expanded text the offset is only the offset; the column is then that of its beginning.
         */
        int column = node->column + (node->quoted ? 0 : (int)offset);
        gw_problem_add(problems, node->line, column, "routes[%zu].%s: %s", route, key, error.data);
    }
    gw_buf_fini(&error);
    return pattern;
}

/* Filters that are a command to the broker, and what they would do. */
static const struct {
    const char *first_level;
    bool argument; /* its second level belongs to it */
    const char *why;
} check_commands[] = {
    {"$share", true,
     "a shared subscription takes messages away from the other members of its group, and brings only a part "
     "of them here"},
    {"$queue", false,
     "a shared subscription takes messages away from the other subscribers, and brings only a part of them "
     "here"},
    {"$exclusive", false, "an exclusive subscription locks out everybody else"},
    {"$delayed", true, "topics of this kind can be published to, never subscribed to"},
};

/* False: the topic is such a command; the problem says which filter was meant. */
static bool check_no_command(const char *topic, const struct gw_node *node, size_t route,
                             struct gw_problems *problems)
{
    for (size_t i = 0; i < sizeof check_commands / sizeof *check_commands; i++) {
        size_t len = strlen(check_commands[i].first_level);
        if (strncmp(topic, check_commands[i].first_level, len) != 0 || (topic[len] && topic[len] != '/'))
            continue;
        const char *meant = topic[len] ? topic + len + 1 : "";
        if (check_commands[i].argument) /* a group's name or a delay comes first */
            meant = strchr(meant, '/') ? strchr(meant, '/') + 1 : "";
        gw_problem_add(problems, node->line, node->column, "routes[%zu].topic: %s ('%s' expected)", route,
                       check_commands[i].why, *meant ? meant : "devices/#");
        return false;
    }
    return true;
}

/* Every capture of `user` must be one of `giver`'s. */
static void check_captures(const struct gw_pattern *user, const struct gw_pattern *giver, const char *giver_name,
                           const struct gw_node *node, size_t route, const char *key, struct gw_problems *problems)
{
    if (!user || !giver)
        return;
    for (size_t i = 0; i < gw_pattern_capture_count(user); i++) {
        const char *name = gw_pattern_capture_name(user, i);
        if (!gw_pattern_has_capture(giver, name))
            gw_problem_add(problems, node->line, node->column,
                           "routes[%zu].%s: uses {%s}, which %s '%s' lacks (one of its captures expected)", route,
                           key, name, giver_name, gw_pattern_text(giver));
    }
}

static void check_publish(const struct gw_cfg_route *route, const struct checked *checked, const struct gw_node *map,
                          size_t index, struct gw_problems *problems)
{
    const struct gw_node *block = gw_node_get(map, "publish"), *topic = gw_node_get(block, "topic");
    if (!route->publish || !checked->usable)
        return;
    const struct gw_pattern *giver = checked->channel ? checked->channel : checked->topic;
    if (checked->publish) {
        check_captures(checked->publish, giver, "the channel", topic, index, "publish.topic", problems);
        return;
    }
    if (!checked->channel || !block)
        return; /* the channel is the topic */
    if (gw_pattern_has_anonymous(checked->topic))
        gw_problem_add(problems, block->line, block->column,
                       "routes[%zu].publish: the topic '%s' has wildcards that a channel's name can't fill "
                       "(publish.topic expected)",
                       index, route->topic);
    else
        check_captures(checked->topic, checked->channel, "the channel", block, index, "publish", problems);
}

/* What a publish to `channel` becomes; false if it isn't this route's. */
static bool check_resolve(const struct checked *checked, const char *channel, size_t len, struct gw_buf *out)
{
    struct gw_captures captures;
    if (!gw_pattern_match(checked->channel ? checked->channel : checked->topic, channel, len, &captures))
        return false;
    if (checked->publish)
        return gw_pattern_expand(checked->publish, &captures, out);
    if (checked->channel)
        return gw_pattern_expand(checked->topic, &captures, out);
    gw_buf_add(out, channel, len);
    return true;
}

static void check_conflict(const struct gw_config *config, const struct checked *all, size_t i, size_t j,
                           const struct gw_node *node, struct gw_problems *problems)
{
    const struct gw_pattern *a = all[i].channel ? all[i].channel : all[i].topic;
    const struct gw_pattern *b = all[j].channel ? all[j].channel : all[j].topic;
    const char *a_filter = gw_pattern_filter(a), *b_filter = gw_pattern_filter(b);
    if (!gw_topic_filters_overlap(a_filter, strlen(a_filter), b_filter, strlen(b_filter)))
        return;
    struct gw_buf sample, left, right;
    gw_buf_init(&sample);
    gw_buf_init(&left);
    gw_buf_init(&right);
    if (gw_pattern_sample(a, b, &sample) && check_resolve(&all[i], sample.data, sample.len, &left) &&
        check_resolve(&all[j], sample.data, sample.len, &right)) {
        const struct gw_cfg_route *one = &config->routes[i], *two = &config->routes[j];
        const char *differ = NULL;
        if (left.len != right.len || memcmp(left.data, right.data, left.len) != 0)
            differ = "topic";
        else if (one->publish_qos != two->publish_qos)
            differ = "qos";
        else if (one->publish_retain != two->publish_retain)
            differ = "retain";
        else if (one->codec != two->codec)
            differ = "codec";
        if (differ && !strcmp(differ, "topic"))
            gw_problem_add(problems, node->line, node->column,
                           "routes[%zu].publish: a publish to channel '%s' goes to '%s' here and to '%s' by "
                           "routes[%zu] in line %d (one way for each channel expected)",
                           j, sample.data, right.data, left.data, i, one->line);
        else if (differ)
            gw_problem_add(problems, node->line, node->column,
                           "routes[%zu].publish: a publish to channel '%s' has another %s here than by routes[%zu] "
                           "in line %d (one way for each channel expected)",
                           j, sample.data, differ, i, one->line);
    }
    gw_buf_fini(&sample);
    gw_buf_fini(&left);
    gw_buf_fini(&right);
}

/* A key that has no effect is a mistake of whoever wrote it. */
static void check_rate(const struct gw_cfg_route *route, const struct gw_node *rate, size_t index,
                       struct gw_problems *problems)
{
    static const struct {
        const char *key;
        bool with_latest;
    } keys[] = {{"interval", true}, {"deadband", false}, {"pointer", false}};
    if (!rate)
        return;
    if (route->rate == GW_RATE_LATEST && !gw_node_get(rate, "interval"))
        gw_problem_add(problems, rate->line, rate->column,
                       "routes[%zu].rate.interval: it is missing (policy latest needs a duration such as 250ms)",
                       index);
    for (size_t i = 0; i < sizeof keys / sizeof *keys && route->rate != GW_RATE_ON_CHANGE; i++) {
        const struct gw_node *node = gw_node_get(rate, keys[i].key);
        if (node && !(keys[i].with_latest && route->rate == GW_RATE_LATEST))
            gw_problem_add(problems, node->line, node->column,
                           "routes[%zu].rate.%s: it has no effect here (policy %son_change expected)", index,
                           keys[i].key, keys[i].with_latest ? "latest or " : "");
    }
    if (route->rate_pointer && route->rate_pointer[0] != '/') {
        const struct gw_node *node = gw_node_get(rate, "pointer");
        gw_problem_add(problems, node->line, node->column,
                       "routes[%zu].rate.pointer: '%s' is no JSON pointer (/key or /key/0 expected)", index,
                       route->rate_pointer);
    }
}

void gw_check_routes(const struct gw_config *config, const struct gw_node *list, struct gw_problems *problems)
{
    struct checked *all = gw_calloc(config->route_count, sizeof *all);
    for (size_t i = 0; i < config->route_count; i++) {
        const struct gw_cfg_route *route = &config->routes[i];
        const struct gw_node *map = list->items[i], *channel = gw_node_get(map, "channel");
        const struct gw_node *rate = gw_node_get(map, "rate");
        struct checked *own = &all[i];
        const struct gw_node *topic = gw_node_get(map, "topic");
        own->usable = route->topic && topic && check_no_command(route->topic, topic, i, problems);
        own->topic = check_compile(route->topic, GW_PATTERN_TOPIC, topic, i, "topic", own, problems);
        own->channel = check_compile(route->channel, GW_PATTERN_CHANNEL, channel, i, "channel", own, problems);
        own->publish =
            check_compile(route->publish_topic, GW_PATTERN_PUBLISH, gw_node_get(gw_node_get(map, "publish"), "topic"),
                          i, "publish.topic", own, problems);
        if (own->usable && own->channel)
            check_captures(own->channel, own->topic, "the topic", channel, i, "channel", problems);
        check_publish(route, own, map, i, problems);
        check_rate(route, rate, i, problems);
    }
    for (size_t j = 1; j < config->route_count; j++) {
        const struct gw_node *node = gw_node_get(list->items[j], "publish");
        for (size_t i = 0; i < j && node && config->routes[j].publish && all[j].usable; i++) {
            if (config->routes[i].publish && all[i].usable)
                check_conflict(config, all, i, j, node, problems);
        }
    }
    for (size_t i = 0; i < config->route_count; i++) {
        gw_pattern_free(all[i].topic);
        gw_pattern_free(all[i].channel);
        gw_pattern_free(all[i].publish);
    }
    free(all);
}

/* Can the database be there? Whether it is sound is seen when it is opened. */
static void check_storage_path(const char *path, const struct gw_node *node, struct gw_problems *problems)
{
    struct stat info;
    const char *slash = strrchr(path, '/');
    char *folder = !slash          ? gw_strdup(".")
                   : slash == path ? gw_strdup("/")
                                   : gw_strndup(path, (size_t)(slash - path));
    if (slash && !slash[1])
        gw_problem_add(problems, node->line, node->column,
                       "storage.path: '%s' is a folder (a file's name in it expected)", path);
    else if (stat(folder, &info) || access(folder, W_OK | X_OK))
        gw_problem_add(problems, node->line, node->column,
                       "storage.path: can't write in '%s': %s (a writable folder expected)", folder, strerror(errno));
    else if (!S_ISDIR(info.st_mode))
        gw_problem_add(problems, node->line, node->column,
                       "storage.path: '%s' is no folder (a writable folder expected)", folder);
    else if (!stat(path, &info) && (!S_ISREG(info.st_mode) || access(path, R_OK | W_OK)))
        gw_problem_add(problems, node->line, node->column,
                       "storage.path: can't use '%s': %s (a writable file expected)", path,
                       S_ISREG(info.st_mode) ? strerror(errno) : "it is no plain file");
    free(folder);
}

void gw_check_storage(const struct gw_config *config, const struct gw_node *root, struct gw_problems *problems)
{
    const struct gw_node *storage = gw_node_get(root, "storage"), *routes = gw_node_get(root, "routes");
    const struct gw_node *path = gw_node_get(storage, "path");
    if (config->storage.path && path)
        check_storage_path(config->storage.path, path, problems);
    else if (storage && storage->kind == GW_NODE_MAP && !path)
        gw_problem_add(problems, storage->line, storage->column,
                       "storage.path: it is missing (a file's name expected)");
    for (size_t i = 0; i < config->route_count && !storage; i++) {
        const struct gw_history_engine *engine = config->routes[i].history_engine;
        const struct gw_node *store = gw_node_get(gw_node_get(routes->items[i], "history"), "store");
        if (engine && engine->kept && store)
            gw_problem_add(problems, store->line, store->column,
                           "routes[%zu].history.store: there is no place for it (storage: with a path expected)", i);
    }
}

static bool check_is_word(const char *text)
{
    for (const char *at = text; *at; at++) {
        if (!((*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9') || *at == '-' ||
              *at == '_' || *at == '.'))
            return false;
    }
    return *text && strlen(text) <= 128;
}

static void check_engine_word(const struct gw_node *map, const char *key, const char *text,
                              struct gw_problems *problems)
{
    const struct gw_node *at = gw_node_get(map, key);
    if (!check_is_word(text))
        gw_problem_add(problems, at ? at->line : map->line, at ? at->column : map->column,
                       "engine.%s: '%s' is no name (1 to 128 letters, digits, -, _ and . expected)", key, text);
}

void gw_check_engine(const struct gw_config *config, const struct gw_node *map, struct gw_problems *problems)
{
    const struct gw_cfg_engine *engine = &config->engine;
    const struct gw_node *valkey = gw_node_get(map, "valkey"), *url = gw_node_get(valkey, "url");
    char *host = NULL, *port = NULL;
    unsigned database;
    const char *wrong = engine->url ? gw_resp_parse_url(engine->url, &host, &port, &database) : NULL;
    free(host);
    free(port);
    if (!engine->url)
        gw_problem_add(problems, map->line, map->column,
                       "engine.valkey.url: it is missing (redis://host:port expected)");
    else if (wrong && url)
        gw_problem_add(problems, url->line, url->column, "engine.valkey.url: %s", wrong);
    if (engine->username && !engine->password)
        gw_problem_add(problems, valkey->line, valkey->column,
                       "engine.valkey.username: it has no password (password or password_file expected)");
    if (engine->prefix)
        check_engine_word(map, "prefix", engine->prefix, problems);
    check_engine_word(map, "node", engine->node, problems);
    if (config->broker.client_id_made)
        gw_problem_add(problems, map->line, map->column,
                       "engine: broker.client_id is missing: the gateways share one session (the same client_id on "
                       "each expected)");
    if (config->broker.session_expiry_ms <= 0)
        gw_problem_add(problems, map->line, map->column,
                       "engine: broker.session_expiry is missing: the broker keeps what comes while another gateway "
                       "takes over (1h, for example, expected)");
    if (config->storage.path)
        gw_problem_add(problems, map->line, map->column,
                       "engine: there is storage as well (one of the two expected)");
}
