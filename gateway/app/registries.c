/* registries.c: hands what is built in down to the layers that look it up. */
#include <stddef.h>
#include <stdlib.h>

#include "app/builtins.h"
#include "base/alloc.h"
#include "config/options.h"
#include "gateway/builtins.h"

/* The configuration reads the tables of all of them, and knows none. */
static void registries_options(void)
{
    size_t count = 0, room = 1;
    for (size_t i = 0; gw_builtin_engines[i]; i++)
        room++;
    for (size_t i = 0; gw_builtin_transports[i]; i++)
        room++;
    const struct gw_options **all = gw_calloc(room, sizeof *all);
    for (size_t i = 0; gw_builtin_engines[i]; i++) {
        if (gw_builtin_engines[i]->options)
            all[count++] = gw_builtin_engines[i]->options;
    }
    for (size_t i = 0; gw_builtin_transports[i]; i++) {
        if (gw_builtin_transports[i]->options)
            all[count++] = gw_builtin_transports[i]->options;
    }
    gw_config_extend(all);
    free(all);
}

void gw_builtins_use(void)
{
    gw_codecs_use(gw_builtin_codecs);
    gw_transforms_use(gw_builtin_transforms);
    gw_engines_use(gw_builtin_engines);
    gw_histories_use(gw_builtin_histories);
    gw_transports_use(gw_builtin_transports);
    registries_options();
}
