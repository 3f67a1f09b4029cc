/* state.c: the names of a channel's states. */
#include <string.h>

#include "gateway/message.h"

static const char *const state_json[GW_STATE_COUNT] = {
    [GW_STATE_NONE] = "\"\"",           [GW_STATE_LIVE] = "\"live\"",       [GW_STATE_STALE] = "\"stale\"",
    [GW_STATE_OFFLINE] = "\"offline\"", [GW_STATE_UNKNOWN] = "\"unknown\"",
};

static const char *const state_names[GW_STATE_COUNT] = {
    [GW_STATE_NONE] = "",           [GW_STATE_LIVE] = "live",       [GW_STATE_STALE] = "stale",
    [GW_STATE_OFFLINE] = "offline", [GW_STATE_UNKNOWN] = "unknown",
};

const char *gw_state_name(enum gw_state state)
{
    return state_names[state];
}

struct gw_slice gw_state_json(enum gw_state state)
{
    return (struct gw_slice){state_json[state], strlen(state_json[state])};
}
