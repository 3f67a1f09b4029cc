/* rollup.c: `history.rollup` of a route. */
#include "config/rollup.h"

#include <stdio.h>
#include <string.h>

#include "base/units.h"
#include "gateway/alloc.h"
#include "gateway/series.h"

#define EVERY_MIN_MS 1000
#define EVERY_MAX_MS (INT64_C(366) * 24 * 3600 * 1000)

struct place {
    const struct gw_node *table; /* of rollup */
    const char *path;            /* of the route */
    struct gw_problems *problems;
};

static const struct gw_node *rollup_node(const struct place *place, const char *key, size_t index)
{
    const struct gw_node *node = gw_node_get(place->table, key);
    return node && node->kind == GW_NODE_LIST && index < node->count ? node->items[index]
           : node                                                    ? node
                                                                     : place->table;
}

static void rollup_problem(const struct place *place, const char *key, size_t index, const char *what)
{
    const struct gw_node *node = rollup_node(place, key, index);
    gw_problem_add(place->problems, node->line, node->column, "%s.history.rollup.%s[%zu]: %s", place->path, key,
                   index, what);
}

static void rollup_fields(const struct place *place, const struct gw_strings *fields, struct gw_rollup *rollup)
{
    char what[200];
    for (size_t i = 0; i < fields->count; i++) {
        const char *field = fields->items[i];
        bool whole = !strcmp(field, "value");
        snprintf(what, sizeof what, "'%.60s' is no JSON pointer (such as /%.60s expected, or value for the payload)",
                 field, field);
        if (!whole && *field != '/')
            rollup_problem(place, "fields", i, what);
        else if (gw_rollup_has(rollup, whole ? "" : field))
            rollup_problem(place, "fields", i, "it is there already (each field once expected)");
        else if (rollup->field_count == GW_ROLLUP_FIELDS_MAX)
            rollup_problem(place, "fields", i, "there are too many (64 at most expected)");
        else
            rollup->fields[rollup->field_count++] = gw_strdup(whole ? "" : field);
    }
}

/* NULL, or what is wrong with this step. */
static const char *rollup_step(const struct gw_rollup *rollup, const char *every, const char *keep, bool *in_keep,
                               struct gw_rollup_step *step)
{
    *in_keep = false;
    if (!gw_parse_duration(every, &step->every_ms) || step->every_ms < EVERY_MIN_MS || step->every_ms > EVERY_MAX_MS)
        return "it is no length of a window (a duration such as 10s expected, 1s to 366d)";
    if (rollup->step_count && step->every_ms <= rollup->steps[rollup->step_count - 1].every_ms)
        return "it is not longer than the one before it (the shortest first expected)";
    if (rollup->step_count == GW_ROLLUP_STEPS_MAX)
        return "there are too many (8 at most expected)";
    *in_keep = true;
    if (!gw_parse_duration(keep, &step->keep_ms))
        return "it is no duration (such as 7d expected)";
    if (step->keep_ms < step->every_ms)
        return "it is shorter than the window itself (a longer time expected)";
    if (step->keep_ms / step->every_ms > GW_ROLLUP_WINDOWS_MAX)
        return "that would be too many windows (at most 131072 times its `every` expected)";
    return NULL;
}

static void rollup_steps(const struct place *place, const struct gw_cfg_route *route, struct gw_rollup *rollup)
{
    const struct gw_strings *every = &route->rollup_every, *keep = &route->rollup_keep;
    if (every->count != keep->count) {
        char what[120];
        const struct gw_node *node = gw_node_get(place->table, "keep");
        snprintf(what, sizeof what, "it has %zu of %zu (one for each of `every` expected)", keep->count,
                 every->count);
        gw_problem_add(place->problems, node->line, node->column, "%s.history.rollup.keep: %s", place->path, what);
        return;
    }
    for (size_t i = 0; i < every->count; i++) {
        struct gw_rollup_step step;
        bool in_keep;
        const char *why = rollup_step(rollup, every->items[i], keep->items[i], &in_keep, &step);
        if (why)
            rollup_problem(place, in_keep ? "keep" : "every", i, why);
        else
            rollup->steps[rollup->step_count++] = step;
    }
}

void gw_route_read_rollup(struct gw_cfg_route *route, const struct gw_node *map, const char *path,
                          struct gw_problems *problems)
{
    const struct place place = {gw_node_get(gw_node_get(map, "history"), "rollup"), path, problems};
    size_t before = problems->errors;
    if (!place.table || place.table->kind != GW_NODE_MAP || !route->rollup_fields.count ||
        !route->rollup_every.count || !route->rollup_keep.count)
        return; /* what is missing was told */
    struct gw_rollup *rollup = gw_rollup_create();
    rollup_fields(&place, &route->rollup_fields, rollup);
    rollup_steps(&place, route, rollup);
    if (route->history_engine && !route->history_engine->kept)
        gw_problem_add(problems, place.table->line, place.table->column,
                       "%s.history.rollup: there is no place for it (store: disk beside it expected)", path);
    if (problems->errors > before)
        gw_rollup_unref(rollup);
    else
        route->rollup = rollup;
}
