/* attempts.h: when to connect to the broker again, and with which version of MQTT. Thread: the MQTT thread. */
#ifndef GW_MQTT_ATTEMPTS_H
#define GW_MQTT_ATTEMPTS_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/config.h"

struct gw_attempts {
    unsigned count;   /* since a connection that lasted */
    unsigned shorts;  /* connections in a row that the broker closed soon */
    int64_t at_ms;    /* the next attempt */
    int64_t since_ms; /* the connection is complete since then; 0: it is not */
    int version;      /* MQTT_PROTOCOL_V5 or MQTT_PROTOCOL_V311, of this attempt or connection; 0: none yet */
    bool fallen_back; /* 3.1.1 because the broker takes no 5 */
    bool guessed;     /* ... for it closed without an answer; it might have done that for another reason */
    bool asked_twice; /* ... which was found out by trying 5 once more */
    int64_t v5_again_ms;
};

/* Other settings: everything is tried anew, at once. */
void gw_attempts_reset(struct gw_attempts *attempts);

/* The version for the attempt that begins: that of the configuration, or what is known of the broker. */
int gw_attempts_version(struct gw_attempts *attempts, const struct gw_cfg_broker *broker, int64_t now_ms);

/* The broker does not take the version of this attempt: it said so (`said`), or it closed without a word. True:
 * another one is tried at once. */
bool gw_attempts_refused(struct gw_attempts *attempts, const struct gw_cfg_broker *broker, bool said, int64_t now_ms);
/* CONNACK is there. False: 3.1.1 may be a wrong guess: end this connection, 5 is tried once more at once. */
bool gw_attempts_accepted(struct gw_attempts *attempts, const struct gw_cfg_broker *broker, int64_t now_ms);

/* Everything is subscribed. */
void gw_attempts_complete(struct gw_attempts *attempts, int64_t now_ms);

/* The connection is lost, or did not come about: sets the time of the next attempt by exponential back-off with full
 * jitter, so that a thousand gateways don't come back in step. The back-off goes on unless the connection had lasted.
 * True: the broker has closed several in a row soon after they were complete. */
bool gw_attempts_lost(struct gw_attempts *attempts, const struct gw_cfg_broker *broker, bool by_broker,
                      int64_t now_ms);

#endif
