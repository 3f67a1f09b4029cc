/* settings.c: with which settings the source connects: those of the configuration, but for what its role needs. */
#include <stdlib.h>

#include "mqtt/source_private.h"

void gw_source_settle_settings(struct gw_source *source)
{
    const struct gw_config *config = source->config;
    source->settings = config->broker;
    gw_mqtt_tls_name(&source->tls, &source->settings);
    gw_destination_set_host(&source->destination, source->settings.host, gw_source_wake, source);
    free(source->own_id);
    free(source->own_response_topic);
    source->own_id = source->own_response_topic = NULL;
    if (source->role != GW_SOURCE_PUBLISH)
        return;
    const char *node = source->ingest.engine->shared->node(source->ingest.store);
    struct gw_buf id = {0};
    gw_buf_printf(&id, "%s-%s", config->broker.client_id, node);
    source->settings.client_id = source->own_id = gw_buf_take(&id);
    source->settings.session_expiry_ms = 0;
    if (!config->broker.response_topic)
        return;
    id = (struct gw_buf){0};
    gw_buf_printf(&id, "%s/%s", config->broker.response_topic, node);
    source->settings.response_topic = source->own_response_topic = gw_buf_take(&id);
}
