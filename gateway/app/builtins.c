/* builtins.c: what is built in. A new codec, transform, engine, history or transport is one line here. */
#include "gateway/builtins.h"

#include <stddef.h>

extern const struct gw_codec gw_codec_auto, gw_codec_json, gw_codec_lenient, gw_codec_text, gw_codec_number,
    gw_codec_base64, gw_codec_blob;
const struct gw_codec *const gw_builtin_codecs[] = {
    &gw_codec_auto,   &gw_codec_json,   &gw_codec_lenient, &gw_codec_text,
    &gw_codec_number, &gw_codec_base64, &gw_codec_blob,    NULL,
};

extern const struct gw_transform gw_transform_split;
const struct gw_transform *const gw_builtin_transforms[] = {
    &gw_transform_split,
    NULL,
};

extern const struct gw_engine gw_engine_memory, gw_engine_disk, gw_engine_valkey;
const struct gw_engine *const gw_builtin_engines[] = {
    &gw_engine_memory,
    &gw_engine_disk,
    &gw_engine_valkey,
    NULL,
};

extern const struct gw_history_engine gw_history_memory, gw_history_disk;
const struct gw_history_engine *const gw_builtin_histories[] = {
    &gw_history_memory,
    &gw_history_disk,
    NULL,
};

const struct gw_presence *const gw_builtin_presences[] = {NULL};

extern const struct gw_transport gw_transport_ws, gw_transport_raw, gw_transport_mjpeg, gw_transport_sse,
    gw_transport_longpoll, gw_transport_mqtt, gw_transport_socketio;
const struct gw_transport *const gw_builtin_transports[] = {
    &gw_transport_ws,       &gw_transport_raw,  &gw_transport_mjpeg,    &gw_transport_sse,
    &gw_transport_longpoll, &gw_transport_mqtt, &gw_transport_socketio, NULL,
};
