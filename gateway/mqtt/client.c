#include "mqtt/client.h"

#include <errno.h>
#include <mqtt_protocol.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/clock.h"

/* The only call that takes CONNECT properties also connects, blocking. With an impossible port it stores them and
 * gives up before it touches the network; mosquitto_connect_bind_async() then uses them. */
static void client_set_expiry(struct mosquitto *mosq, const struct gw_cfg_broker *broker)
{
    mosquitto_property *properties = NULL;
    mosquitto_property_add_int32(&properties, MQTT_PROP_SESSION_EXPIRY_INTERVAL,
                                 (uint32_t)((broker->session_expiry_ms + 999) / 1000));
    mosquitto_connect_bind_v5(mosq, broker->host, -1, 60, NULL, properties);
    mosquitto_property_free_all(&properties);
}

bool gw_client_differs(const struct gw_cfg_broker *a, const struct gw_cfg_broker *b)
{
    const char *pairs[][2] = {
        {a->url, b->url},
        {a->username, b->username},
        {a->password, b->password},
        {a->tls.ca_file, b->tls.ca_file},
        {a->tls.cert_file, b->tls.cert_file},
        {a->tls.key_file, b->tls.key_file},
        {a->response_topic, b->response_topic},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (strcmp(pairs[i][0] ? pairs[i][0] : "", pairs[i][1] ? pairs[i][1] : "") != 0)
            return true;
    }
    bool other_id =
        a->client_id_made != b->client_id_made || (!a->client_id_made && strcmp(a->client_id, b->client_id) != 0);
    return other_id || a->protocol != b->protocol || a->keepalive_ms != b->keepalive_ms ||
           a->session_expiry_ms != b->session_expiry_ms || a->tls.verify_hostname != b->tls.verify_hostname;
}

int gw_client_create(const struct gw_cfg_broker *broker, int version, struct gw_mqtt_tls *tls, void *object,
                     struct mosquitto **out)
{
    struct mosquitto *mosq = *out = mosquitto_new(broker->client_id, broker->session_expiry_ms == 0, object);
    if (!mosq)
        return errno == ENOMEM ? MOSQ_ERR_NOMEM : MOSQ_ERR_INVAL;
    mosquitto_threaded_set(mosq, true); /* workers publish while the MQTT thread reads */
    int rc = mosquitto_int_option(mosq, MOSQ_OPT_PROTOCOL_VERSION, version);
    if (rc == MOSQ_ERR_SUCCESS && broker->username)
        rc = mosquitto_username_pw_set(mosq, broker->username, broker->password);
    if (rc == MOSQ_ERR_SUCCESS && broker->tls_enabled && !gw_mqtt_tls_setup(tls, mosq, broker))
        rc = MOSQ_ERR_TLS;
    if (rc == MOSQ_ERR_SUCCESS && version == MQTT_PROTOCOL_V5 && broker->session_expiry_ms > 0)
        client_set_expiry(mosq, broker);
    return rc;
}

void gw_client_disconnect(struct mosquitto *mosq, int64_t until_ms)
{
    char left[16384];
    int fd = dup(mosquitto_socket(mosq)); /* libmosquitto closes its own with the packet */
    mosquitto_disconnect(mosq);
    while (mosquitto_socket(mosq) >= 0 && mosquitto_want_write(mosq) && gw_monotonic_ms() < until_ms) {
        if (mosquitto_loop_write(mosq, 1) != MOSQ_ERR_SUCCESS)
            break;
    }
    if (fd < 0)
        return;
    shutdown(fd, SHUT_WR);
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    int64_t now;
    while ((now = gw_monotonic_ms()) < until_ms && poll(&wait, 1, (int)(until_ms - now)) > 0) {
        ssize_t got = read(fd, left, sizeof left);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
            break;
    }
    close(fd);
}
