/* subscriptions.c: which filters the routes ask the broker for: those that no other one covers. */
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/topic.h"
#include "route/routes_private.h"

struct cover {
    const struct gw_subscription *all;
    size_t self;
    bool covered;
};

static bool subscriptions_check_cover(void *context, void *value)
{
    struct cover *cover = context;
    size_t other = (size_t)(uintptr_t)value - 1;
    if (other != cover->self && cover->all[other].qos >= cover->all[cover->self].qos &&
        gw_topic_filter_covers(cover->all[other].filter, strlen(cover->all[other].filter),
                               cover->all[cover->self].filter, strlen(cover->all[cover->self].filter)))
        cover->covered = true;
    return !cover->covered;
}

static void subscriptions_want(struct gw_topic_tree *distinct, struct gw_subscription *all, size_t *count,
                               const char *filter, int qos)
{
    void **place = gw_topic_tree_insert(distinct, filter, strlen(filter));
    if (!*place) {
        all[*count].filter = filter;
        all[*count].qos = qos;
        *place = (void *)(uintptr_t)++ * count;
        return;
    }
    struct gw_subscription *same = &all[(uintptr_t)*place - 1];
    if (qos > same->qos)
        same->qos = qos;
}

void gw_routes_subscribe(struct gw_routes *routes)
{
    const struct gw_config *config = routes->config;
    struct gw_subscription *all = gw_calloc(config->route_count * 2, sizeof *all);
    struct gw_topic_tree *distinct = gw_topic_tree_create();
    size_t count = 0;
    for (size_t i = 0; i < config->route_count; i++) {
        subscriptions_want(distinct, all, &count, gw_pattern_filter(routes->routes[i].topic), config->routes[i].qos);
        if (routes->routes[i].available) /* nothing of it may be lost, whatever the values are */
            subscriptions_want(distinct, all, &count, gw_pattern_filter(routes->routes[i].available), 1);
    }
    routes->subscriptions = gw_calloc(count, sizeof *routes->subscriptions);
    for (size_t i = 0; i < count; i++) {
        struct cover cover = {all, i, false};
        gw_topic_tree_match_name(distinct, all[i].filter, strlen(all[i].filter), subscriptions_check_cover, &cover);
        if (cover.covered)
            continue;
        routes->subscriptions[routes->subscription_count++] = all[i];
        *gw_topic_tree_insert(routes->by_subscription, all[i].filter, strlen(all[i].filter)) =
            (void *)(uintptr_t)routes->subscription_count;
    }
    free(all);
    gw_topic_tree_destroy(distinct);
}

size_t gw_routes_subscriptions(const struct gw_routes *routes, const struct gw_subscription **out)
{
    *out = routes->subscriptions;
    return routes->subscription_count;
}

struct canonical {
    const struct gw_routes *routes;
    size_t best; /* plus 1 */
};

static bool subscriptions_better(void *context, void *value)
{
    struct canonical *canonical = context;
    size_t index = (size_t)(uintptr_t)value;
    const struct gw_subscription *all = canonical->routes->subscriptions;
    if (!canonical->best || all[index - 1].qos > all[canonical->best - 1].qos ||
        (all[index - 1].qos == all[canonical->best - 1].qos && index < canonical->best))
        canonical->best = index;
    return true;
}

size_t gw_routes_canonical_subscription(const struct gw_routes *routes, const char *topic, size_t len)
{
    struct canonical canonical = {routes, 0};
    gw_topic_tree_match_name(routes->by_subscription, topic, len, subscriptions_better, &canonical);
    return canonical.best ? canonical.best - 1 : SIZE_MAX;
}
