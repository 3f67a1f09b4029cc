/* slice.h: what one turn of the loop may cost (slice.c). Thread: the loop's. */
#ifndef GW_HUB_SLICE_H
#define GW_HUB_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gw_hub;
struct gw_session;

/* What one turn of the loop may cost (slice.c): about one unit for each channel or message that is looked at. */
struct gw_slices {
    int32_t work;                          /* units left until the next gw_hub_flush() */
    int32_t turn;                          /* what a flush gives */
    uint32_t slice;                        /* entries that one session's slice looks at, at most */
    uint32_t direct;                       /* names that are looked at before a session walks the sequence instead */
    uint32_t near;                         /* so few messages are always walked */
    uint32_t attach;                       /* names that a new filter is tied to at once */
    int64_t send_bytes;                    /* of large messages, left until the next flush */
    struct gw_session *later, **later_end; /* those that go on in the next flush */
};

void gw_slices_init(struct gw_slices *slices);
/* Takes that many units. False: none were left. */
bool gw_slice_take(struct gw_hub *hub, uint32_t units);
/* Messages from this size on are handed to the kernel by bytes a turn. */
#define GW_LARGE_BYTES (16 * 1024)
/* The session is about to send that much. False: not in this turn; ready() is called in the next one. */
bool gw_slice_send(struct gw_session *session, size_t bytes);
/* The session has more to do than its turn allows: ready() in the next flush, after those who wait already. */
void gw_session_later(struct gw_session *session);
void gw_session_not_later(struct gw_session *session);
/* A flush begins: new units. */
void gw_slices_begin(struct gw_hub *hub);
/* ready() of those who wait, as far as the units reach. */
void gw_slices_resume(struct gw_hub *hub);

#endif
