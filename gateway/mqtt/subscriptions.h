/* subscriptions.h: what is subscribed to at the broker: filters with their QoS, identifiers and answers. Thread: the
 * MQTT thread. */
#ifndef GW_MQTT_SUBSCRIPTIONS_H
#define GW_MQTT_SUBSCRIPTIONS_H

#include <mosquitto.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/buf.h"
#include "mqtt/abilities.h"
#include "mqtt/packet.h"
#include "route/routes.h"

/* What a gw_sub_entry has for an answer beside the codes of SUBACK. */
enum gw_sub_answer {
    GW_SUB_NONE = -1,       /* not yet */
    GW_SUB_REFUSED = 0x100, /* from here on, as from 0x80 on: refused */
    GW_SUB_FAILED,          /* it could not be sent */
    GW_SUB_LEFT_OUT         /* the broker closes the connection on it */
};

struct gw_sub_entry {
    char *filter;
    int qos;
    int answer;            /* enum gw_sub_answer, or the broker's: the QoS that it grants, or why it refuses */
    int told;              /* the refusal that the log has told; GW_SUB_NONE: none */
    int id;                /* half of its MQTT 5 subscription identifiers; 0: never subscribed */
    int mid;               /* of the SUBSCRIBE in flight, 0 once it was answered */
    uint64_t sent;         /* its place in the order of all that were sent */
    bool fetching;         /* ... which is the first of two: it fetches the stored messages */
    unsigned breaks;       /* connections in a row that the broker closed on it */
    int64_t left_out_till; /* not subscribed to before, for the broker closes on it; gw_monotonic_ms() */
};

struct gw_subscriptions {
    struct gw_sub_entry *items; /* parallel to gw_routes_subscriptions() of the routes in force */
    size_t count;
    size_t unanswered; /* SUBSCRIBEs in flight */
    int next_id;
    uint64_t sent;    /* SUBSCRIBEs in all */
    bool kept;        /* the broker goes on with a session, and so has had them all along */
    bool shared;      /* ... that other processes had before: its stored messages have come, to one of them */
    bool changed;     /* an answer is another one than when the caller last set it to false */
    int64_t again_ms; /* when those that are refused are asked for again; 0: there are none */
};

/* The QoS that is asked for. */
int gw_sub_qos(const struct gw_sub_entry *entry);
bool gw_sub_is_granted(const struct gw_sub_entry *entry);
bool gw_sub_is_refused(const struct gw_sub_entry *entry);

void gw_subscriptions_fini(struct gw_subscriptions *subs);

/* The table for other routes. A filter that was there already with the same QoS keeps its identifier; what is gone is
 * unsubscribed from, and what is new or was refused is subscribed to, if mosq is given (it is connected). */
void gw_subscriptions_change(struct gw_subscriptions *subs, const struct gw_routes *routes, struct mosquitto *mosq,
                             const struct gw_abilities *broker);
/* After CONNACK: subscribes to everything. A filter of QoS 1 is subscribed to twice, first at QoS 0: a broker queues
 * messages of QoS 1 only up to a bound (mosquitto: 1,000) and drops the retained ones beyond it without a word. Where
 * the broker goes on with a session (`session_present`), the first one has the QoS that is wanted: what the broker
 * has kept, and what is published meanwhile, must not drop to QoS 0. */
void gw_subscriptions_send(struct gw_subscriptions *subs, struct mosquitto *mosq, const struct gw_abilities *broker,
                           bool session_present);
/* The connection is gone, and with it the answers that were to come; logs which. A filter on which the broker closed
 * twice is left out for a while, so that the others work. */
void gw_subscriptions_lost(struct gw_subscriptions *subs, bool by_broker);
/* A SUBACK; logs a refusal that it has not logged before, and sends the second SUBSCRIBE after the first.
 * `properties` may be NULL. */
void gw_subscriptions_answered(struct gw_subscriptions *subs, struct mosquitto *mosq,
                               const struct gw_abilities *broker, int mid, int count, const int *granted,
                               const mosquitto_property *properties);

/* What was refused is asked for again now and then: the broker's ACL may have changed without a reconnect. */
void gw_subscriptions_retry(struct gw_subscriptions *subs, struct mosquitto *mosq, const struct gw_abilities *broker,
                            int64_t now_ms);
/* Appends the filters that are refused, each with the reason, for a line of the log; bounded. */
void gw_subscriptions_name_refused(const struct gw_subscriptions *subs, struct gw_buf *out);

/* One more filter for a while, at QoS 0, for its stored messages. Returns the SUBSCRIBE's mid, whose answer is the
 * caller's to take; 0: it could not be sent. */
int gw_subscriptions_try(struct gw_subscriptions *subs, struct mosquitto *mosq, const struct gw_abilities *broker,
                         const char *filter);
/* One of the table's filters once more, for its stored messages. False: it is none of the table's. `kept`: the broker
 * goes on with a session. */
bool gw_subscriptions_again(struct gw_subscriptions *subs, struct mosquitto *mosq, const struct gw_abilities *broker,
                            const char *filter, bool kept);
bool gw_subscriptions_has(const struct gw_subscriptions *subs, const char *filter);

/* Of a message with the retain flag: did it come by the second subscription of a filter, so that the flag is the
 * publisher's (MQTT 5.0 section 3.8.3.1, retain as published), and the message is not a stored one? */
bool gw_subscriptions_is_live(const struct gw_packet *packet);

/* Is one of the message's identifiers that of a filter of the table? */
bool gw_subscriptions_knows(const struct gw_subscriptions *subs, const struct gw_packet *packet);

/* Where filters overlap, a broker may send a copy for each; only that of the canonical subscription counts. Copies
 * say which subscriptions they are for (MQTT 5.0 section 3.3.4); those that say nothing we know are taken. */
bool gw_subscriptions_is_double(const struct gw_subscriptions *subs, const struct gw_routes *routes,
                                const struct gw_packet *packet);

#endif
