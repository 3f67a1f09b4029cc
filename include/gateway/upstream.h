/* upstream.h: what a worker knows of the broker's side: how to publish to it.
 *
 * gateway/mqtt/ implements it; the hub, the web side and the transports see only this. */
#ifndef GATEWAY_UPSTREAM_H
#define GATEWAY_UPSTREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/buf.h"
#include "gateway/config.h"
#include "gateway/error.h"

/* Whether the broker is there. */
struct gw_upstream_state {
    bool up;
    int64_t since;  /* wall clock, ms since 1970 */
    bool by_engine; /* down, because the engine that gateways share is away */
};

/* A publish on its way to the broker. One malloc'd block; its owner frees it. */
struct gw_publish {
    uint64_t token;  /* chosen by the worker; comes back in the result */
    uint32_t worker; /* whose inbox gets the result */
    int qos;
    int64_t deadline_ms; /* gw_monotonic_ms(): from then on its client has been answered, so it must not be sent */
    bool retain;
    bool request;       /* with a response topic and correlation data (MQTT 5.0 section 4.10); the answer comes as
                           GW_EVENT_RESPONSE */
    bool expires;       /* MQTT 5.0 section 3.3.2.3.3 */
    int64_t expires_ms; /* gw_monotonic_ms(), if `expires` */
    size_t payload_len;
    char *topic;                /* inside the block */
    char *payload;              /* inside the block */
    struct gw_slice properties; /* inside the block: a block of properties.h, whose response topic is the broker's */
};

struct gw_publish_result {
    uint64_t token;
    enum gw_err err; /* GW_OK: the broker acknowledged (QoS 1, 2) or the message is with the network (QoS 0) */
    int reason;      /* MQTT 5 reason code, 0 or 0x10 (no matching subscribers) if it is well */
};

/* The answer to a request. */
struct gw_response {
    uint64_t token;
    char *payload; /* malloc'd, the receiver's; NULL if it is empty */
    size_t len;
};

struct gw_upstream {
    void *context;

    /* Takes *publish and NULLs it on GW_OK; the result comes into the worker's inbox later (for QoS 0 nothing comes:
     * GW_OK is all there is to know). On error the caller still owns it: GW_ERR_UPSTREAM_DOWN, GW_ERR_OVERLOADED.
     * Thread: any; does not block. */
    GW_MUST_CHECK enum gw_err (*publish)(void *context, struct gw_publish **publish);
};

/* Makes the block. Everything is copied. */
struct gw_publish *gw_publish_create(const char *topic, size_t topic_len, const char *payload, size_t payload_len,
                                     struct gw_slice properties);

#endif
