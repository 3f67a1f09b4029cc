#include "route/route_stats.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"

void gw_route_stats_init(struct gw_route_stats *stats)
{
    *stats = (struct gw_route_stats){0};
    pthread_mutex_init(&stats->lock, NULL);
}

static void rows_free(struct gw_route_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(rows[i].topic);
        free(rows[i].channel);
    }
    free(rows);
}

void gw_route_stats_fini(struct gw_route_stats *stats)
{
    rows_free(stats->rows, stats->count);
    free(stats->row_of);
    pthread_mutex_destroy(&stats->lock);
}

static size_t rows_find(const struct gw_route_row *rows, size_t count, const char *topic, const char *channel)
{
    size_t at = 0;
    while (at < count && (strcmp(rows[at].topic, topic) != 0 || strcmp(rows[at].channel, channel) != 0))
        at++;
    return at;
}

static void rows_add(struct gw_route_row *rows, size_t *count, const char *topic, const char *channel)
{
    rows[*count].topic = gw_strdup(topic);
    rows[(*count)++].channel = gw_strdup(channel);
}

static void rows_keep(struct gw_route_row *to, const struct gw_route_row *from)
{
    atomic_store(&to->messages, atomic_load(&from->messages));
    atomic_store(&to->bytes, atomic_load(&from->bytes));
    atomic_store(&to->codec_dropped, atomic_load(&from->codec_dropped));
    atomic_store(&to->confirmed, atomic_load(&from->confirmed));
    atomic_store(&to->confirm_timeouts, atomic_load(&from->confirm_timeouts));
    atomic_store(&to->dropped_line.next_ms, atomic_load(&from->dropped_line.next_ms));
    atomic_store(&to->dropped_line.skipped, atomic_load(&from->dropped_line.skipped));
}

void gw_route_stats_configure(struct gw_route_stats *stats, const struct gw_config *config)
{
    size_t routes = config->route_count < GW_ROUTE_STATS_MAX ? config->route_count : GW_ROUTE_STATS_MAX, count = 0;
    struct gw_route_row *rows = gw_calloc(routes + 1, sizeof *rows);
    uint8_t *row_of = gw_calloc(routes + 1, sizeof *row_of);
    for (size_t i = 0; i < routes; i++) {
        const char *topic = config->routes[i].topic, *channel = config->routes[i].channel;
        if (!channel)
            channel = topic;
        size_t at = rows_find(rows, count, topic, channel);
        if (at == count)
            rows_add(rows, &count, topic, channel);
        row_of[i] = (uint8_t)at;
        rows[at].confirms |= config->routes[i].confirm;
    }
    rows_add(rows, &count, "other", "other");
    pthread_mutex_lock(&stats->lock);
    for (size_t i = 0; i < count; i++) {
        size_t before = rows_find(stats->rows, stats->count, rows[i].topic, rows[i].channel);
        if (before < stats->count)
            rows_keep(&rows[i], &stats->rows[before]);
    }
    struct gw_route_row *old_rows = stats->rows;
    size_t old_count = stats->count;
    stats->rows = rows;
    stats->count = count;
    pthread_mutex_unlock(&stats->lock);
    rows_free(old_rows, old_count);
    free(stats->row_of);
    stats->row_of = row_of;
    stats->routes = routes;
}

/* One writer, the MQTT thread: no locked instruction is needed. */
static void row_bump(_Atomic uint64_t *counter, uint64_t by)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by, memory_order_relaxed);
}

static struct gw_route_row *row_of_route(const struct gw_route_stats *stats, uint32_t route)
{
    return &stats->rows[route < stats->routes ? stats->row_of[route] : stats->count - 1];
}

void gw_route_stats_message(struct gw_route_stats *stats, uint32_t route, size_t bytes)
{
    struct gw_route_row *row = row_of_route(stats, route);
    row_bump(&row->messages, 1);
    row_bump(&row->bytes, bytes);
}

struct gw_log_limiter *gw_route_stats_dropped(struct gw_route_stats *stats, uint32_t route)
{
    struct gw_route_row *row = row_of_route(stats, route);
    row_bump(&row->codec_dropped, 1);
    return &row->dropped_line;
}

void gw_route_stats_confirm(struct gw_route_stats *stats, const struct gw_cfg_route *route, bool confirmed)
{
    pthread_mutex_lock(&stats->lock);
    size_t at = rows_find(stats->rows, stats->count, route->topic, route->channel ? route->channel : route->topic);
    struct gw_route_row *row = stats->count ? &stats->rows[at < stats->count ? at : stats->count - 1] : NULL;
    if (row)
        atomic_fetch_add(confirmed ? &row->confirmed : &row->confirm_timeouts, 1);
    pthread_mutex_unlock(&stats->lock);
}

void gw_route_stats_read(struct gw_route_stats *stats, gw_route_stats_visit visit, void *context)
{
    pthread_mutex_lock(&stats->lock);
    for (size_t i = 0; i < stats->count; i++)
        visit(context, &stats->rows[i]);
    pthread_mutex_unlock(&stats->lock);
}
