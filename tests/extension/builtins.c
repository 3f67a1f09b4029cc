/* builtins.c: what this program has in place of the gateway's own list. */
#include "gateway/builtins.h"

#include <stddef.h>

extern const struct gw_codec gw_codec_auto, gw_codec_shout;
const struct gw_codec *const gw_builtin_codecs[] = {&gw_codec_auto, &gw_codec_shout, NULL};

extern const struct gw_engine gw_engine_memory, gw_engine_disk, gw_engine_late, gw_engine_ledger;
const struct gw_engine *const gw_builtin_engines[] = {&gw_engine_memory, &gw_engine_disk, &gw_engine_late,
                                                      &gw_engine_ledger, NULL};

extern const struct gw_history_engine gw_history_memory, gw_history_disk;
const struct gw_history_engine *const gw_builtin_histories[] = {&gw_history_memory, &gw_history_disk, NULL};

extern const struct gw_transform gw_transform_columns;
const struct gw_transform *const gw_builtin_transforms[] = {&gw_transform_columns, NULL};

extern const struct gw_presence gw_presence_present;
const struct gw_presence *const gw_builtin_presences[] = {&gw_presence_present, NULL};

extern const struct gw_transport gw_transport_ws, gw_transport_longpoll, gw_transport_lines, gw_transport_present;
const struct gw_transport *const gw_builtin_transports[] = {&gw_transport_ws, &gw_transport_longpoll,
                                                            &gw_transport_lines, &gw_transport_present, NULL};
