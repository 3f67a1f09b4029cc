/* builtins.h: what is built in: the lists of one file, gateway/app/builtins.c.
 *
 * A program with other extensions is the gateway's objects with another builtins.c: it defines these lists, each
 * NULL-terminated, and needs nothing but the headers of include/gateway/. Thread: any; they are constant. */
#ifndef GATEWAY_BUILTINS_H
#define GATEWAY_BUILTINS_H

#include "gateway/codec.h"
#include "gateway/engine.h"
#include "gateway/history.h"
#include "gateway/presence.h"
#include "gateway/transform.h"
#include "gateway/transport.h"

extern const struct gw_codec *const gw_builtin_codecs[]; /* the first is the default of a route */
extern const struct gw_transform *const gw_builtin_transforms[];
extern const struct gw_engine *const gw_builtin_engines[];           /* the first is the default */
extern const struct gw_history_engine *const gw_builtin_histories[]; /* the first is the default of a route */
extern const struct gw_presence *const gw_builtin_presences[];
extern const struct gw_transport *const gw_builtin_transports[]; /* asked in this order */

#endif
