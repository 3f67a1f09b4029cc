/* giveback.h: references to messages, given back many at a time (giveback.c). Thread: the loop's. */
#ifndef GW_HUB_SESSION_GIVEBACK_H
#define GW_HUB_SESSION_GIVEBACK_H

#include <stdint.h>

struct gw_message;

/* References to messages that sessions are done with (giveback.c). */
#define GW_GIVEBACK_SLOTS 1024
struct gw_returned {
    struct gw_message *msg; /* NULL: free */
    uint32_t count;
};
struct gw_giveback {
    struct gw_returned slots[GW_GIVEBACK_SLOTS];
    uint16_t used[GW_GIVEBACK_SLOTS]; /* those that are not free */
    uint32_t used_count;
};

/* Gives back all that is noted there. */
void gw_giveback_all(struct gw_giveback *giveback);

#endif
