#include "config/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/transform.h"
#include "gateway/alloc.h"
#include "gateway/codec.h"
#include "gateway/engine.h"
#include "gateway/media.h"
#include "gateway/topic.h"
#include "topic/pattern.h"

/* How many levels more than it needs a name gets at most while one that is not excepted is looked for. */
#define EXCEPT_LENGTHS 8

struct checked {
    struct gw_pattern *topic, *channel, *publish, *available; /* NULL where absent or wrong */
    struct gw_pattern **except;                               /* those that compiled */
    size_t except_count;
    bool usable; /* all that is there compiled */
};

static struct gw_pattern *check_compile(const char *text, enum gw_pattern_kind kind, const struct gw_node *node,
                                        size_t route, const char *key, struct checked *checked,
                                        struct gw_problems *problems)
{
    if (!text || !node)
        return NULL;
    struct gw_buf error = {0};
    size_t offset = 0;
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

/* `*` is a wildcard nearly everywhere else. */
static void check_star(const char *topic, const struct gw_node *node, size_t route, const char *key,
                       struct gw_problems *problems)
{
    for (const char *level = topic; level; level = strchr(level, '/') ? strchr(level, '/') + 1 : NULL) {
        size_t len = strcspn(level, "/");
        if (len && len < 3 && strspn(level, "*") == len) {
            gw_warning_add(problems, node->line, node->column,
                           "routes[%zu].%s: '%.*s' is no wildcard in MQTT, it matches itself (%s expected)", route,
                           key, (int)len, level, len == 1 ? "+ for one level" : "# or {name...} for several levels");
            return;
        }
    }
}

/* What is excepted must be some of the topics, and not all. */
static void check_except(const struct gw_cfg_route *route, const struct gw_node *node, size_t index,
                         struct checked *checked, struct gw_problems *problems)
{
    size_t count = !node ? 0 : node->kind == GW_NODE_LIST ? node->count : 1;
    checked->except = gw_calloc(count, sizeof *checked->except);
    for (size_t i = 0; i < count; i++) {
        const struct gw_node *item = node->kind == GW_NODE_LIST ? node->items[i] : node;
        if (item->kind != GW_NODE_SCALAR || !item->len)
            continue; /* reported already */
        char key[40];
        snprintf(key, sizeof key, node->kind == GW_NODE_LIST ? "except[%zu]" : "except", i);
        struct gw_pattern *pattern = check_compile(item->text, GW_PATTERN_TOPIC, item, index, key, checked, problems);
        if (!pattern)
            continue;
        checked->except[checked->except_count++] = pattern;
        check_star(item->text, item, index, key, problems);
        if (!checked->topic)
            continue;
        struct gw_buf sample = {0};
        if (!gw_pattern_sample(pattern, checked->topic, 0, &sample))
            gw_problem_add(
                problems, item->line, item->column,
                "routes[%zu].%s: '%s' matches no topic of '%s', so there is nothing to except (%s expected)", index,
                key, item->text, route->topic,
                item->text[0] == '$' ? "none, as a wildcard in the first level matches no topic with $,"
                                     : "a filter that matches some of them");
        else if (gw_pattern_covers(pattern, checked->topic))
            gw_problem_add(problems, item->line, item->column,
                           "routes[%zu].%s: '%s' leaves nothing of '%s' (a filter that matches some of its topics "
                           "expected)",
                           index, key, item->text, route->topic);
        gw_buf_fini(&sample);
    }
}

/* A publish finds its topic by reading the channel backwards, so {name} and {name...} have to be the same in both. */
static void check_capture_forms(const struct checked *checked, const struct gw_node *node, size_t route,
                                struct gw_problems *problems)
{
    for (size_t i = 0; i < gw_pattern_capture_count(checked->channel); i++) {
        const char *name = gw_pattern_capture_name(checked->channel, i);
        bool rest = gw_pattern_has_rest(checked->topic, name);
        if (gw_pattern_has_capture(checked->topic, name) && rest != gw_pattern_has_rest(checked->channel, name))
            gw_problem_add(problems, node->line, node->column,
                           "routes[%zu].channel: {%s%s} captures %s in the topic '%s' ({%s%s} expected here too)",
                           route, name, rest ? "..." : "", rest ? "several levels" : "one level",
                           gw_pattern_text(checked->topic), name, rest ? "..." : "");
    }
}

/* Every capture of `user` must be one of `giver`'s, or of the transform (made_by NULL: there is none). */
static void check_captures(const struct gw_pattern *user, const struct gw_pattern *giver, const char *giver_name,
                           const struct gw_cfg_route *made_by, const struct gw_node *node, size_t route,
                           const char *key, struct gw_problems *problems)
{
    if (!user || !giver)
        return;
    for (size_t i = 0; i < gw_pattern_capture_count(user); i++) {
        const char *name = gw_pattern_capture_name(user, i);
        if (!gw_pattern_has_capture(giver, name) && !(made_by && gw_route_transform_makes(made_by, name)))
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
        check_captures(checked->publish, giver, "the channel", NULL, topic, index, "publish.topic", problems);
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
        check_captures(checked->topic, checked->channel, "the channel", NULL, block, index, "publish", problems);
}

/* What a publish to `channel` becomes; false if it isn't this route's. */
static bool check_resolve(const struct checked *checked, const char *channel, size_t len, struct gw_buf *out)
{
    struct gw_captures captures;
    if (!gw_pattern_match(checked->channel ? checked->channel : checked->topic, channel, len, &captures))
        return false;
    size_t excepted = checked->channel
                          ? gw_patterns_cover(checked->except, checked->except_count, checked->topic, &captures)
                          : gw_patterns_match(checked->except, checked->except_count, channel, len);
    if (excepted != SIZE_MAX)
        return false;
    if (checked->publish)
        return gw_pattern_expand(checked->publish, &captures, out);
    if (checked->channel)
        return gw_pattern_expand(checked->topic, &captures, out);
    gw_buf_add(out, channel, len);
    return true;
}

/* A channel that both routes can publish to, and where each would send it. Names of several lengths are tried, since
 * what is excepted may depend on it. */
static bool check_both_publish(const struct checked *one, const struct checked *two, struct gw_buf *sample,
                               struct gw_buf *left, struct gw_buf *right)
{
    const struct gw_pattern *a = one->channel ? one->channel : one->topic;
    const struct gw_pattern *b = two->channel ? two->channel : two->topic;
    size_t lengths = one->except_count || two->except_count ? EXCEPT_LENGTHS : 1;
    for (size_t extra = 0; extra < lengths; extra++) {
        gw_buf_clear(sample);
        gw_buf_clear(left);
        gw_buf_clear(right);
        if (gw_pattern_sample(a, b, extra, sample) && check_resolve(one, sample->data, sample->len, left) &&
            check_resolve(two, sample->data, sample->len, right))
            return true;
    }
    return false;
}

static void check_conflict(const struct gw_config *config, const struct checked *all, size_t i, size_t j,
                           const struct gw_node *node, struct gw_problems *problems)
{
    const struct gw_pattern *a = all[i].channel ? all[i].channel : all[i].topic;
    const struct gw_pattern *b = all[j].channel ? all[j].channel : all[j].topic;
    const char *a_filter = gw_pattern_filter(a), *b_filter = gw_pattern_filter(b);
    if (!gw_topic_filters_overlap(a_filter, strlen(a_filter), b_filter, strlen(b_filter)))
        return;
    struct gw_buf sample = {0}, left = {0}, right = {0};
    if (check_both_publish(&all[i], &all[j], &sample, &left, &right)) {
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
        else if (one->transform != two->transform)
            differ = "transform";
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

/* Where two routes make the same channel, the first in the file makes the message. One whose every topic an earlier
 * one has, on the same channel, never makes any; a catch-all in front does that. */
static void check_reached(const struct gw_config *config, const struct checked *all, size_t j,
                          const struct gw_node *node, struct gw_problems *problems)
{
    for (size_t i = 0; i < j; i++) {
        if (!all[i].usable || all[i].channel || config->routes[i].transform ||
            !gw_pattern_covers(all[i].topic, all[j].topic))
            continue;
        bool whole = true;
        for (size_t k = 0; k < all[i].except_count && whole; k++) {
            struct gw_buf sample = {0};
            whole = !gw_pattern_sample(all[i].except[k], all[j].topic, 0, &sample);
            gw_buf_fini(&sample);
        }
        if (!whole)
            continue;
        gw_warning_add(problems, node->line, node->column,
                       "routes[%zu]: it makes no message: '%s' is in '%s' of routes[%zu] in line %d, which comes "
                       "first and makes the same channels (put it before that one)",
                       j, config->routes[j].topic, config->routes[i].topic, i, config->routes[i].line);
        return;
    }
}

/* A browser would run it as a page of the gateway's own, and it comes from a device. */
static void check_content_type(const struct gw_cfg_route *route, const struct gw_node *map, size_t index,
                               struct gw_problems *problems)
{
    const struct gw_node *node = gw_node_get(map, "content_type");
    if (!node || !route->content_type || gw_media_type_allowed(route->content_type, strlen(route->content_type)))
        return;
    gw_problem_add(
        problems, node->line, node->column,
        "routes[%zu].content_type: '%.100s' can't be served (a type such as image/jpeg or application/cbor "
        "expected, none that browsers run: no HTML, XML, SVG, script or style sheet)",
        index, route->content_type);
}

/* A key without effect is a mistake in the file. */
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
        if (own->usable)
            check_star(route->topic, topic, i, "topic", problems);
        check_except(route, gw_node_get(map, "except"), i, own, problems);
        own->channel = check_compile(route->channel, GW_PATTERN_CHANNEL, channel, i, "channel", own, problems);
        own->publish =
            check_compile(route->publish_topic, GW_PATTERN_PUBLISH, gw_node_get(gw_node_get(map, "publish"), "topic"),
                          i, "publish.topic", own, problems);
        const struct gw_node *available = gw_node_get(gw_node_get(map, "available"), "topic");
        own->available =
            check_compile(route->available_topic, GW_PATTERN_CHANNEL, available, i, "available.topic", own, problems);
        bool unknown = gw_node_get(map, "transform") && !route->transform; /* told already; who knows what it makes */
        if (own->usable && own->channel && !unknown) {
            check_captures(own->channel, own->topic, "the topic", route, channel, i, "channel", problems);
            check_capture_forms(own, channel, i, problems);
        }
        check_publish(route, own, map, i, problems);
        gw_check_confirm(config, i, map, own->usable ? own->channel ? own->channel : own->topic : NULL, problems);
        if (own->usable)
            check_captures(own->available, own->channel ? own->channel : own->topic, "the channel", NULL, available,
                           i, "available.topic", problems);
        check_rate(route, rate, i, problems);
        check_content_type(route, map, i, problems);
        char path[40];
        snprintf(path, sizeof path, "routes[%zu]", i);
        gw_route_check_transform(config, route, map, path, own->topic, own->channel, problems);
    }
    for (size_t j = 1; j < config->route_count; j++) {
        if (all[j].usable && !all[j].channel)
            check_reached(config, all, j, list->items[j], problems);
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
        gw_pattern_free(all[i].available);
        for (size_t j = 0; j < all[i].except_count; j++)
            gw_pattern_free(all[i].except[j]);
        free(all[i].except);
    }
    free(all);
}
