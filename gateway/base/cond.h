/* cond.h: condition variables by the monotonic clock. Thread: any. */
#ifndef GW_BASE_COND_H
#define GW_BASE_COND_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

void gw_cond_init(pthread_cond_t *cond);
/* pthread_cond_wait() until gw_monotonic_ms() is `until_ms`. False: it is. */
bool gw_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t until_ms);

#endif
