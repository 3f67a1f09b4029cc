/* check_confirm.c: what publish.confirm of a route says, beyond what its table can check. */
#include <string.h>

#include "config/check.h"
#include "gateway/topic.h"
#include "topic/pattern.h"

static void confirm_check_fields(const struct gw_cfg_route *route, const struct gw_node *node, size_t index,
                                 struct gw_problems *problems)
{
    for (size_t i = 0; node && i < route->confirm_fields.count; i++) {
        const char *pointer = route->confirm_fields.items[i];
        if (pointer[0] != '/')
            gw_problem_add(problems, node->line, node->column,
                           "routes[%zu].publish.confirm.field: '%s' is no JSON pointer (/key or /key/0 expected)",
                           index, pointer);
    }
}

/* The state comes as messages of a channel: some route has to make them. */
static bool confirm_is_fed(const struct gw_config *config, const char *filter)
{
    bool fed = false;
    for (size_t i = 0; i < config->route_count && !fed; i++) {
        const struct gw_cfg_route *route = &config->routes[i];
        struct gw_buf error = {0};
        size_t offset;
        struct gw_pattern *topic = route->topic && !route->transform
                                       ? gw_pattern_compile(route->topic, GW_PATTERN_TOPIC, &error, &offset)
                                       : NULL;
        const char *own = topic ? gw_pattern_filter(topic) : NULL;
        fed = own && gw_topic_filters_overlap(own, strlen(own), filter, strlen(filter));
        gw_pattern_free(topic);
        gw_buf_fini(&error);
    }
    return fed;
}

static void confirm_check_topic(const struct gw_config *config, const struct gw_node *node, size_t index,
                                const struct gw_pattern *giver, struct gw_problems *problems)
{
    const char *text = config->routes[index].confirm_topic;
    struct gw_buf error = {0};
    size_t offset = 0;
    struct gw_pattern *topic = gw_pattern_compile(text, GW_PATTERN_PUBLISH, &error, &offset);
    if (!topic)
        gw_problem_add(problems, node->line, node->column + (node->quoted ? 0 : (int)offset),
                       "routes[%zu].publish.confirm.topic: %s", index, error.data);
    for (size_t i = 0; topic && i < gw_pattern_capture_count(topic); i++) {
        const char *name = gw_pattern_capture_name(topic, i);
        if (!gw_pattern_has_capture(giver, name))
            gw_problem_add(problems, node->line, node->column,
                           "routes[%zu].publish.confirm.topic: uses {%s}, which the channel '%s' lacks (one of its "
                           "captures expected)",
                           index, name, gw_pattern_text(giver));
    }
    if (topic && !confirm_is_fed(config, gw_pattern_filter(topic)))
        gw_problem_add(problems, node->line, node->column,
                       "routes[%zu].publish.confirm.topic: no route takes in '%s' (a topic that is in some route's "
                       "without transform expected)",
                       index, text);
    gw_pattern_free(topic);
    gw_buf_fini(&error);
}

void gw_check_confirm(const struct gw_config *config, size_t index, const struct gw_node *map,
                      const struct gw_pattern *giver, struct gw_problems *problems)
{
    const struct gw_cfg_route *route = &config->routes[index];
    const struct gw_node *confirm = gw_node_get(gw_node_get(map, "publish"), "confirm");
    const struct gw_node *topic = gw_node_get(confirm, "topic");
    if (!route->confirm)
        return;
    if (!route->publish_topic && !route->confirm_topic)
        gw_warning_add(problems, confirm->line, confirm->column,
                       "routes[%zu].publish.confirm: commands go to the topic that shows the state, so each one "
                       "confirms itself (publish.topic or confirm.topic expected)",
                       index);
    confirm_check_fields(route, gw_node_get(confirm, "field"), index, problems);
    if (route->confirm_topic && topic && giver)
        confirm_check_topic(config, topic, index, giver, problems);
}
