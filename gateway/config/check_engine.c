/* check_engine.c: which engine is in force, and whether it does what the file wants. */
#include "config/check.h"
#include "gateway/engine.h"

/* Gateways with one sequence have one session at the broker, which whoever takes messages in goes on with. */
static void check_shared(const struct gw_config *config, const struct gw_node *root, const char *key,
                         struct gw_problems *problems)
{
    const struct gw_node *node = gw_node_get(root, key);
    if (config->broker.client_id_made)
        gw_problem_add(problems, node->line, node->column,
                       "%s: broker.client_id is missing (one that is the same on each gateway expected: they share a "
                       "session at the broker)",
                       key);
    if (config->broker.session_expiry_ms <= 0)
        gw_problem_add(problems, node->line, node->column,
                       "%s: broker.session_expiry is missing (1h, for example, expected: the broker keeps what comes "
                       "while another gateway takes over)",
                       key);
}

void gw_check_engine(const struct gw_config *config, const struct gw_node *root, struct gw_problems *problems)
{
    const struct gw_engine *engine = gw_config_engine(config);
    const struct gw_node *routes = gw_node_get(root, "routes");
    struct gw_buf places = {0};
    for (size_t i = 0; gw_engines[i]; i++) {
        const struct gw_engine *other = gw_engines[i];
        const struct gw_node *node = other->options ? gw_node_get(root, other->options->key) : NULL;
        if (other != engine && node && gw_options_of(config, other->options))
            gw_problem_add(problems, node->line, node->column, "%s: there is %s: as well (one of the two expected)",
                           other->options->key, engine->options->key);
        if (other->options && other->keep)
            gw_buf_printf(&places, "%s%s:", places.len ? " or " : "", other->options->key);
    }
    if (engine->shared)
        check_shared(config, root, engine->options->key, problems);
    for (size_t i = 0; i < config->route_count && !engine->keep; i++) {
        const struct gw_history_engine *history = config->routes[i].history_engine;
        const struct gw_node *store = gw_node_get(gw_node_get(routes->items[i], "history"), "store");
        if (history && history->kept && store)
            gw_problem_add(problems, store->line, store->column,
                           "routes[%zu].history.store: there is no place for it (%s expected)", i,
                           places.len ? places.data : "memory");
    }
    for (size_t i = 0; i < config->route_count && !engine->series; i++) {
        const struct gw_node *rollup = gw_node_get(gw_node_get(routes->items[i], "history"), "rollup");
        if (config->routes[i].rollup && rollup)
            gw_problem_add(problems, rollup->line, rollup->column,
                           "routes[%zu].history.rollup: there is no place for it (storage: expected)", i);
    }
    gw_buf_fini(&places);
}
