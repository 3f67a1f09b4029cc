/* container.h: from a member to the struct that it is in. Thread: any. */
#ifndef GATEWAY_CONTAINER_H
#define GATEWAY_CONTAINER_H

#include <stddef.h>

/* `pointer` points to `member` of a struct of this type. */
#define GW_CONTAINER_OF(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
