#include "mqtt/tls.h"

#include <openssl/ssl.h>

void gw_mqtt_tls_name(struct gw_mqtt_tls *tls, const struct gw_cfg_broker *broker)
{
    tls->broker = (struct gw_tls_peer){
        .who = "the broker",
        .host = broker->host,
        .key = "broker.tls",
        .url_key = "broker.url",
        .plain = "mqtt://",
        .chain = "mosquitto: certfile",
        .ca_file = broker->tls.ca_file,
        .cert_file = broker->tls.cert_file,
        .key_file = broker->tls.key_file,
        .verify_hostname = broker->tls.verify_hostname,
    };
}

bool gw_mqtt_tls_setup(struct gw_mqtt_tls *tls, struct mosquitto *mosq, const struct gw_cfg_broker *broker)
{
    gw_mqtt_tls_name(tls, broker);
    tls->reason = (struct gw_tls_reason){.peer = &tls->broker};
    SSL_CTX *context = gw_tls_peer_context(&tls->reason);
    bool ok = context && mosquitto_int_option(mosq, MOSQ_OPT_SSL_CTX_WITH_DEFAULTS, 0) == MOSQ_ERR_SUCCESS &&
              mosquitto_void_option(mosq, MOSQ_OPT_SSL_CTX, context) == MOSQ_ERR_SUCCESS;
    SSL_CTX_free(context);
    return ok;
}
