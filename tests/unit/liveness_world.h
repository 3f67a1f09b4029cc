/* liveness_world.h: routes, messages and one who listens, for the tests of gateway/mqtt/liveness.h. */
#ifndef LIVENESS_WORLD_H
#define LIVENESS_WORLD_H

#include "base/wheel.h"
#include "check.h"
#include "gateway/codec.h"
#include "gateway/hash.h"
#include "gateway/history.h"
#include "mqtt/liveness.h"
#include "mqtt/liveness_rule.h"
#include "mqtt/packet.h"
#include "route/routes.h"

#define CHANNELS 40
#define LATE_MS  (GW_WHEEL_TICK_MS + 200) /* and what a step of the test takes */
#define STALE_MS 5000

static struct gw_routes *make_routes(int64_t stale_ms, const char *available, uint32_t channels)
{
    struct gw_config *config = calloc(1, sizeof *config);
    atomic_init(&config->refs, 1);
    config->file = strdup("test");
    config->route_count = 2;
    config->routes = calloc(2, sizeof *config->routes);
    for (size_t i = 0; i < 2; i++) {
        config->routes[i].topic = strdup(i ? "plain/{id}" : "c/{id}");
        config->routes[i].codec = gw_codec_find("auto");
        config->routes[i].history_engine = gw_history_find("memory");
    }
    config->routes[0].stale_ms = stale_ms;
    config->routes[0].available_topic = available ? strdup(available) : NULL;
    config->limits.channels = channels;
    struct gw_routes *routes = gw_routes_build(config);
    gw_config_unref(config);
    return routes;
}

static void say(struct gw_liveness *liveness, const char *channel, bool retained, bool clear, int64_t now)
{
    const struct gw_message_spec spec = {.channel = channel,
                                         .channel_len = strlen(channel),
                                         .route = GW_ROUTE_BY_NAME,
                                         .retained = retained,
                                         .clear = clear};
    gw_liveness_message(liveness, &spec, now);
}

static void available(struct gw_liveness *liveness, const char *topic, const char *payload, bool ours, int64_t now)
{
    const struct gw_packet packet = {
        .topic = topic, .topic_len = strlen(topic), .payload = payload, .payload_len = strlen(payload)};
    assert_int_equal(gw_liveness_available(liveness, &packet, now), ours);
}

struct heard {
    enum gw_state states[CHANNELS]; /* as clients have heard */
    unsigned changes;
};

static void listen_to(struct gw_liveness *liveness, struct heard *heard, int64_t now)
{
    struct gw_liveness_change change = {.route = 0};
    while (gw_liveness_next(liveness, &change, now)) {
        unsigned index = (unsigned)atoi(change.channel.data + 2);
        assert_true(index < CHANNELS);
        heard->states[index] = change.state;
        heard->changes++;
        const struct gw_message_spec back = {.channel = change.channel.data,
                                             .channel_len = change.channel.len,
                                             .route = GW_ROUTE_BY_NAME,
                                             .state = (uint8_t)change.state};
        gw_liveness_message(liveness, &back, now);
    }
    gw_buf_fini(&change.channel);
}

#endif
