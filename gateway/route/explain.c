/* explain.c: `sluice explain`: what the route table makes of a topic or a channel, and why. */
#include <stdio.h>
#include <string.h>

#include "gateway/codec.h"
#include "gateway/topic.h"
#include "gateway/transform.h"
#include "route/routes_private.h"

/* Why a pattern does not match a name: the first level that differs, or the number of levels. */
static void explain_why_not(const struct gw_pattern *pattern, const char *name, struct gw_buf *out)
{
    const char *filter = gw_pattern_filter(pattern), *tail = gw_pattern_tail(pattern);
    if (tail && gw_topic_matches(filter, strlen(filter), name, strlen(name))) {
        gw_buf_printf(out, "it has no end such as '/%s' behind one or more levels, which the route wants", tail);
        return;
    }
    if (name[0] == '$' && (filter[0] == '+' || filter[0] == '#')) {
        gw_buf_adds(out, "a topic that begins with $ is not matched by a wildcard in the first level");
        return;
    }
    const char *f = filter, *n = name;
    for (int level = 1;; level++) {
        size_t f_len = strcspn(f, "/"), n_len = strcspn(n, "/");
        bool wild = f_len == 1 && (*f == '+' || *f == '#');
        if (!wild && (f_len != n_len || memcmp(f, n, f_len) != 0)) {
            gw_buf_printf(out, "level %d is '%.*s', the route wants '%.*s'", level, (int)n_len, n, (int)f_len, f);
            return;
        }
        f += f_len;
        n += n_len;
        if (!*f || !*n) {
            gw_buf_printf(
                out, *n ? "it has more levels than the route's %d" : "it has only %d level(s), the route wants more",
                level);
            return;
        }
        f++;
        n++;
    }
}

static void explain_captures(const struct gw_captures *captures, struct gw_buf *out)
{
    for (size_t i = 0; i < captures->count; i++)
        gw_buf_printf(out, "  capture:  {%s} = '%.*s'\n", captures->items[i].name, (int)captures->items[i].value_len,
                      captures->items[i].value);
}

static void explain_policies(const struct gw_cfg_route *config, struct gw_buf *out)
{
    gw_buf_printf(out, "  codec:    %s\n", config->codec->name);
    if (config->transform)
        gw_buf_printf(out, "  transform: %s\n", config->transform->name);
    gw_buf_printf(out, "  qos:      %d\n", config->qos);
    gw_buf_printf(out, "  history:  count %u, %zu bytes, age %llds%s%s\n", config->history.count,
                  config->history.bytes, (long long)(config->history.age_ms / 1000),
                  config->history_engine->kept ? ", store " : "",
                  config->history_engine->kept ? config->history_engine->name : "");
    if (config->rate == GW_RATE_LATEST)
        gw_buf_printf(out, "  rate:     latest, every %lldms\n", (long long)config->rate_interval_ms);
    else if (config->rate == GW_RATE_ON_CHANGE)
        gw_buf_printf(out, "  rate:     on_change of %s, deadband %g%s\n",
                      config->rate_pointer ? config->rate_pointer : "the whole value", config->rate_deadband,
                      config->rate_interval_ms ? ", with an interval" : "");
    else
        gw_buf_adds(out, "  rate:     all\n");
}

static void explain_states(const struct gw_routes *routes, size_t index, const char *channel, size_t len,
                           struct gw_buf *out)
{
    const struct gw_cfg_route *config = &routes->config->routes[index];
    struct gw_buf topic = {0};
    if (config->stale_ms == GW_STALE_AUTO)
        gw_buf_adds(out, "  stale:    after four times its usual interval, 10s to a day\n");
    else if (config->stale_ms)
        gw_buf_printf(out, "  stale:    after %lldms without a message\n", (long long)config->stale_ms);
    if (!config->available_topic)
        return;
    bool known = gw_routes_availability(routes, (uint32_t)index, channel, len, &topic);
    gw_buf_printf(out, "  available: topic '%s', online is", known ? topic.data : config->available_topic);
    for (size_t i = 0; i < config->online.count; i++)
        gw_buf_printf(out, "%s '%s'", i ? "," : "", config->online.items[i]);
    gw_buf_adds(out, config->online.count ? "\n" : " 'online'\n");
    gw_buf_fini(&topic);
}

/* Commands that are no states, and what confirms them. */
static void explain_commands(const struct gw_strings *commands, const char *by, struct gw_buf *out)
{
    for (size_t i = 0; i < commands->count; i++)
        gw_buf_printf(out, "%s'%s'", i ? ", " : "; ", commands->items[i]);
    if (commands->count)
        gw_buf_printf(out, " by %s", by);
}

