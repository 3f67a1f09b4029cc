/* wanted.h: the state that a command wants, and whether a channel's messages show it (decision 0024).
 *
 * Pure functions over JSON text; thread: any. */
#ifndef GW_HUB_PUBLISH_WANTED_H
#define GW_HUB_PUBLISH_WANTED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/buf.h"
#include "gateway/config.h"

#define GW_WANTED_MAX       32   /* places that are compared */
#define GW_WANTED_BYTES_MAX 4096 /* of the values at these places, and of their pointers */

/* What shows that a place is as it was commanded. */
enum gw_wanted_by {
    GW_WANTED_VALUE,  /* the value that was sent */
    GW_WANTED_CHANGE, /* another value than before, for TOGGLE */
    GW_WANTED_ANY,    /* whatever it says, for a command that asks for the state */
};

/* publish.confirm of a route. The texts of `change` and `any` are commands and no states; in capitals or not, and one
 * that ends with `*` is the beginning of a command. */
struct gw_wanted_rules {
    const struct gw_strings *fields; /* JSON pointers */
    const struct gw_strings *change, *any;
    double tolerance;
    struct gw_slice text; /* the whole command as it was sent: a codec may read `+10` as 10 */
};

struct gw_wanted {
    struct gw_buf text; /* pointers, each with a NUL behind it, and values */
    struct {
        uint32_t pointer, value, value_len; /* inside text */
        uint32_t before, before_len;        /* likewise, for GW_WANTED_CHANGE; 0 bytes: no value is known */
        enum gw_wanted_by by;
    } items[GW_WANTED_MAX];
    uint32_t count;
    uint32_t shown; /* a bit for each item: the newest message that has the place shows what is wanted */
    double tolerance;
};

/* What `json` (valid JSON text), sent by a client, wants of the state: of the places that the fields name those that
 * it has; without fields each member of an object, else the whole value. True: *wanted is filled, and needs
 * gw_wanted_fini(). False: nothing can be compared, and *why says so. */
bool gw_wanted_init(struct gw_wanted *wanted, struct gw_slice json, const struct gw_wanted_rules *rules,
                    const char **why);
void gw_wanted_fini(struct gw_wanted *wanted);

/* Is a part of it a command and no state? */
bool gw_wanted_is_command(const struct gw_wanted *wanted);
/* What the channel shows before the command is sent, its `data`. */
void gw_wanted_before(struct gw_wanted *wanted, struct gw_slice data);

/* A message on the channel, its `data`. True: the state is now what is wanted. Places that the message lacks stay as
 * they were: devices send parts of their state. */
bool gw_wanted_see(struct gw_wanted *wanted, struct gw_slice data);
/* Nothing was shown so far. */
void gw_wanted_forget(struct gw_wanted *wanted);

/* Does the value `is` show what `wanted` says? Texts are the same in capitals or not, numbers within the tolerance;
 * an object may have more members than are wanted. */
bool gw_wanted_same(struct gw_slice wanted, struct gw_slice is, double tolerance);

#endif
