/* builtins.c: what is built in. A new codec, history engine or transport is one line here. */
#include "app/builtins.h"

#include <stddef.h>

#include "config/options.h"
#include "gateway/codec.h"
#include "gateway/engine.h"
#include "gateway/history.h"
#include "gateway/transform.h"
#include "gateway/transport.h"

extern const struct gw_codec gw_codec_auto, gw_codec_json, gw_codec_lenient, gw_codec_text, gw_codec_number,
    gw_codec_base64;
static const struct gw_codec *const codecs[] = {
    &gw_codec_auto, &gw_codec_json, &gw_codec_lenient, &gw_codec_text, &gw_codec_number, &gw_codec_base64, NULL,
};

extern const struct gw_transform gw_transform_split;
static const struct gw_transform *const transforms[] = {
    &gw_transform_split,
    NULL,
};

extern const struct gw_engine gw_engine_memory, gw_engine_disk;
static const struct gw_engine *const engines[] = {
    &gw_engine_memory,
    &gw_engine_disk,
    NULL,
};

extern const struct gw_history_engine gw_history_memory, gw_history_disk;
static const struct gw_history_engine *const histories[] = {
    &gw_history_memory,
    &gw_history_disk,
    NULL,
};

extern const struct gw_transport gw_transport_ws, gw_transport_raw, gw_transport_sse, gw_transport_longpoll,
    gw_transport_mqtt;
static const struct gw_transport *const transports[] = {
    &gw_transport_ws, &gw_transport_raw, &gw_transport_sse, &gw_transport_longpoll, &gw_transport_mqtt, NULL,
};

/* The configuration reads the tables of all of them, and knows none. */
static void builtins_options(void)
{
    const struct gw_options *all[sizeof transports / sizeof *transports + sizeof engines / sizeof *engines];
    size_t count = 0;
    for (size_t i = 0; engines[i]; i++) {
        if (engines[i]->options)
            all[count++] = engines[i]->options;
    }
    for (size_t i = 0; transports[i]; i++) {
        if (transports[i]->options)
            all[count++] = transports[i]->options;
    }
    all[count] = NULL;
    gw_config_extend(all);
}

void gw_builtins_use(void)
{
    gw_codecs_use(codecs);
    gw_transforms_use(transforms);
    gw_engines_use(engines);
    gw_histories_use(histories);
    gw_transports_use(transports);
    builtins_options();
}
