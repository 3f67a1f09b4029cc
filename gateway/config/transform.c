/* transform.c: a route's transform, by its name or with options, and what it asks of the rest of the route. */
#include "config/transform.h"

#include <stdio.h>
#include <string.h>

#include "config/fields.h"
#include "config/options.h"
#include "gateway/transform.h"

static void transform_list(struct gw_buf *out)
{
    for (size_t i = 0; gw_transforms[i]; i++)
        gw_buf_printf(out, "%s%s", i ? ", " : "", gw_transforms[i]->name);
}

/* The name's node, and that of the options (NULL: there are none). NULL: it is neither form. */
static const struct gw_node *transform_name(const struct gw_node *node, const struct gw_node **options)
{
    *options = NULL;
    if (node->kind == GW_NODE_SCALAR && !gw_node_is_null(node))
        return node;
    if (node->kind != GW_NODE_MAP || node->count != 1)
        return NULL;
    *options = node->items[0];
    return node->keys[0];
}

void gw_route_read_transform(struct gw_cfg_route *route, const struct gw_node *node, const char *path,
                             struct gw_problems *problems)
{
    if (!node)
        return;
    struct gw_buf known = {0};
    transform_list(&known);
    const struct gw_node *options, *name = transform_name(node, &options);
    const struct gw_transform *transform = name ? gw_transform_find(name->text) : NULL;
    if (!name) {
        gw_problem_add(problems, node->line, node->column,
                       "%s.transform: it is no name, and no mapping of one name to its options (one of: %s expected)",
                       path, known.data);
    } else if (!transform) {
        gw_problem_add(problems, name->line, name->column, "%s.transform: there is no '%s' (one of: %s expected)",
                       path, name->text, known.data);
    } else if (!transform->options) {
        if (options && (options->kind != GW_NODE_MAP || options->count) && !gw_node_is_null(options))
            gw_problem_add(problems, options->line, options->column,
                           "%s.transform.%s: it has no options (%s expected)", path, name->text, name->text);
    } else {
        char own[160];
        snprintf(own, sizeof own, "%s.transform.%s", path, name->text);
        const struct gw_node empty = {.kind = GW_NODE_MAP, .line = name->line, .column = name->column};
        route->transform_options = gw_options_read(
            transform->options, options && !gw_node_is_null(options) ? options : &empty, own, problems);
        if (!route->transform_options) /* NAME: false */
            gw_problem_add(problems, options->line, options->column,
                           "%s: a transform can't be switched off (options expected, or no transform)", own);
    }
    route->transform = transform;
    gw_buf_fini(&known);
}

void gw_route_free_transform(struct gw_cfg_route *route)
{
    if (route->transform && route->transform->options)
        gw_options_free(route->transform->options, route->transform_options);
}

bool gw_route_transform_makes(const struct gw_cfg_route *route, const char *capture)
{
    for (size_t i = 0; route->transform && route->transform->captures && route->transform->captures[i]; i++) {
        if (!strcmp(route->transform->captures[i], capture))
            return true;
    }
    return false;
}

static void transform_check_captures(const struct gw_cfg_route *route, const struct gw_node *map, const char *path,
                                     const struct gw_pattern *topic, const struct gw_pattern *channel,
                                     struct gw_problems *problems)
{
    const char *const *captures = route->transform->captures, *name = route->transform->name;
    const struct gw_node *at = gw_node_get(map, "channel"), *own = gw_node_get(map, "transform");
    size_t count = 0;
    for (; captures && captures[count]; count++) {
        if (gw_pattern_has_capture(topic, captures[count]))
            gw_problem_add(problems, own->line, own->column,
                           "%s.transform: %s makes {%s}, which the topic '%s' has too (another name there expected)",
                           path, name, captures[count], gw_pattern_text(topic));
        else if (!at)
            gw_problem_add(
                problems, own->line, own->column,
                "%s.channel: it is missing (a channel with {%s} expected, which transform %s makes for each "
                "message)",
                path, captures[count], name);
        else if (channel && !gw_pattern_has_capture(channel, captures[count]))
            gw_problem_add(
                problems, at->line, at->column,
                "%s.channel: '%s' lacks {%s}, which transform %s makes for each message (a channel with it "
                "expected)",
                path, gw_pattern_text(channel), captures[count], name);
    }
    if (gw_pattern_capture_count(topic) + count > GW_CAPTURES_MAX)
        gw_problem_add(problems, own->line, own->column,
                       "%s.transform: with the %zu of transform %s the topic has too many captures (%d at most)",
                       path, count, name, GW_CAPTURES_MAX);
}

void gw_route_check_transform(const struct gw_config *config, const struct gw_cfg_route *route,
                              const struct gw_node *map, const char *path, const struct gw_pattern *topic,
                              const struct gw_pattern *channel, struct gw_problems *problems)
{
    const struct gw_transform *transform = route->transform;
    const struct gw_node *node = gw_node_get(map, "transform"), *publish = gw_node_get(map, "publish"), *options;
    if (!transform)
        return;
    const struct gw_node *name = transform_name(node, &options);
    size_t before = problems->errors;
    char own[160];
    snprintf(own, sizeof own, "%s.transform.%s", path, transform->name);
    if (transform->options)
        gw_options_check(transform->options, route->transform_options, options ? options : name, own, config,
                         problems);
    if (topic)
        transform_check_captures(route, map, path, topic, channel, problems);
    if (route->publish && publish && !transform->encode)
        gw_problem_add(problems, publish->line, publish->column,
                       "%s.publish: what transform %s takes apart can't be put together (no publish expected)", path,
                       transform->name);
    bool complete = route->codec && (!transform->options || route->transform_options);
    if (!transform->create || problems->errors > before || !complete)
        return;
    const struct gw_transform_setup setup = {route->codec, route->transform_options, route->channel};
    void *state = NULL;
    struct gw_buf why = {0};
    gw_buf_adds(&why, "");
    if (transform->create(&setup, &state, &why) != GW_OK)
        gw_problem_add(problems, name->line, name->column, "%s.transform: %s", path, why.data);
    else if (transform->destroy)
        transform->destroy(state);
    gw_buf_fini(&why);
}
