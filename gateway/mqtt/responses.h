/* responses.h: requests (MQTT 5.0 section 4.10): the topic where their answers come, and the data that leads an
 * answer to its client. Thread: the one that holds the publisher's lock. */
#ifndef GW_MQTT_RESPONSES_H
#define GW_MQTT_RESPONSES_H

#include <mosquitto.h>
#include <stdbool.h>
#include <stdint.h>

#include "gateway/config.h"
#include "gateway/upstream.h"
#include "mqtt/packet.h"

struct gw_responses {
    char *topic;     /* where answers come; constant while connected */
    uint32_t nonce;  /* of this process, in correlation data */
    int mid;         /* SUBSCRIBE to it that is not answered; 0: none */
    bool wanted;     /* there was a request, so it is subscribed at each connect */
    bool subscribed; /* ... on this connection */
    bool refused;    /* ... but the broker said no */
    bool closed_on;  /* ... by closing the connection: it is not asked again before a reload */
};

void gw_responses_init(struct gw_responses *responses);
void gw_responses_fini(struct gw_responses *responses);
void gw_responses_set_topic(struct gw_responses *responses, const struct gw_cfg_broker *broker);
/* A connection begins. */
void gw_responses_connected(struct gw_responses *responses, struct mosquitto *mosq, bool ids);
/* A connection ended. */
void gw_responses_lost(struct gw_responses *responses, bool by_broker);
/* Subscribes to the topic, unless that was done. The broker handles SUBSCRIBE before the PUBLISH that follows it on
 * the same connection. `ids`: it knows subscription identifiers. */
void gw_responses_listen(struct gw_responses *responses, struct mosquitto *mosq, bool ids);
/* Response topic and correlation data of a request. The caller's, to be freed. */
mosquitto_property *gw_responses_properties(const struct gw_responses *responses, const struct gw_publish *publish);
/* A SUBACK; logs a refusal. True: it was for the response topic. */
bool gw_responses_subscribed(struct gw_responses *responses, int mid, int granted);

enum gw_response_kind { GW_RESPONSE_NONE, GW_RESPONSE_COPY, GW_RESPONSE_UNKNOWN, GW_RESPONSE_FOUND };

/* Is this message an answer, and whose? The topic is constant, so that this needs no lock on the MQTT thread. */
enum gw_response_kind gw_responses_match(const struct gw_responses *responses, const struct gw_packet *packet,
                                         const mosquitto_property *properties, unsigned workers, unsigned *worker,
                                         uint64_t *token);

#endif
