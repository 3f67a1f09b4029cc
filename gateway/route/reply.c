#include "route/reply.h"

#include <string.h>

#include "gateway/topic.h"

static bool publishes_to(const struct gw_routes *routes, const char *channel, size_t len, const char *topic,
                         size_t topic_len)
{
    struct gw_publish_target target = {0};
    bool same = gw_routes_publish_target(routes, channel, len, &target) == GW_OK && target.topic.len == topic_len &&
                !memcmp(target.topic.data, topic, topic_len);
    gw_buf_fini(&target.topic);
    return same;
}

struct search {
    const struct gw_routes *routes;
    struct gw_slice wanted; /* the channel; data NULL: any */
    struct gw_buf *channel; /* the first that fits; may be NULL */
    bool found;
};

static void search_visit(void *context, const struct gw_routed *routed)
{
    struct search *search = context;
    if (search->found || !routed->channel)
        return;
    if (search->wanted.data) {
        search->found = search->wanted.len == routed->channel_len &&
                        !memcmp(search->wanted.data, routed->channel, routed->channel_len);
        return;
    }
    search->found =
        publishes_to(search->routes, routed->channel, routed->channel_len, routed->topic, routed->topic_len);
    if (search->found)
        gw_buf_add(search->channel, routed->channel, routed->channel_len);
}

bool gw_reply_channel(const struct gw_routes *routes, const char *topic, size_t len, struct gw_buf *channel)
{
    struct search search = {.routes = routes, .channel = channel};
    gw_buf_clear(channel);
    if (gw_topic_name_valid(topic, len))
        gw_routes_match(routes, topic, len, search_visit, &search);
    return search.found;
}

bool gw_reply_topic(const struct gw_routes *routes, const char *channel, size_t len, struct gw_buf *topic)
{
    struct gw_publish_target target = {0};
    struct search search = {.routes = routes, .wanted = {channel, len}};
    gw_buf_clear(topic);
    if (gw_routes_publish_target(routes, channel, len, &target) == GW_OK)
        gw_routes_match(routes, target.topic.data, target.topic.len, search_visit, &search);
    if (search.found)
        gw_buf_add(topic, target.topic.data, target.topic.len);
    gw_buf_fini(&target.topic);
    return search.found;
}
