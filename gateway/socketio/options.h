/* options.h: `socketio:` in the configuration file. Thread: any. */
#ifndef GW_SOCKETIO_OPTIONS_H
#define GW_SOCKETIO_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/options.h"

/* What a page is sent; other keys change single words of it. */
enum sio_preset { SIO_PRESET_SLUICE, SIO_PRESET_MQTT, SIO_PRESET_FLASK, SIO_PRESET_TOPIC };
enum sio_payload { SIO_PAYLOAD_BY_PRESET, SIO_PAYLOAD_JSON, SIO_PAYLOAD_TEXT };

struct gw_sio_options {
    char *path;
    size_t path_len; /* without a slash at the end */
    int preset;
    struct {
        char *message, *subscribe, *unsubscribe, *publish; /* names of events; NULL: the preset's */
    } events;
    struct {
        char *channel, *data; /* in the object of a message; NULL: the preset's */
    } members;
    int payload;
    int64_t ping_interval_ms;
    int64_t ping_timeout_ms;
    int64_t connect_timeout_ms;
    int64_t recovery_ms;          /* how long a session that was cut off is remembered; 0: no recovery */
    uint32_t sessions;            /* that poll, and that are remembered */
    struct gw_strings namespaces; /* besides "/" */
};

extern const struct gw_options gw_sio_options;

/* Events of the client library itself: no packet may have such a name. */
bool gw_sio_event_reserved(const char *name, size_t len);

#endif
