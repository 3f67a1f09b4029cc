/* publisher.h: publishes of the workers, on their way to the broker and back.
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
#include "mqtt/packet.h"

struct gw_flight;

struct gw_publisher {
    pthread_mutex_t lock;
    struct mosquitto *mosq;                   /* {lock} NULL while not connected */
    bool v5;                                  /* {lock} */
    uint32_t limit;                           /* {lock} limits.publish_queue */
    bool queue_while_down;                    /* {lock} */
    int64_t timeout_ms;                       /* {lock} */
    char *response_topic;                     /* {lock} where answers to requests come; constant while connected */
    uint32_t nonce;                           /* of this process, in correlation data */
    int response_mid;                         /* {lock} SUBSCRIBE to it that is not answered; 0: none */
    bool response_wanted;                     /* {lock} there was a request, so it is subscribed at each connect */
    bool response_subscribed;                 /* {lock} ... on this connection */
    bool response_refused;                    /* {lock} ... but the broker said no */
    struct gw_flight *flights[256];           /* {lock} by message id: sent, not acknowledged */
    struct gw_flight *waiting, **waiting_end; /* {lock} not sent yet, oldest first */
    uint32_t count;                           /* {lock} of both */
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

/* The connection is there (what waits is sent) or gone (mosq NULL). */
void gw_publisher_connected(struct gw_publisher *publisher, struct mosquitto *mosq, bool v5);
/* Another client object takes over: what the old one had in flight is answered with timeout, since it is unknown
 * whether it arrived. */
void gw_publisher_forget(struct gw_publisher *publisher);
/* Where answers come from the next connection on: broker.response_topic, or one made of the client's identifier. */
void gw_publisher_set_response_topic(struct gw_publisher *publisher, const struct gw_cfg_broker *broker);
/* A SUBACK. True: it was for the response topic. */
bool gw_publisher_subscribed(struct gw_publisher *publisher, int mid, int granted);
/* A message from the broker. True: it came on the response topic, and is dealt with. */
bool gw_publisher_respond(struct gw_publisher *publisher, const struct gw_packet *packet,
                          const mosquitto_property *properties);
/* PUBACK, PUBCOMP or a refusing PUBREC. */
void gw_publisher_acknowledged(struct gw_publisher *publisher, int mid, int reason);
/* Answers what waited too long and forgets flights nobody waits for any more. */
void gw_publisher_expire(struct gw_publisher *publisher, int64_t now_ms);

#endif
