#include "gateway/random.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

void gw_random(void *out, size_t len)
{
    ssize_t got;
    do /* up to 256 bytes come whole or not at all (getrandom(2)) */
        got = getrandom(out, len, 0);
    while (got < 0 && errno == EINTR);
    if (got != (ssize_t)len) {
        fprintf(stderr, "sluice: no random numbers from the system: %s\n", strerror(errno));
        abort();
    }
}
