#include "route/routes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/topic.h"
#include "route/routes_private.h"

static struct gw_pattern *routes_compile(const char *text, enum gw_pattern_kind kind)
{
    if (!text)
        return NULL;
    struct gw_buf error = {0};
    size_t offset;
    struct gw_pattern *pattern = gw_pattern_compile(text, kind, &error, &offset);
    assert(pattern); /* the configuration was checked */
    gw_buf_fini(&error);
    return pattern;
}

/* Appends the route to the list of those with the same filter, so that lists are in the order of the file. */
static void routes_index(struct gw_routes *routes, struct gw_topic_tree *tree, const char *filter, uint32_t route,
                         size_t next_offset)
{
    void **place = gw_topic_tree_insert(tree, filter, strlen(filter));
    if (!*place) {
        *place = (void *)(uintptr_t)(route + 1);
        return;
    }
    uint32_t at = (uint32_t)(uintptr_t)*place - 1;
    for (;;) {
        uint32_t *next = (uint32_t *)(void *)((char *)&routes->routes[at] + next_offset);
        if (!*next) {
            *next = route + 1;
            return;
        }
        at = *next - 1;
    }
}

/* --- life ------------------------------------------------------------------------------------------------------- */

struct gw_routes *gw_routes_build(struct gw_config *config)
{
    struct gw_routes *routes = gw_calloc(1, sizeof *routes);
    atomic_init(&routes->refs, 1);
    routes->config = gw_config_ref(config);
    routes->routes = gw_calloc(config->route_count, sizeof *routes->routes);
    routes->by_topic = gw_topic_tree_create();
    routes->by_channel = gw_topic_tree_create();
    routes->by_subscription = gw_topic_tree_create();
    for (uint32_t i = 0; i < config->route_count; i++) {
        struct gw_route *route = &routes->routes[i];
        route->topic = routes_compile(config->routes[i].topic, GW_PATTERN_TOPIC);
        route->channel = routes_compile(config->routes[i].channel, GW_PATTERN_CHANNEL);
        route->publish = routes_compile(config->routes[i].publish_topic, GW_PATTERN_PUBLISH);
        route->available = routes_compile(config->routes[i].available_topic, GW_PATTERN_CHANNEL);
        route->confirm =
            routes_compile(config->routes[i].confirm ? config->routes[i].confirm_topic : NULL, GW_PATTERN_PUBLISH);
        routes->watching |= config->routes[i].stale_ms || route->available;
        route->except_count = config->routes[i].except.count;
        route->except = gw_calloc(route->except_count, sizeof *route->except);
        for (size_t j = 0; j < route->except_count; j++)
            route->except[j] = routes_compile(config->routes[i].except.items[j], GW_PATTERN_TOPIC);
        gw_route_transform_create(route, &config->routes[i]);
        routes_index(routes, routes->by_topic, gw_pattern_filter(route->topic), i,
                     offsetof(struct gw_route, next_by_topic));
        routes_index(routes, routes->by_channel, gw_pattern_filter(gw_route_channel_pattern(route)), i,
                     offsetof(struct gw_route, next_by_channel));
    }
    gw_routes_subscribe(routes);
    return routes;
}

struct gw_routes *gw_routes_ref(struct gw_routes *routes)
{
    atomic_fetch_add(&routes->refs, 1);
    return routes;
}

void gw_routes_unref(struct gw_routes *routes)
{
    if (!routes || atomic_fetch_sub(&routes->refs, 1) != 1)
        return;
    for (size_t i = 0; i < routes->config->route_count; i++) {
        gw_pattern_free(routes->routes[i].topic);
        gw_pattern_free(routes->routes[i].channel);
        gw_pattern_free(routes->routes[i].publish);
        gw_pattern_free(routes->routes[i].available);
        gw_pattern_free(routes->routes[i].confirm);
        for (size_t j = 0; j < routes->routes[i].except_count; j++)
            gw_pattern_free(routes->routes[i].except[j]);
        free(routes->routes[i].except);
        gw_route_transform_destroy(&routes->routes[i]);
    }
    free(routes->routes);
    free(routes->subscriptions);
    gw_topic_tree_destroy(routes->by_topic);
    gw_topic_tree_destroy(routes->by_channel);
    gw_topic_tree_destroy(routes->by_subscription);
    gw_config_unref(routes->config);
    free(routes);
}

