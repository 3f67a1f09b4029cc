/* random.h: random bytes of the kernel's, which nobody can guess. Thread: any. */
#ifndef GATEWAY_RANDOM_H
#define GATEWAY_RANDOM_H

#include <stddef.h>

/* At most 256 bytes, which come whole. A kernel that has none ends the process. */
void gw_random(void *out, size_t len);

#endif
