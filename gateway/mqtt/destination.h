/* destination.h: which of the broker's addresses an attempt goes to. libmosquitto would look the name up by itself,
 * wait for the name server as long as it takes, and know the first address only. Thread: the MQTT thread. */
#ifndef GW_MQTT_DESTINATION_H
#define GW_MQTT_DESTINATION_H

#include <stdbool.h>
#include <stddef.h>

#include "base/lookup.h"

struct gw_destination {
    char *host;
    struct gw_lookup *lookup;
    struct gw_lookup_answer answer; /* the addresses of this round */
    size_t at, current;             /* in them: the next one; the one of this attempt */
    struct gw_address address;      /* of this attempt */
    bool waiting;                   /* the name server is asked; its answer wakes the thread */
    bool came;                      /* it has answered after all: an attempt need not wait for its time */
};

/* `wake` as in lookup.h. Does nothing if it is the host already. */
void gw_destination_set_host(struct gw_destination *destination, const char *host, void (*wake)(void *),
                             void *context);
void gw_destination_fini(struct gw_destination *destination);

/* The address for the attempt that begins; one after the other, then the name is looked up anew. NULL: there is none;
 * answer.state is WAITING (ask again soon), or FAILED with the reason. */
const char *gw_destination_next(struct gw_destination *destination);
/* Is there another one in this round? */
bool gw_destination_has_more(const struct gw_destination *destination);
/* The next attempt goes to the same address again. */
void gw_destination_stay(struct gw_destination *destination);
/* The broker is there: it comes first next time, and the name is looked up anew. */
void gw_destination_took(struct gw_destination *destination);
/* Goes on asking. To be called every half second while not connected. */
void gw_destination_tick(struct gw_destination *destination);

#endif