/* --- matching --------------------------------------------------------------------------------------------------- */

size_t gw_route_excepted(const struct gw_route *route, const char *topic, size_t len)
{
    return gw_patterns_match(route->except, route->except_count, topic, len);
}

bool gw_route_has_topic(const struct gw_route *route, const char *topic, size_t len, struct gw_captures *captures)
{
    return gw_pattern_match(route->topic, topic, len, captures) &&
           (!route->except_count || gw_route_excepted(route, topic, len) == SIZE_MAX);
}

bool gw_route_channel(const struct gw_route *route, const char *topic, size_t len, struct gw_captures *captures,
                      struct gw_buf *out)
{
    if (!gw_route_has_topic(route, topic, len, captures))
        return false;
    if (route->channel)
        return gw_pattern_expand(route->channel, captures, out);
    gw_buf_add(out, topic, len);
    return true;
}

bool gw_route_has_channel(const struct gw_route *route, const char *channel, size_t len, struct gw_captures *captures,
                          size_t *excepted)
{
    struct gw_captures own;
    size_t none, *by = excepted ? excepted : &none;
    *by = SIZE_MAX;
    if (!captures)
        captures = &own;
    if (!gw_pattern_match(gw_route_channel_pattern(route), channel, len, captures))
        return false;
    /* With wildcards, or a capture that the channel lacks, several topics feed it, and all have to be excepted. */
    if (route->except_count)
        *by = route->channel ? gw_patterns_cover(route->except, route->except_count, route->topic, captures)
                             : gw_route_excepted(route, channel, len);
    return *by == SIZE_MAX;
}

bool gw_route_publish_topic(const struct gw_route *route, const char *channel, size_t len,
                            const struct gw_captures *captures, struct gw_buf *out)
{
    if (route->publish)
        return gw_pattern_expand(route->publish, captures, out);
    if (route->channel)
        return gw_pattern_expand(route->topic, captures, out);
    gw_buf_add(out, channel, len);
    return true;
}

/* Indices of routes whose filter matches, to be put in the order of the file. */
#define CANDIDATES 64

struct candidates {
    const struct gw_routes *routes;
    size_t next_offset;
    uint32_t first[CANDIDATES];
    uint32_t *items; /* first, or allocated when there are more */
    size_t count, allocated;
};

static bool routes_collect(void *context, void *value)
{
    struct candidates *found = context;
    for (uint32_t at = (uint32_t)(uintptr_t)value; at;) {
        GW_GROW_FROM(found->first, found->items, found->count, found->allocated);
        found->items[found->count++] = at - 1;
        at = *(const uint32_t *)(const void *)((const char *)&found->routes->routes[at - 1] + found->next_offset);
    }
    return true;
}

