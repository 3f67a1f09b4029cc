#include "gateway/alloc.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *alloc_checked(void *block, size_t size)
{
    if (!block) {
        fprintf(stderr, "sluice: out of memory (%zu bytes wanted)\n", size);
        abort();
    }
    return block;
}

void *gw_malloc(size_t size)
{
    return alloc_checked(malloc(size ? size : 1), size);
}

void *gw_calloc(size_t count, size_t size)
{
    return alloc_checked(calloc(count ? count : 1, size ? size : 1), size);
}

void *gw_reallocarray(void *block, size_t count, size_t size)
{
    return alloc_checked(reallocarray(block, count ? count : 1, size ? size : 1), size);
}

char *gw_strdup(const char *text)
{
    return gw_strndup(text, strlen(text));
}

char *gw_strndup(const char *text, size_t len)
{
    char *copy = gw_malloc(len + 1);
    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}
