/* publisher.h: publishes of the workers, on their way to the broker and back.
 *
 * No more than the broker takes at once (Receive Maximum, MQTT 5.0 section 4.9) is handed to libmosquitto, which
 * resends what it has after a reconnect; the rest waits here. A publish is handed over before its client's time is
 * up, or never. When a connection is lost, what was not acknowledged is answered, and the client object with its
 * copies is thrown away (gw_publisher_lost() says so): nothing is carried out after its client got an error.
 *
 * Threads: gw_publisher_publish() any; everything else the MQTT thread's. Lock order: `lock` before libmosquitto's
 * own (its callbacks come without those that mosquitto_publish takes), and no inbox is filled while it is held. */
#ifndef GW_MQTT_PUBLISHER_H
#define GW_MQTT_PUBLISHER_H

#include <mosquitto.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "gateway/config.h"
#include "hub/inbox.h"
#include "mqtt/abilities.h"
#include "mqtt/blame.h"
#include "mqtt/packet.h"
#include "mqtt/responses.h"

struct gw_flight;

struct gw_publisher {
    pthread_mutex_t lock;
    struct mosquitto *mosq;                   /* {lock} NULL while not connected */
    struct gw_abilities broker;               /* {lock} of this connection; while there is none, of the one before */
    uint32_t limit;                           /* {lock} limits.publish_queue */
    bool queue_while_down;                    /* {lock} */
    int64_t timeout_ms;                       /* {lock} */
    struct gw_responses responses;            /* {lock} */
    struct gw_blame blame;                    /* {lock} */
    struct gw_flight *flights[256];           /* {lock} by message id: with libmosquitto, not acknowledged */
    struct gw_flight *waiting, **waiting_end; /* {lock} not handed over yet, oldest first */
    uint32_t count;                           /* {lock} of both */
    uint32_t window;                          /* {lock} QoS 1 and 2 with libmosquitto, not acknowledged */
    int64_t heard_ms;                         /* {lock} the last acknowledgement, or the connection's begin */
    struct gw_inbox **inboxes;
    unsigned workers;
    void (*wake)(void *context); /* the MQTT thread has something to write */
    void *wake_context;
    _Atomic uint64_t published, rejected, responses_unknown;
};

void gw_publisher_init(struct gw_publisher *publisher, struct gw_inbox **inboxes, unsigned workers,
                       void (*wake)(void *), void *context);
void gw_publisher_fini(struct gw_publisher *publisher);
void gw_publisher_configure(struct gw_publisher *publisher, const struct gw_config *config);

enum gw_err gw_publisher_publish(void *context, struct gw_publish **publish);

/* Has libmosquitto publishes of an earlier connection whose clients have been answered since? Then the client object
 * must be thrown away before it writes anything. */
bool gw_publisher_is_stale(struct gw_publisher *publisher);
/* The connection is there: what waits is sent. */
void gw_publisher_connected(struct gw_publisher *publisher, struct mosquitto *mosq,
                            const struct gw_abilities *broker);

/* How a connection ended. */
struct gw_loss {
    const char *why; /* NULL: we end it, and it is nothing to tell */
    bool by_broker;  /* the broker closed it, rather than the network, the clock or we */
    bool kept;       /* the broker keeps the session, so the next connection may go on with what is unanswered */
};

/* The connection is gone; names in the log the publish that may have ended it. True: the client object must be thrown
 * away, and everything it had was answered with upstream_down. False, in a kept session only: publishes whose clients
 * still wait go on with the next connection. */
GW_MUST_CHECK bool gw_publisher_lost(struct gw_publisher *publisher, const struct gw_loss *loss);

/* Where answers come from the next connection on: broker.response_topic, or one made of the client's identifier. */
void gw_publisher_set_response_topic(struct gw_publisher *publisher, const struct gw_cfg_broker *broker);
/* Is it the response topic? */
bool gw_publisher_has_topic(struct gw_publisher *publisher, const char *filter);
/* A SUBACK. True: it was for the response topic. */
bool gw_publisher_subscribed(struct gw_publisher *publisher, int mid, int granted);
/* A message from the broker. True: it came on the response topic, and is dealt with. */
bool gw_publisher_respond(struct gw_publisher *publisher, const struct gw_packet *packet,
                          const mosquitto_property *properties);
/* PUBACK, PUBCOMP or a refusing PUBREC; at QoS 0: it is written. `properties` may be NULL. */
void gw_publisher_acknowledged(struct gw_publisher *publisher, int mid, int reason,
                               const mosquitto_property *properties);

enum gw_publisher_state {
    GW_PUBLISHER_WELL,
    GW_PUBLISHER_STALE, /* not connected, and libmosquitto has publishes whose clients have been answered: it must be
                           thrown away */
    GW_PUBLISHER_STUCK  /* connected, and the broker has acknowledged nothing for long while publishes wait */
};

/* Answers what waited too long. */
enum gw_publisher_state gw_publisher_expire(struct gw_publisher *publisher, int64_t now_ms);

#endif
