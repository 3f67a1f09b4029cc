/* registry.c: the codecs there are, as app/builtins.c lists them. */
#include <string.h>

#include "gateway/codec.h"

static const struct gw_codec *const none[] = {NULL};
const struct gw_codec *const *gw_codecs = none;

void gw_codecs_use(const struct gw_codec *const *list)
{
    gw_codecs = list;
}

const struct gw_codec *gw_codec_find(const char *name)
{
    size_t i = 0;
    while (gw_codecs[i] && strcmp(gw_codecs[i]->name, name) != 0)
        i++;
    return gw_codecs[i];
}
