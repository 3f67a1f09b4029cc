#include "mqtt/survey.h"

#include <errno.h>
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <string.h>

#include "base/lookup.h"
#include "gateway/clock.h"
#include "mqtt/client.h"
#include "mqtt/reason.h"

#define ANSWER_MS  10000
#define REACH_MS   3000 /* to be connected to one of several addresses */
#define GOODBYE_MS 1000

struct survey {
    const char *filter;
    gw_survey_message message;
    void *context;
    struct gw_lookup_answer names;
    struct gw_mqtt_tls tls;
    bool heard;  /* the broker */
    int refused; /* the CONNACK's code, if it is one that refuses */
    bool granted, denied;
};

static void survey_on_connect(struct mosquitto *mosq, void *object, int code)
{
    struct survey *survey = object;
    survey->heard = true;
    survey->refused = code;
    if (!code && !survey->filter)
        survey->granted = true;
    else if (!code && mosquitto_subscribe(mosq, NULL, survey->filter, 0) != MOSQ_ERR_SUCCESS)
        survey->denied = true;
}

static void survey_on_subscribe(struct mosquitto *mosq, void *object, int id, int count, const int *granted)
{
    (void)mosq;
    (void)id;
    struct survey *survey = object;
    survey->granted = count == 1 && granted[0] <= 2;
    survey->denied = !survey->granted;
}

static void survey_on_message(struct mosquitto *mosq, void *object, const struct mosquitto_message *message)
{
    (void)mosq;
    struct survey *survey = object;
    survey->message(survey->context, message->topic, message->payload, (size_t)message->payloadlen);
}

static void survey_on_log(struct mosquitto *mosq, void *object, int level, const char *line)
{
    (void)mosq;
    struct survey *survey = object;
    if (level == MOSQ_LOG_ERR && strstr(line, "OpenSSL"))
        gw_tls_note(&survey->tls.reason, line);
}

static void survey_explain(const struct survey *survey, const struct gw_cfg_broker *broker, int rc, int error,
                           struct gw_buf *problem)
{
    char words[GW_REASON_MAX];
    gw_buf_printf(problem, "%s: ", broker->url);
    if (survey->names.reason[0])
        gw_buf_adds(problem, survey->names.reason);
    else if (survey->tls.reason.text[0])
        gw_buf_adds(problem, survey->tls.reason.text);
    else if (survey->refused)
        gw_buf_printf(problem, "the broker refuses %s%s: %s", broker->username ? "the user " : "anonymous clients",
                      broker->username ? broker->username : "",
                      gw_reason_words(words, gw_reason_of_return_code(survey->refused), NULL));
    else if (survey->denied)
        gw_buf_printf(problem, "the broker refuses a subscription to '%s': use an account that may read",
                      survey->filter);
    else if (rc == MOSQ_ERR_SUCCESS)
        gw_buf_adds(problem, "no answer from a broker in 10 s");
    else
        gw_buf_adds(problem, gw_reason_of_error(rc, error));
}

/* Returns what ended it: MOSQ_ERR_SUCCESS is the time. */
static int survey_listen(struct survey *survey, struct mosquitto *mosq, int64_t answer_ms, int64_t listen_ms)
{
    int64_t until_ms = gw_monotonic_ms() + answer_ms;
    bool listening = false;
    while (gw_monotonic_ms() < until_ms && !survey->denied) {
        int rc = mosquitto_loop(mosq, 50, 1);
        if (rc != MOSQ_ERR_SUCCESS)
            return rc;
        if (survey->granted && !listening) {
            listening = true;
            until_ms = gw_monotonic_ms() + listen_ms;
        }
    }
    return MOSQ_ERR_SUCCESS;
}

/* At one address of the broker's name after the other. */
static int survey_visit(struct survey *survey, struct mosquitto *mosq, const struct gw_cfg_broker *broker,
                        int64_t listen_ms)
{
    struct gw_lookup *lookup = gw_lookup_create("mqtt", "broker.url", broker->host, NULL, NULL);
    gw_lookup_wait(lookup, GW_LOOKUP_MS, &survey->names);
    gw_lookup_destroy(lookup);
    int rc = MOSQ_ERR_EAI;
    for (size_t i = 0; i < survey->names.count && !survey->heard; i++) {
        bool last = i + 1 == survey->names.count;
        errno = 0;
        rc = mosquitto_connect_async(mosq, survey->names.addresses[i].text, broker->port, 60);
        if (rc == MOSQ_ERR_SUCCESS)
            rc = survey_listen(survey, mosq, last ? ANSWER_MS : REACH_MS, listen_ms);
    }
    return rc;
}

bool gw_survey(const struct gw_cfg_broker *broker, const char *filter, int64_t listen_ms, gw_survey_message message,
               void *context, struct gw_buf *problem)
{
    struct survey survey = {.filter = filter, .message = message, .context = context};
    struct gw_cfg_broker clean = *broker;
    struct mosquitto *mosq;
    clean.session_expiry_ms = 0; /* the broker keeps nothing for a visitor */
    mosquitto_lib_init();
    int rc = gw_client_create(&clean, MQTT_PROTOCOL_V311, &survey.tls, &survey, &mosq), error = 0;
    if (rc == MOSQ_ERR_SUCCESS) {
        mosquitto_connect_callback_set(mosq, survey_on_connect);
        mosquitto_subscribe_callback_set(mosq, survey_on_subscribe);
        mosquitto_message_callback_set(mosq, survey_on_message);
        mosquitto_log_callback_set(mosq, survey_on_log);
        rc = survey_visit(&survey, mosq, broker, listen_ms);
        error = errno;
    }
    bool good = rc == MOSQ_ERR_SUCCESS && survey.granted;
    if (!good)
        survey_explain(&survey, broker, rc, error, problem);
    else
        gw_client_disconnect(mosq, gw_monotonic_ms() + GOODBYE_MS);
    mosquitto_destroy(mosq);
    mosquitto_lib_cleanup();
    return good;
}
