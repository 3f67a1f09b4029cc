/* transformed.c: routes whose transform says what their messages and channels are. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/topic.h"
#include "gateway/transform.h"
#include "route/routes_private.h"

void gw_route_transform_create(struct gw_route *route, const struct gw_cfg_route *config)
{
    route->transform = config->transform;
    if (!route->transform || !route->transform->create)
        return;
    const struct gw_transform_setup setup = {config->codec, config->transform_options, config->channel};
    struct gw_buf why = {0};
    enum gw_err err = route->transform->create(&setup, &route->state, &why);
    assert(err == GW_OK); /* the configuration was checked */
    (void)err;
    gw_buf_fini(&why);
}

void gw_route_transform_destroy(struct gw_route *route)
{
    if (route->transform && route->transform->destroy)
        route->transform->destroy(route->state);
}

void *gw_routes_transform_state(const struct gw_routes *routes, uint32_t route)
{
    return routes->routes[route].state;
}

bool gw_route_channel_shape(const struct gw_route *route, const char *topic, size_t len, struct gw_captures *captures,
                            struct gw_buf *out)
{
    if (!route->transform || !route->channel || !route->transform->captures)
        return gw_route_channel(route, topic, len, captures, out);
    if (!gw_route_has_topic(route, topic, len, captures))
        return false;
    struct gw_captures all = *captures;
    struct gw_buf words = {0}; /* {name}, one after the other */
    for (size_t i = 0; route->transform->captures[i]; i++)
        gw_buf_printf(&words, "{%s}", route->transform->captures[i]);
    const char *at = words.data;
    for (size_t i = 0; route->transform->captures[i]; i++) {
        size_t word = strlen(route->transform->captures[i]) + 2;
        all.items[all.count++] = (struct gw_capture){route->transform->captures[i], at, word};
        at += word;
    }
    bool expanded = gw_pattern_expand(route->channel, &all, out);
    gw_buf_fini(&words);
    return expanded;
}

/* --- which channels one topic has made ------------------------------------------------------------------------- */

bool gw_routes_made_before(const struct gw_routes_made *made, uint32_t route, const char *channel, size_t len)
{
    for (size_t at = 0; at < made->channels.len;) {
        uint32_t other;
        size_t other_len;
        memcpy(&other, made->channels.data + at, sizeof other);
        at += sizeof other;
        memcpy(&other_len, made->channels.data + at, sizeof other_len);
        at += sizeof other_len;
        if (other != route && other_len == len && !memcmp(made->channels.data + at, channel, len))
            return true;
        at += other_len;
    }
    return false;
}

void gw_routes_made_note(struct gw_routes_made *made, uint32_t route, const char *channel, size_t len)
{
    gw_buf_add(&made->channels, &route, sizeof route);
    gw_buf_add(&made->channels, &len, sizeof len);
    gw_buf_add(&made->channels, channel, len);
}

enum gw_routed_as gw_routed_channel(const struct gw_routed *routed, const struct gw_slice *values,
                                    struct gw_buf *channel)
{
    const struct gw_route *route = &routed->made->routes->routes[routed->route];
    struct gw_captures captures = *routed->captures;
    for (size_t i = 0; route->transform->captures && route->transform->captures[i]; i++) {
        assert(captures.count < GW_CAPTURES_MAX); /* the configuration was checked */
        captures.items[captures.count++] =
            (struct gw_capture){route->transform->captures[i], values[i].data, values[i].len};
    }
    gw_buf_clear(channel);
    if (!route->channel)
        gw_buf_add(channel, routed->topic, routed->topic_len);
    else if (!gw_pattern_expand(route->channel, &captures, channel))
        return GW_ROUTED_NOWHERE;
    /* What a transform has put in may hold wildcards and slashes; the channel must still be this route's. */
    if (route->channel && (!gw_topic_name_valid(channel->data, channel->len) ||
                           !gw_pattern_match(route->channel, channel->data, channel->len, NULL)))
        return GW_ROUTED_NOWHERE;
    if (routed->made->channels.len && gw_routes_made_before(routed->made, routed->route, channel->data, channel->len))
        return GW_ROUTED_EARLIER;
    if (routed->made->more)
        gw_routes_made_note(routed->made, routed->route, channel->data, channel->len);
    return GW_ROUTED_HERE;
}