static void explain_confirm(const struct gw_routes *routes, size_t index, const struct gw_captures *captures,
                            struct gw_buf *out)
{
    const struct gw_cfg_route *config = &routes->config->routes[index];
    if (!config->confirm)
        return;
    struct gw_buf shows = {0};
    bool known = routes->routes[index].confirm && gw_pattern_expand(routes->routes[index].confirm, captures, &shows);
    gw_buf_adds(out, "  confirm:  when ");
    for (size_t i = 0; i < config->confirm_fields.count; i++)
        gw_buf_printf(out, "%s%s", i ? ", " : "", config->confirm_fields.items[i]);
    gw_buf_printf(out, "%s of %s%s%s is as it was sent, within %lldms",
                  config->confirm_fields.count ? "" : "everything", config->confirm_topic ? "topic '" : "the channel",
                  !config->confirm_topic ? ""
                  : known                ? shows.data
                                         : config->confirm_topic,
                  config->confirm_topic ? "'" : "", (long long)config->confirm_within_ms);
    explain_commands(&config->confirm_change, "a change", out);
    explain_commands(&config->confirm_any, "any value", out);
    gw_buf_addc(out, '\n');
    gw_buf_fini(&shows);
}

static void explain_publish(const struct gw_routes *routes, size_t index, const char *channel, size_t len,
                            struct gw_buf *out)
{
    const struct gw_cfg_route *config = &routes->config->routes[index];
    if (!config->publish) {
        gw_buf_adds(out, "  publish:  forbidden (the route has no publish:)\n");
        return;
    }
    struct gw_captures captures = {0};
    struct gw_buf topic = {0};
    if (gw_route_has_channel(&routes->routes[index], channel, len, &captures, NULL) &&
        gw_route_publish_topic(&routes->routes[index], channel, len, &captures, &topic))
        gw_buf_printf(out, "  publish:  to topic '%s', qos %d%s\n", topic.data, config->publish_qos,
                      config->publish_retain ? ", retained" : "");
    if (config->publish_identify)
        gw_buf_adds(out, "  identify: the client's name goes along as the user property 'sub'\n");
    explain_confirm(routes, index, &captures, out);
    gw_buf_fini(&topic);
}

static void explain_head(const struct gw_routes *routes, size_t index, bool matches, struct gw_buf *out)
{
    const struct gw_cfg_route *config = &routes->config->routes[index];
    gw_buf_printf(out, "routes[%zu] (line %d) %s: %s\n", index, config->line, config->topic,
                  matches ? "matches" : "does not match");
}

struct explain {
    struct gw_buf *out;
    size_t count;
    uint32_t routes[1024]; /* those that make a message; beyond that explain says less */
};

static void explain_note(void *context, const struct gw_routed *routed)
{
    struct explain *explain = context;
    if (explain->count < sizeof explain->routes / sizeof *explain->routes)
        explain->routes[explain->count++] = routed->route;
}

bool gw_routes_explain_topic(const struct gw_routes *routes, const char *topic, struct gw_buf *out)
{
    size_t len = strlen(topic);
    if (!gw_topic_name_valid(topic, len)) {
        gw_buf_printf(out, "'%s' is no topic name (no wildcards, UTF-8, not empty)\n", topic);
        return false;
    }
    struct explain explain = {.out = out};
    gw_routes_match(routes, topic, len, explain_note, &explain);
    gw_buf_printf(out, "topic '%s'\n", topic);
    for (size_t i = 0; i < routes->config->route_count; i++) {
        struct gw_captures captures;
        struct gw_buf channel = {0};
        bool matches = gw_route_channel_shape(&routes->routes[i], topic, len, &captures, &channel);
        explain_head(routes, i, matches, out);
        if (!matches) {
            gw_buf_adds(out, "  because:  ");
            size_t excepted = gw_pattern_match(routes->routes[i].topic, topic, len, NULL)
                                  ? gw_route_excepted(&routes->routes[i], topic, len)
                                  : SIZE_MAX;
            if (excepted != SIZE_MAX)
                gw_buf_printf(out, "excepted by '%s' (except[%zu])",
                              gw_pattern_text(routes->routes[i].except[excepted]), excepted);
            else
                explain_why_not(routes->routes[i].topic, topic, out);
            gw_buf_addc(out, '\n');
        } else {
            bool first = false;
            for (size_t j = 0; j < explain.count; j++)
                first |= explain.routes[j] == i;
            explain_captures(&captures, out);
            gw_buf_printf(out, "  channel:  %s%s\n", channel.data,
                          !first                        ? " (an earlier route makes the message on this channel)"
                          : routes->routes[i].transform ? " (for each message of the transform)"
                                                        : "");
            explain_policies(&routes->config->routes[i], out);
            explain_states(routes, i, channel.data, channel.len, out);
            explain_publish(routes, i, channel.data, channel.len, out);
        }
        gw_buf_fini(&channel);
    }
    size_t canonical = gw_routes_canonical_subscription(routes, topic, len);
    if (canonical == SIZE_MAX)
        gw_buf_adds(out, "no route matches: the gateway does not receive this topic\n");
    else if (!explain.count)
        gw_buf_printf(out,
                      "no route matches: the broker sends this topic for the subscription '%s', and it is dropped\n",
                      routes->subscriptions[canonical].filter);
    else
        gw_buf_printf(
            out, "received through the subscription '%s', qos %d\n", routes->subscriptions[canonical].filter,
            routes->subscriptions[canonical].qos < GW_SUBSCRIPTION_QOS_MAX ? routes->subscriptions[canonical].qos
                                                                           : GW_SUBSCRIPTION_QOS_MAX);
    return explain.count > 0;
}

