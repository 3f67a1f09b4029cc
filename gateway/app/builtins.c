/* builtins.c: what is built in. A new codec, history engine or transport is one line here. */
#include <string.h>

#include "gateway/codec.h"
#include "gateway/history.h"
#include "gateway/transport.h"

extern const struct gw_codec gw_codec_auto, gw_codec_json, gw_codec_text, gw_codec_number, gw_codec_base64;
const struct gw_codec *const gw_codecs[] = {
    &gw_codec_auto, &gw_codec_json, &gw_codec_text, &gw_codec_number, &gw_codec_base64, NULL,
};

extern const struct gw_history_engine gw_history_memory, gw_history_disk;
const struct gw_history_engine *const gw_histories[] = {
    &gw_history_memory,
    &gw_history_disk,
    NULL,
};

extern const struct gw_transport gw_transport_ws, gw_transport_raw, gw_transport_sse, gw_transport_longpoll;
const struct gw_transport *const gw_transports[] = {
    &gw_transport_ws, &gw_transport_raw, &gw_transport_sse, &gw_transport_longpoll, NULL,
};

const struct gw_codec *gw_codec_find(const char *name)
{
    size_t i = 0;
    while (gw_codecs[i] && strcmp(gw_codecs[i]->name, name) != 0)
        i++;
    return gw_codecs[i];
}

const struct gw_history_engine *gw_history_find(const char *name)
{
    size_t i = 0;
    while (gw_histories[i] && strcmp(gw_histories[i]->name, name) != 0)
        i++;
    return gw_histories[i];
}
