#include "mqtt/attempts.h"

#include <mosquitto.h>
#include <mqtt_protocol.h>

#include "gateway/log.h"
#include "gateway/random.h"

/* A connection that was complete for so long was a good one. */
#define LASTING_MS 10000
/* So many in a row that were not make one ask why. */
#define SHORTS 3
/* A broker that took only 3.1.1 may have been replaced after this time. */
#define V5_AGAIN_MS 3600000

static uint32_t attempts_random(uint32_t below)
{
    uint32_t bits;
    gw_random(&bits, sizeof bits);
    return below ? bits % below : 0;
}

void gw_attempts_reset(struct gw_attempts *attempts)
{
    *attempts = (struct gw_attempts){0};
}

int gw_attempts_version(struct gw_attempts *attempts, const struct gw_cfg_broker *broker, int64_t now_ms)
{
    if (attempts->fallen_back && now_ms >= attempts->v5_again_ms)
        attempts->fallen_back = attempts->guessed = attempts->asked_twice = false;
    attempts->version = broker->protocol        ? broker->protocol
                        : attempts->fallen_back ? MQTT_PROTOCOL_V311
                                                : MQTT_PROTOCOL_V5;
    return attempts->version;
}

bool gw_attempts_refused(struct gw_attempts *attempts, const struct gw_cfg_broker *broker, bool said, int64_t now_ms)
{
    if (broker->protocol)
        return false;
    if (attempts->version == MQTT_PROTOCOL_V311) { /* not that either, so it was something else */
        attempts->fallen_back = attempts->guessed = attempts->asked_twice = false;
        return false;
    }
    attempts->fallen_back = true;
    attempts->asked_twice = !said && attempts->guessed;
    attempts->guessed = !said;
    attempts->v5_again_ms = now_ms + V5_AGAIN_MS;
    attempts->at_ms = now_ms;
    return true;
}

bool gw_attempts_accepted(struct gw_attempts *attempts, const struct gw_cfg_broker *broker, int64_t now_ms)
{
    if (!attempts->fallen_back || broker->protocol) {
        attempts->guessed = attempts->asked_twice = false;
        return true;
    }
    if (attempts->guessed && !attempts->asked_twice) {
        attempts->fallen_back = false; /* `guessed` stays: the next silent refusal settles it */
        attempts->at_ms = now_ms;
        return false;
    }
    gw_log(
        GW_LOG_WARN, "mqtt",
        "%s takes no MQTT 5 (%s): going on with 3.1.1, without requests and reasons for refusals; 5 is tried again "
        "in an hour, or never with broker.protocol: 3.1.1",
        broker->url, attempts->guessed ? "it closes the connection without an answer" : "it says so");
    return true;
}

void gw_attempts_complete(struct gw_attempts *attempts, int64_t now_ms)
{
    attempts->since_ms = now_ms;
}

bool gw_attempts_lost(struct gw_attempts *attempts, const struct gw_cfg_broker *broker, bool by_broker,
                      int64_t now_ms)
{
    bool complete = attempts->since_ms > 0;
    if (complete && now_ms - attempts->since_ms >= LASTING_MS)
        attempts->count = attempts->shorts = 0;
    else if (complete && by_broker)
        attempts->shorts++;
    attempts->since_ms = 0;
    int64_t cap = broker->reconnect_min_ms;
    for (unsigned i = 0; i < attempts->count && cap < broker->reconnect_max_ms; i++)
        cap *= 2;
    if (cap > broker->reconnect_max_ms)
        cap = broker->reconnect_max_ms;
    attempts->count++;
    attempts->at_ms = now_ms + cap / 4 + attempts_random((uint32_t)(cap - cap / 4 + 1));
    if (attempts->shorts < SHORTS || !complete)
        return false;
    attempts->shorts = 0;
    return true;
}
