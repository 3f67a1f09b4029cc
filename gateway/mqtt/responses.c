#include "mqtt/responses.h"

#include <mqtt_protocol.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/buf.h"
#include "gateway/log.h"
#include "gateway/random.h"

/* Correlation data: nonce of the process, worker and token, so that an answer finds the client that asked, and one to
 * an earlier process finds nobody. */
#define CORRELATION     "%08x-%08x-%016llx"
#define CORRELATION_LEN 34
/* The highest subscription identifier (MQTT 5.0 section 3.8.2.1.2); those of routes count from 1. */
#define RESPONSE_SUBSCRIPTION 268435455
#define PREFIX                "sluice/response/"

void gw_responses_init(struct gw_responses *responses)
{
    *responses = (struct gw_responses){0};
    gw_random(&responses->nonce, sizeof responses->nonce);
}

void gw_responses_fini(struct gw_responses *responses)
{
    free(responses->topic);
}

void gw_responses_set_topic(struct gw_responses *responses, const struct gw_cfg_broker *broker)
{
    char *topic = broker->response_topic ? gw_strdup(broker->response_topic) : NULL;
    if (!topic) {
        struct gw_buf made = {0};
        gw_buf_printf(&made, PREFIX "%s", broker->client_id);
        topic = gw_strdup(made.data);
        gw_buf_fini(&made);
        for (char *at = topic + strlen(PREFIX); (at = strpbrk(at, "+#/"));)
            *at = '_';
    }
    free(responses->topic);
    responses->topic = topic;
}

void gw_responses_connected(struct gw_responses *responses, struct mosquitto *mosq, bool ids)
{
    responses->mid = 0;
    responses->subscribed = false;
    responses->refused = responses->closed_on;
    if (mosq && responses->wanted)
        gw_responses_listen(responses, mosq, ids);
}

void gw_responses_lost(struct gw_responses *responses, bool by_broker)
{
    if (responses->mid && by_broker) {
        responses->refused = responses->closed_on = true;
        gw_log(
            GW_LOG_ERROR, "mqtt",
            "the broker closed the connection on the subscription to '%s': no requests until the next reload; allow "
            "it at the broker, or set broker.response_topic",
            responses->topic);
    }
    responses->mid = 0;
    responses->subscribed = false;
}

void gw_responses_listen(struct gw_responses *responses, struct mosquitto *mosq, bool ids)
{
    if (responses->subscribed || responses->refused || !responses->topic)
        return;
    mosquitto_property *properties = NULL;
    if (ids)
        mosquitto_property_add_varint(&properties, MQTT_PROP_SUBSCRIPTION_IDENTIFIER, RESPONSE_SUBSCRIPTION);
    if (mosquitto_subscribe_v5(mosq, &responses->mid, responses->topic, 1, 0, properties) == MOSQ_ERR_SUCCESS)
        responses->subscribed = true;
    mosquitto_property_free_all(&properties);
}

mosquitto_property *gw_responses_properties(const struct gw_responses *responses, const struct gw_publish *publish)
{
    char correlation[CORRELATION_LEN + 1];
    snprintf(correlation, sizeof correlation, CORRELATION, responses->nonce, publish->worker,
             (unsigned long long)publish->token);
    mosquitto_property *properties = NULL;
    mosquitto_property_add_string(&properties, MQTT_PROP_RESPONSE_TOPIC, responses->topic);
    mosquitto_property_add_binary(&properties, MQTT_PROP_CORRELATION_DATA, correlation, CORRELATION_LEN);
    return properties;
}

bool gw_responses_subscribed(struct gw_responses *responses, int mid, int granted)
{
    if (!responses->mid || responses->mid != mid)
        return false;
    responses->mid = 0;
    responses->refused = granted >= 0x80;
    if (responses->refused)
        gw_log(GW_LOG_ERROR, "mqtt",
               "the broker refused the subscription to '%s', so requests get no answers (broker.response_topic)",
               responses->topic);
    return true;
}

/* Where a route's filter (`#`, say) matches the response topic as well, the broker sends a copy for each. */
static bool responses_is_copy(const struct gw_packet *packet)
{
    for (size_t i = 0; i < packet->id_count; i++) {
        if (packet->ids[i] == RESPONSE_SUBSCRIPTION)
            return false;
    }
    return packet->id_count > 0;
}

enum gw_response_kind gw_responses_match(const struct gw_responses *responses, const struct gw_packet *packet,
                                         const mosquitto_property *properties, unsigned workers, unsigned *worker,
                                         uint64_t *token)
{
    const char *topic = responses->topic;
    if (!topic || strlen(topic) != packet->topic_len || memcmp(packet->topic, topic, packet->topic_len) != 0)
        return GW_RESPONSE_NONE;
    if (responses_is_copy(packet))
        return GW_RESPONSE_COPY;
    void *data = NULL;
    uint16_t data_len = 0;
    unsigned nonce = 0;
    unsigned long long found = 0;
    char correlation[CORRELATION_LEN + 1] = "";
    mosquitto_property_read_binary(properties, MQTT_PROP_CORRELATION_DATA, &data, &data_len, false);
    if (data_len == CORRELATION_LEN)
        memcpy(correlation, data, data_len);
    free(data);
    if (sscanf(correlation, "%8x-%8x-%16llx", &nonce, worker, &found) != 3 || nonce != responses->nonce ||
        *worker >= workers)
        return GW_RESPONSE_UNKNOWN;
    *token = found;
    return GW_RESPONSE_FOUND;
}
