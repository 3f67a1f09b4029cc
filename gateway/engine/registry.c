/* registry.c: the engines and histories there are, as app/builtins.c lists them. */
#include <string.h>

#include "gateway/engine.h"
#include "gateway/history.h"

static const struct gw_history_engine *const no_histories[] = {NULL};
const struct gw_history_engine *const *gw_histories = no_histories;

static const struct gw_engine *const no_engines[] = {NULL};
const struct gw_engine *const *gw_engines = no_engines;

void gw_histories_use(const struct gw_history_engine *const *list)
{
    gw_histories = list;
}

const struct gw_history_engine *gw_history_find(const char *name)
{
    size_t i = 0;
    while (gw_histories[i] && strcmp(gw_histories[i]->name, name) != 0)
        i++;
    return gw_histories[i];
}

void gw_engines_use(const struct gw_engine *const *list)
{
    gw_engines = list;
}

const struct gw_engine *gw_engine_find(const char *name)
{
    size_t i = 0;
    while (gw_engines[i] && strcmp(gw_engines[i]->name, name) != 0)
        i++;
    return gw_engines[i];
}
