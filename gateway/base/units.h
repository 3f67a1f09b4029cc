/* units.h: durations, times and sizes as people write them. Thread: any. */
#ifndef GW_BASE_UNITS_H
#define GW_BASE_UNITS_H

#include <stdbool.h>
#include <stdint.h>

/* 250ms, 30s, 5m, 1h, 2d; also 1.5s. Into milliseconds. */
bool gw_parse_duration(const char *text, int64_t *ms);
/* A time, ms since 1970: `-10m` or `10m` (before `now_ms`), `now`, `1764000000123` (milliseconds) or
 * `2026-11-28T10:00:00.5Z` (RFC 3339). */
bool gw_parse_time(const char *text, int64_t now_ms, int64_t *ms);
/* 512, 512B, 64KiB, 1MiB, 2GiB. */
bool gw_parse_size(const char *text, int64_t *bytes);

#endif
