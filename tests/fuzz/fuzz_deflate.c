/* permessage-deflate: what a client offers, and what it sends compressed, within a bound. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "websocket/deflate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct gw_inflater *states;
    if (!states)
        states = gw_inflater_create();
    const char *text = (const char *)data;
    char answer[GW_DEFLATE_ANSWER_MAX];
    if (gw_deflate_negotiate((struct gw_slice){text, size}, answer) &&
        strcmp(answer + strlen(answer) - 2, "\r\n") != 0)
        abort();

    static const size_t bounds[] = {0, 1, 1000, 4096};
    int code = 0;
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        struct gw_buf out = {0};
        int now = gw_inflate(states, text, size, bounds[i], &out);
        if ((now && now != 1007 && now != 1009) || out.len > bounds[i] || out.cap > bounds[i] + 1)
            abort();
        if (i && code == 0 && now) /* what fits into less fits into more */
            abort();
        code = now;
        gw_buf_fini(&out);
    }
    return 0;
}
