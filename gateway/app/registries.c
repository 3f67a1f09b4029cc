/* registries.c: hands what is built in down to the layers that look it up. */
#include <stddef.h>
#include <stdlib.h>

#include "app/builtins.h"
#include "config/options.h"
#include "gateway/alloc.h"
#include "gateway/builtins.h"

static const struct gw_options **options_all;
static size_t options_count;

static void options_add(const struct gw_options *options)
{
    for (size_t i = 0; options && i < options_count; i++) {
        if (options_all[i] == options)
            options = NULL; /* extensions of one file may share a table */
    }
    if (!options)
        return;
    options_all = gw_reallocarray(options_all, options_count + 2, sizeof *options_all);
    options_all[options_count++] = options;
    options_all[options_count] = NULL;
}

/* The configuration reads the tables of all of them, and knows none. Transforms have theirs in a route. */
static void registries_options(void)
{
    static const struct gw_options *const no_options[] = {NULL};
    for (size_t i = 0; gw_builtin_engines[i]; i++)
        options_add(gw_builtin_engines[i]->options);
    for (size_t i = 0; gw_builtin_transports[i]; i++)
        options_add(gw_builtin_transports[i]->options);
    for (size_t i = 0; gw_builtin_presences[i]; i++)
        options_add(gw_builtin_presences[i]->options);
    gw_config_extend(options_all ? options_all : no_options);
    free(options_all);
    options_all = NULL;
    options_count = 0;
}

void gw_builtins_use(void)
{
    gw_codecs_use(gw_builtin_codecs);
    gw_transforms_use(gw_builtin_transforms);
    gw_engines_use(gw_builtin_engines);
    gw_histories_use(gw_builtin_histories);
    gw_presences_use(gw_builtin_presences);
    gw_transports_use(gw_builtin_transports);
    registries_options();
}
