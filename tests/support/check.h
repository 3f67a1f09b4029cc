/* check.h: cmocka with the headers it needs, and a few shorthands for table-driven tests. */
#ifndef TESTS_CHECK_H
#define TESTS_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* Says which row of a table failed. */
#define CHECK_ROW(condition, row)                                                                                    \
    do {                                                                                                             \
        if (!(condition))                                                                                            \
            fail_msg("row '%s': %s", (row), #condition);                                                             \
    } while (0)

/* A small generator with a fixed seed: the same "random" test on every machine. */
static inline uint32_t check_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

#endif
