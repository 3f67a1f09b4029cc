/* registry.c: the transforms there are, as app/builtins.c lists them. */
#include <string.h>

#include "gateway/transform.h"

static const struct gw_transform *const none[] = {NULL};
const struct gw_transform *const *gw_transforms = none;

void gw_transforms_use(const struct gw_transform *const *list)
{
    gw_transforms = list;
}

const struct gw_transform *gw_transform_find(const char *name)
{
    size_t i = 0;
    while (gw_transforms[i] && strcmp(gw_transforms[i]->name, name) != 0)
        i++;
    return gw_transforms[i];
}