bool gw_routes_explain_channel(const struct gw_routes *routes, const char *channel, struct gw_buf *out)
{
    size_t len = strlen(channel), matching = 0;
    if (!gw_topic_name_valid(channel, len)) {
        gw_buf_printf(out, "'%s' is no channel name (no wildcards, UTF-8, not empty)\n", channel);
        return false;
    }
    gw_buf_printf(out, "channel '%s'\n", channel);
    for (size_t i = 0; i < routes->config->route_count; i++) {
        const struct gw_pattern *pattern = gw_route_channel_pattern(&routes->routes[i]);
        struct gw_captures captures;
        size_t excepted;
        bool matches = gw_route_has_channel(&routes->routes[i], channel, len, &captures, &excepted);
        explain_head(routes, i, matches, out);
        if (!matches) {
            gw_buf_adds(out, "  because:  ");
            if (excepted != SIZE_MAX)
                gw_buf_printf(out, "its topic is excepted by '%s' (except[%zu])",
                              gw_pattern_text(routes->routes[i].except[excepted]), excepted);
            else
                explain_why_not(pattern, channel, out);
            gw_buf_addc(out, '\n');
            continue;
        }
        matching++;
        explain_captures(&captures, out);
        struct gw_buf topic = {0};
        const struct gw_pattern *from = routes->routes[i].topic;
        const char *fed_by = gw_pattern_tail(from) ? gw_pattern_text(from) : gw_pattern_filter(from);
        if (gw_pattern_expand(routes->routes[i].topic, &captures, &topic))
            gw_buf_printf(out, "  fed by:   topic '%s'\n", topic.data);
        else
            gw_buf_printf(out, "  fed by:   topics '%s'\n", routes->routes[i].channel ? fed_by : channel);
        gw_buf_fini(&topic);
        explain_policies(&routes->config->routes[i], out);
        explain_states(routes, i, channel, len, out);
        explain_publish(routes, i, channel, len, out);
    }
    if (!matching)
        gw_buf_adds(out, "no route leads to this channel\n");
    return matching > 0;
}

static void describe_member(const char *name, const char *value, struct gw_buf *out)
{
    gw_buf_printf(out, ",\"%s\":", name);
    gw_buf_add_json_string(out, value, strlen(value));
}

void gw_routes_describe(const struct gw_routes *routes, const char *channel, size_t len, size_t limit,
                        struct gw_buf *out)
{
    size_t count = 0;
    gw_buf_addc(out, '[');
    for (size_t i = 0; i < routes->config->route_count && count < limit; i++) {
        const struct gw_cfg_route *config = &routes->config->routes[i];
        struct gw_captures captures;
        if (channel && !gw_route_has_channel(&routes->routes[i], channel, len, &captures, NULL))
            continue;
        gw_buf_printf(out, "%s{\"line\":%d", count++ ? "," : "", config->line);
        describe_member("topic", config->topic, out);
        if (config->channel)
            describe_member("channel", config->channel, out);
        for (size_t j = 0; j < config->except.count; j++) {
            gw_buf_adds(out, j ? "," : ",\"except\":[");
            gw_buf_add_json_string(out, config->except.items[j], strlen(config->except.items[j]));
        }
        if (config->except.count)
            gw_buf_addc(out, ']');
        describe_member("codec", config->codec->name, out);
        if (config->transform)
            describe_member("transform", config->transform->name, out);
        if (config->stale_ms == GW_STALE_AUTO)
            describe_member("stale", "auto", out);
        else if (config->stale_ms)
            gw_buf_printf(out, ",\"stale\":%lld", (long long)config->stale_ms);
        if (config->available_topic)
            describe_member("available", config->available_topic, out);
        if (config->publish)
            describe_member("publish", config->publish_topic ? config->publish_topic : config->topic, out);
        if (config->confirm)
            describe_member("confirm", config->confirm_topic ? config->confirm_topic : config->topic, out);
        gw_buf_addc(out, '}');
    }
    gw_buf_addc(out, ']');
}
