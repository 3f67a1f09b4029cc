#include "mqtt/destination.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"

void gw_destination_fini(struct gw_destination *destination)
{
    gw_lookup_destroy(destination->lookup);
    free(destination->host);
    *destination = (struct gw_destination){0};
}

void gw_destination_set_host(struct gw_destination *destination, const char *host, void (*wake)(void *),
                             void *context)
{
    if (destination->host && !strcmp(destination->host, host))
        return;
    gw_destination_fini(destination);
    destination->host = gw_strdup(host);
    destination->lookup = gw_lookup_create("mqtt", "broker.url", host, wake, context);
}

static void destination_ask(struct gw_destination *destination)
{
    gw_lookup_ask(destination->lookup, &destination->answer);
    destination->at = destination->current = 0;
    destination->came = false;
    destination->waiting = destination->answer.open;
}

const char *gw_destination_next(struct gw_destination *destination)
{
    if (!gw_destination_has_more(destination))
        destination_ask(destination);
    if (!destination->answer.count)
        return NULL;
    destination->came = false;
    destination->current = destination->at++;
    destination->address = destination->answer.addresses[destination->current];
    return destination->address.text;
}

bool gw_destination_has_more(const struct gw_destination *destination)
{
    return destination->at < destination->answer.count;
}

void gw_destination_stay(struct gw_destination *destination)
{
    if (!destination->came)
        destination->at = destination->current;
}

void gw_destination_took(struct gw_destination *destination)
{
    gw_lookup_prefer(destination->lookup, &destination->address);
    destination->at = destination->answer.count;
    destination->waiting = destination->came = false;
}

void gw_destination_tick(struct gw_destination *destination)
{
    if (!destination->waiting || destination->answer.state == GW_LOOKUP_WAITING)
        return;
    struct gw_lookup_answer answer;
    gw_lookup_ask(destination->lookup, &answer);
    destination->waiting = answer.open;
    if (answer.state != GW_LOOKUP_FOUND)
        return;
    destination->answer = answer;
    destination->at = destination->current = 0;
    destination->came = true;
}
