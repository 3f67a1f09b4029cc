/* cursor.h: `<epoch>.<seq>`, a position in the gateway's one global message sequence (docs/protocol.md).
 *
 * The epoch is 11 characters of [A-Za-z0-9_-] made from 64 random bits at each start. Opaque to clients. Thread: any.
 */
#ifndef GW_MESSAGE_CURSOR_H
#define GW_MESSAGE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GW_EPOCH_MAX  24 /* longest epoch accepted, the NUL not counted */
#define GW_CURSOR_MAX (GW_EPOCH_MAX + 1 + 1 + 20 + 1)

struct gw_cursor {
    char epoch[GW_EPOCH_MAX + 1];
    uint64_t seq;
    bool settled; /* a leading zero: a rate policy held nothing back from a client at this place */
};

/* Fills epoch with fresh random bits (getrandom); ends the process if the kernel has none. */
void gw_epoch_make(char epoch[GW_EPOCH_MAX + 1]);

/* False if the text isn't of the form: 1 to GW_EPOCH_MAX characters of [A-Za-z0-9_-], a dot, a decimal number up to
 * UINT64_MAX without sign or blanks. */
bool gw_cursor_parse(struct gw_cursor *out, const char *text, size_t len);

/* Writes `<epoch>.<seq>` and a NUL; returns the length without it. */
size_t gw_cursor_format(char out[GW_CURSOR_MAX], const char *epoch, uint64_t seq);

size_t gw_cursor_format_settled(char out[GW_CURSOR_MAX], const char *epoch, uint64_t seq);

#endif