static int routes_compare(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

static void routes_find(const struct gw_routes *routes, const struct gw_topic_tree *tree, size_t next_offset,
                        const char *name, size_t len, struct candidates *found)
{
    found->routes = routes;
    found->next_offset = next_offset;
    found->items = found->first;
    found->count = 0;
    found->allocated = CANDIDATES;
    gw_topic_tree_match_name(tree, name, len, routes_collect, found);
    if (found->count > 1)
        qsort(found->items, found->count, sizeof *found->items, routes_compare);
}

static void routes_found_fini(struct candidates *found)
{
    if (found->items != found->first)
        free(found->items);
}

/* Names the channel that the topic feeds by the route, in `out` where it is not the topic itself: most messages need
 * no buffer. False: it feeds none. */
static bool routes_name(const struct gw_route *route, struct gw_routed *routed, struct gw_captures *captures,
                        struct gw_buf *out)
{
    if (!gw_route_has_topic(route, routed->topic, routed->topic_len, captures))
        return false;
    routed->channel = routed->topic;
    routed->channel_len = routed->topic_len;
    if (!route->channel)
        return true;
    gw_buf_clear(out);
    if (!gw_pattern_expand(route->channel, captures, out))
        return false;
    routed->channel = out->data;
    routed->channel_len = out->len;
    return true;
}

void gw_routes_match(const struct gw_routes *routes, const char *topic, size_t len, gw_routes_visit visit,
                     void *context)
{
    struct candidates found;
    routes_find(routes, routes->by_topic, offsetof(struct gw_route, next_by_topic), topic, len, &found);
    struct gw_routes_made made = {.routes = routes};
    struct gw_buf channel = {0};
    for (size_t i = 0; i < found.count; i++) {
        struct gw_captures captures;
        uint32_t index = found.items[i];
        const struct gw_route *route = &routes->routes[index];
        struct gw_routed routed = {
            .route = index, .topic = topic, .topic_len = len, .captures = &captures, .made = &made};
        made.more = i + 1 < found.count;
        if (route->transform) {
            if (gw_route_has_topic(route, topic, len, &captures))
                visit(context, &routed);
            continue;
        }
        if (!routes_name(route, &routed, &captures, &channel) ||
            (made.channels.len && gw_routes_made_before(&made, index, routed.channel, routed.channel_len)))
            continue;
        visit(context, &routed);
        if (made.more)
            gw_routes_made_note(&made, index, routed.channel, routed.channel_len);
    }
    gw_buf_fini(&channel);
    gw_buf_fini(&made.channels);
    routes_found_fini(&found);
}

/* --- questions of the workers ----------------------------------------------------------------------------------- */

/* Is there a channel of the route that `asked` matches? With `except` and a channel of its own it may say yes where
 * there is none. */
static bool route_overlaps(const struct gw_route *route, const struct gw_pattern *asked)
{
    const struct gw_pattern *pattern = gw_route_channel_pattern(route);
    const char *own = gw_pattern_filter(pattern), *other = gw_pattern_filter(asked);
    if (!gw_topic_filters_overlap(own, strlen(own), other, strlen(other)))
        return false;
    if (gw_pattern_tail(pattern)) {
        struct gw_buf sample = {0};
        bool common = gw_pattern_sample(pattern, asked, 0, &sample);
        gw_buf_fini(&sample);
        if (!common)
            return false;
    }
    for (size_t i = 0; i < route->except_count && !route->channel; i++) {
        if (gw_pattern_covers(route->except[i], asked))
            return false;
    }
    return true;
}

bool gw_routes_channel_possible(const struct gw_routes *routes, const char *filter, size_t len)
{
    if (!gw_topic_has_wildcard(filter, len))
        return gw_routes_of_channel(routes, filter, len) != NULL;
    struct gw_pattern *asked = gw_pattern_of_filter(filter, len);
    bool possible = false;
    for (size_t i = 0; i < routes->config->route_count && !possible; i++)
        possible = route_overlaps(&routes->routes[i], asked);
    gw_pattern_free(asked);
    return possible;
}

const struct gw_cfg_route *gw_routes_get(const struct gw_routes *routes, uint32_t index)
{
    return index < routes->config->route_count ? &routes->config->routes[index] : NULL;
}

bool gw_routes_watch(const struct gw_routes *routes)
{
    return routes->watching;
}

bool gw_routes_availability(const struct gw_routes *routes, uint32_t route, const char *channel, size_t len,
                            struct gw_buf *topic)
{
    const struct gw_route *own = &routes->routes[route];
    struct gw_captures captures;
    return own->available && gw_route_has_channel(own, channel, len, &captures, NULL) &&
           gw_pattern_expand(own->available, &captures, topic);
}

bool gw_routes_is_availability(const struct gw_routes *routes, const char *topic, size_t len)
{
    for (size_t i = 0; routes->watching && i < routes->config->route_count; i++) {
        const struct gw_pattern *own = routes->routes[i].available;
        if (own && gw_pattern_match(own, topic, len, NULL))
            return true;
    }
    return false;
}

const struct gw_config *gw_routes_config(const struct gw_routes *routes)
{
    return routes->config;
}

const char *gw_routes_filter(const struct gw_routes *routes, uint32_t index)
{
    return gw_pattern_filter(routes->routes[index].topic);
}

const struct gw_cfg_route *gw_routes_of_channel(const struct gw_routes *routes, const char *channel, size_t len)
{
    const struct gw_cfg_route *result = NULL;
    struct candidates found;
    routes_find(routes, routes->by_channel, offsetof(struct gw_route, next_by_channel), channel, len, &found);
    for (size_t i = 0; i < found.count && !result; i++) {
        if (gw_route_has_channel(&routes->routes[found.items[i]], channel, len, NULL, NULL))
            result = &routes->config->routes[found.items[i]];
    }
    routes_found_fini(&found);
    return result;
}

bool gw_routes_channel_from(const struct gw_routes *routes, const char *channel, size_t len,
                            const struct gw_buf *which)
{
    bool result = false;
    struct candidates found;
    if (!which->len || !memchr(which->data, 1, which->len))
        return false;
    routes_find(routes, routes->by_channel, offsetof(struct gw_route, next_by_channel), channel, len, &found);
    for (size_t i = 0; i < found.count && !result; i++)
        result = found.items[i] < which->len && which->data[found.items[i]] &&
                 gw_route_has_channel(&routes->routes[found.items[i]], channel, len, NULL, NULL);
    routes_found_fini(&found);
    return result;
}

void gw_routes_topics_of_channel(const struct gw_routes *routes, const char *channel, size_t len,
                                 gw_routes_filter_visit visit, void *context)
{
    struct candidates found;
    struct gw_buf filter = {0};
    routes_find(routes, routes->by_channel, offsetof(struct gw_route, next_by_channel), channel, len, &found);
    for (size_t i = 0; i < found.count; i++) {
        const struct gw_route *route = &routes->routes[found.items[i]];
        struct gw_captures captures;
        if (!gw_route_has_channel(route, channel, len, &captures, NULL))
            continue;
        gw_buf_clear(&filter);
        if (route->channel)
            gw_pattern_narrow(route->topic, &captures, &filter);
        else
            gw_buf_add(&filter, channel, len);
        visit(context, &routes->config->routes[found.items[i]], filter.data);
    }
    gw_buf_fini(&filter);
    routes_found_fini(&found);
}

enum gw_err gw_routes_publish_target(const struct gw_routes *routes, const char *channel, size_t len,
                                     struct gw_publish_target *target)
{
    if (!gw_topic_name_valid(channel, len))
        return GW_ERR_BAD_REQUEST;
    enum gw_err err = GW_ERR_UNKNOWN_CHANNEL;
    struct candidates found;
    routes_find(routes, routes->by_channel, offsetof(struct gw_route, next_by_channel), channel, len, &found);
    for (size_t i = 0; i < found.count && err != GW_OK; i++) {
        const struct gw_cfg_route *config = &routes->config->routes[found.items[i]];
        const struct gw_route *route = &routes->routes[found.items[i]];
        size_t excepted;
        gw_buf_clear(&target->topic);
        if (!gw_route_has_channel(route, channel, len, &target->captures, &excepted)) {
            if (excepted != SIZE_MAX && err == GW_ERR_UNKNOWN_CHANNEL)
                target->why =
                    "the route excepts the topic that this channel would have (except in its configuration)";
            continue;
        }
        err = GW_ERR_FORBIDDEN;
        target->why = config->publish ? NULL : "the route of this channel has no publish: in the configuration";
        if (!config->publish || !gw_route_publish_topic(route, channel, len, &target->captures, &target->topic))
            continue;
        target->codec = config->codec;
        target->transform = route->transform;
        target->state = route->state;
        target->qos = config->publish_qos;
        target->retain = config->publish_retain;
        target->route = config;
        target->confirm = route->confirm;
        target->why = NULL;
        err = GW_OK;
    }
    routes_found_fini(&found);
    if (err == GW_OK && !gw_topic_name_valid(target->topic.data, target->topic.len)) {
        err = GW_ERR_BAD_REQUEST;
        target->why = "the channel's name makes a topic that is longer than MQTT allows";
    }
    if (err == GW_OK && gw_topic_levels(target->topic.data, target->topic.len) > routes->config->limits.levels) {
        err = GW_ERR_BAD_REQUEST;
        target->why = "the topic has more levels than limits.levels allows";
    }
    return err;
}
