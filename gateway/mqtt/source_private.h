/* source_private.h: the source's state, and its connection to the broker (connection.c): when it is made, with which
 * client object, and what its end means for publishes and subscriptions. Thread: the MQTT thread. */
#ifndef GW_MQTT_SOURCE_PRIVATE_H
#define GW_MQTT_SOURCE_PRIVATE_H

#include <mosquitto.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "mqtt/abilities.h"
#include "mqtt/attempts.h"
#include "mqtt/destination.h"
#include "mqtt/granted.h"
#include "mqtt/ingest.h"
#include "mqtt/leftover.h"
#include "mqtt/publisher.h"
#include "mqtt/reason.h"
#include "mqtt/receiver.h"
#include "mqtt/redelivery.h"
#include "mqtt/source.h"
#include "mqtt/stored.h"
#include "mqtt/subscriptions.h"
#include "mqtt/tls.h"

/* How long stopping may take to get the last packets out. */
#define GW_SOURCE_STOP_MS 1000

struct gw_source {
    pthread_t thread;
    bool started;
    int wake_fd;
    atomic_bool stopping;

    pthread_mutex_t lock;
    struct gw_config *next_config;       /* {lock} a reload that the thread has not seen yet */
    struct gw_routes *next_routes;       /* {lock} */
    struct gw_auth *next_auth;           /* {lock} for the workers */
    struct gw_stored_ask *stored_answer; /* {lock} the hub's, that the thread has not seen yet */
    struct gw_granted granted;           /* {lock} written by the MQTT thread alone */

    /* From here on: the MQTT thread's alone. */
    struct gw_config *config;
    struct gw_routes *routes;
    enum gw_source_role role;
    struct gw_cfg_broker settings; /* config->broker, but for what the role needs; borrows from it and from own_* */
    char *own_id, *own_response_topic;
    uint64_t term;  /* GW_SOURCE_INGEST: the engine's, in which the connection was made; 0: there is to be none */
    bool expecting; /* ... the broker may send again what it had sent before, and libmosquitto does not say so */
    struct gw_ingest ingest;
    struct gw_publisher publisher;
    struct mosquitto *mosq; /* NULL: to be made */
    struct gw_subscriptions subs;
    struct gw_redelivery redelivery;
    struct gw_stored stored;
    struct gw_leftover leftover;
    bool connecting, connected, up;
    bool open;                /* while connecting: TCP is, or was */
    int64_t begun_ms;         /* the attempt: once there was an address */
    int64_t deadline_ms;      /* of the handshake; later while messages come, which may all be sent before SUBACK */
    uint64_t received_before; /* messages, when deadline_ms was set */
    struct gw_attempts attempts;
    struct gw_destination destination;
    struct gw_abilities broker;
    struct gw_mqtt_tls tls;
    mosquitto_property *notes;     /* of the packet that libmosquitto reads next */
    char told[GW_REASON_MAX + 64]; /* what the broker gave as its reason, in CONNACK or DISCONNECT; "": nothing */
    int told_code;                 /* ... its number; 0: none */
    bool again;                    /* end this connection and make another at once, with a client object of its own */
    struct gw_receiver receiver;

    _Atomic uint64_t received, received_bytes, doubles, too_large, connects, connect_failures, disconnects;
};

/* Tells every worker whether the broker is there. */
void gw_connection_post_state(struct gw_source *source, bool up);
/* Does the attempt or connection speak MQTT 5? */
bool gw_connection_is_v5(const struct gw_source *source);

/* What the broker has granted, for /readyz and /metrics. */
void gw_connection_report(struct gw_source *source);

void gw_connection_attempt(struct gw_source *source);
/* An attempt or a connection failed in libmosquitto. `error` is errno as it was then. */
void gw_connection_failed(struct gw_source *source, int rc, int error);
/* The deadline has passed: the handshake takes too long, or to reach one of several addresses does. */
void gw_connection_overdue(struct gw_source *source);
/* Has the broker sent messages since the deadline was set? Then it is set anew. */
bool gw_connection_hears(struct gw_source *source, int64_t now);
/* The connection ends, and nothing of it goes on with the next one. `why` NULL: it is nothing to tell. */
void gw_connection_give_up(struct gw_source *source, const char *why, bool by_broker);
/* Did the broker's machine take the connection? Then it is its program that says nothing. */
bool gw_connection_is_open(const struct gw_source *source);
/* Answers publishes whose time is up, and ends a connection that takes none. */
void gw_connection_expire(struct gw_source *source, int64_t now);
/* What has arrived of a packet that libmosquitto reads next: `other` of receiver.h. */
void gw_connection_note(void *context, const uint8_t *data, size_t len);

/* settings.c: a client of its own has its own name, and its own place for answers. */
void gw_source_settle_settings(struct gw_source *source);

/* sharing.c, for GW_SOURCE_INGEST: */
extern const struct gw_receiver_safety gw_sharing_safety;
void gw_sharing_take(struct gw_source *source, const struct gw_packet *packet);
/* What was taken goes to the engine: before the thread waits. */
void gw_sharing_flush(struct gw_source *source);
/* After a packet that libmosquitto has read. */
void gw_sharing_await(struct gw_source *source);
/* The engine wants another process to take messages in, or this one anew: whatever the connection holds is void. */
void gw_sharing_check_term(struct gw_source *source);

/* Ends the wait of the MQTT thread. `context`: the source. Thread: any. */
void gw_source_wake(void *context);
/* A message that libmosquitto has read. */
void gw_source_on_message(struct mosquitto *mosq, void *object, const struct mosquitto_message *message,
                          const mosquitto_property *properties);

#endif
