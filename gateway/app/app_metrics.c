/* app_metrics.c: what /metrics says of the broker, of the engine and of compression. */
#include "app/app.h"

#include <stddef.h>

#include "gateway/engine.h"
#include "http/exposition.h"
#include "mqtt/source.h"
#include "websocket/deflate.h"

/* Of both connections to the broker, where there are two. */
static struct gw_source_stats app_source_stats(const struct gw_app_metrics *metrics)
{
    struct gw_source_stats stats = gw_source_stats(metrics->source);
    if (!metrics->publisher)
        return stats;
    const struct gw_source_stats other = gw_source_stats(metrics->publisher);
    stats.published = other.published;
    stats.rejected = other.rejected;
    stats.responses_unknown = other.responses_unknown;
    stats.received += other.received;
    stats.received_bytes += other.received_bytes;
    stats.connects += other.connects;
    stats.connect_failures += other.connect_failures;
    stats.disconnects += other.disconnects;
    return stats;
}

static void app_source_metrics(const struct gw_app_metrics *metrics, struct gw_exposition *to)
{
    const struct gw_source_stats stats = app_source_stats(metrics);
    const struct {
        const char *name, *help;
        uint64_t value;
    } rows[] = {
        {"sluice_mqtt_received_total", "PUBLISH packets from the broker.", stats.received},
        {"sluice_mqtt_received_bytes_total", "Bytes of their payloads.", stats.received_bytes},
        {"sluice_mqtt_messages_total", "Messages made from them.", stats.messages},
        {"sluice_mqtt_doubles_total", "Copies: by overlapping subscriptions, or sent again after a reconnect.",
         stats.doubles},
        {"sluice_mqtt_codec_dropped_total", "Payloads that the route's codec refused.", stats.codec_dropped},
        {"sluice_mqtt_properties_dropped_total", "Messages passed on without their properties.",
         stats.properties_dropped},
        {"sluice_mqtt_too_large_total", "Payloads above broker.max_packet.", stats.too_large},
        {"sluice_mqtt_refused_total", "Messages that the engine gave no number.", stats.refused},
        {"sluice_mqtt_stale_cleared_total", "Last values that the broker had cleared while there was no connection.",
         stats.stale_cleared},
        {"sluice_mqtt_unrouted_total", "Messages that no route wanted.", stats.unrouted},
        {"sluice_mqtt_published_total", "Publishes acknowledged, or sent at QoS 0.", stats.published},
        {"sluice_mqtt_rejected_total", "Publishes that failed at the broker.", stats.rejected},
        {"sluice_mqtt_responses_unknown_total", "Messages on the response topic that answer no request.",
         stats.responses_unknown},
        {"sluice_mqtt_connects_total", "Connections made to the broker.", stats.connects},
        {"sluice_mqtt_connect_failures_total", "Attempts to connect to the broker that came to nothing.",
         stats.connect_failures},
        {"sluice_mqtt_disconnects_total", "Connections to the broker lost.", stats.disconnects},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        gw_metric_counter(to, rows[i].name, rows[i].help, rows[i].value);
}

/* The first two reasons, the usual ones, have a row from the start. */
static void app_granted_metrics(struct gw_source *source, struct gw_exposition *to)
{
    struct gw_source_granted granted;
    gw_source_granted(source, &granted);
    gw_metric_gauge(to, "sluice_mqtt_subscriptions", "Filters that the routes ask the broker for.", granted.wanted);
    gw_metric_gauge(to, "sluice_mqtt_subscriptions_granted", "Filters that the broker has granted.", granted.granted);
    gw_metric_gauge(to, "sluice_mqtt_subscriptions_lowered",
                    "Filters that the broker has granted at a lower QoS than was asked for.", granted.lowered);
    static const char name[] = "sluice_mqtt_subscriptions_refused";
    gw_metric_family(to, name, GW_METRIC_GAUGE, "Filters that the broker refuses, by reason.");
    for (size_t i = 0; i < GW_SOURCE_REASONS; i++) {
        if (!granted.refused[i].count && i > 1)
            continue;
        struct gw_buf labels = {0};
        gw_metric_label(&labels, "reason", granted.refused[i].reason);
        gw_metric_value(to, name, labels.data, granted.refused[i].count);
        gw_buf_fini(&labels);
    }
}

static void app_state_metrics(struct gw_source *source, struct gw_exposition *to)
{
    static const char name[] = "sluice_channel_states";
    uint64_t counts[GW_STATE_COUNT];
    gw_source_states(source, counts);
    gw_metric_family(to, name, GW_METRIC_GAUGE, "Channels of routes with stale or available, by their state.");
    for (int state = GW_STATE_LIVE; state < GW_STATE_COUNT; state++) {
        struct gw_buf labels = {0};
        gw_metric_label(&labels, "state", gw_state_name((enum gw_state)state));
        gw_metric_value(to, name, labels.data, counts[state]);
        gw_buf_fini(&labels);
    }
}

void gw_app_ready_write(void *context, struct gw_buf *out)
{
    const struct gw_app_metrics *metrics = context;
    gw_source_ready(metrics->source, out);
}

struct route_column {
    struct gw_exposition *to;
    const char *name;
    size_t offset;
    bool confirms; /* only routes with publish.confirm have it */
};

static void app_route_value(void *context, const struct gw_route_row *row)
{
    const struct route_column *column = context;
    const char *value = (const char *)row + column->offset;
    struct gw_buf labels = {0};
    if (column->confirms && !row->confirms)
        return;
    gw_metric_label(&labels, "route", row->topic);
    gw_metric_label(&labels, "channel", row->channel);
    gw_metric_value(column->to, column->name, labels.data,
                    atomic_load_explicit((const _Atomic uint64_t *)(const void *)value, memory_order_relaxed));
    gw_buf_fini(&labels);
}

static void app_route_metrics(struct gw_source *source, struct gw_exposition *to)
{
    static const struct {
        const char *name, *help;
        size_t offset;
        bool confirms;
    } columns[] = {
        {"sluice_route_messages_total", "Messages that the route made.", offsetof(struct gw_route_row, messages),
         false},
        {"sluice_route_bytes_total", "Bytes of their payloads.", offsetof(struct gw_route_row, bytes), false},
        {"sluice_route_codec_dropped_total", "Payloads that the route's codec refused.",
         offsetof(struct gw_route_row, codec_dropped), false},
        {"sluice_route_confirmed_total",
         "Publishes to the route's channels whose device's state showed them in time.",
         offsetof(struct gw_route_row, confirmed), true},
        {"sluice_route_confirm_timeouts_total", "Publishes whose device's state did not show them in time.",
         offsetof(struct gw_route_row, confirm_timeouts), true},
    };
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        struct route_column column = {to, columns[i].name, columns[i].offset, columns[i].confirms};
        gw_metric_family(to, columns[i].name, GW_METRIC_COUNTER, columns[i].help);
        gw_source_route_stats(source, app_route_value, &column);
    }
}

static void app_store_metrics(const struct gw_app_metrics *metrics, struct gw_exposition *to)
{
    const struct gw_engine_stats stats =
        metrics->engine->stats ? metrics->engine->stats(metrics->store) : (struct gw_engine_stats){0};
    gw_metric_counter(to, "sluice_storage_written_total", "Messages written to the disk.", stats.written);
    gw_metric_counter(to, "sluice_storage_series_refused_total",
                      "Messages of fields that are not rolled up because of storage.series.", stats.series_refused);
    gw_metric_gauge(to, "sluice_storage_series", "Fields of channels that are rolled up.", (double)stats.series);
    gw_metric_counter(to, "sluice_storage_dropped_total",
                      "Changes not written because more than storage.queue waited.", stats.dropped);
    gw_metric_counter(to, "sluice_storage_errors_total", "Transactions that failed and were tried again.",
                      stats.errors);
    gw_metric_gauge(to, "sluice_storage_waiting_bytes", "Bytes that wait for the disk.", stats.waiting);
}

static void app_engine_metrics(const struct gw_app_metrics *metrics, struct gw_exposition *to)
{
    const struct gw_engine_stats stats =
        metrics->engine->stats ? metrics->engine->stats(metrics->store) : (struct gw_engine_stats){0};
    gw_metric_gauge(to, "sluice_engine_up", "Is the engine that gateways share connected?", stats.up);
    gw_metric_gauge(to, "sluice_engine_leader", "Does this gateway take messages in for all?", stats.leads);
    gw_metric_gauge(to, "sluice_engine_term", "How many times a gateway took over, by the log.", stats.term);
    gw_metric_gauge(to, "sluice_engine_log_entries", "Entries of the log in memory.", stats.entries);
    gw_metric_family(to, "sluice_engine_append_seconds", GW_METRIC_GAUGE, "Time that the last batch took.");
    gw_metric_seconds(to, "sluice_engine_append_seconds", (double)stats.append_ns / 1e9);
    gw_metric_counter(to, "sluice_engine_appended_total", "Messages that the engine took from this gateway.",
                      stats.appended);
    gw_metric_gauge(to, "sluice_engine_config_differs", "Has the gateway that takes messages in other routes?",
                    stats.differs);
    gw_metric_counter(to, "sluice_engine_takeovers_total", "Terms that this gateway began.", stats.takeovers);
    gw_metric_counter(to, "sluice_engine_fenced_total", "Times that another gateway had taken over unnoticed.",
                      stats.fenced);
    gw_metric_counter(to, "sluice_engine_mended_total", "Entries added again to an engine that had lost them.",
                      stats.mended);
    gw_metric_counter(to, "sluice_engine_lost_total", "Times that messages may have been missed.", stats.lost);
    gw_metric_counter(to, "sluice_engine_redelivered_total", "Packets sent again by the broker, known by the log.",
                      stats.redelivered);
}

void gw_app_metrics_write(void *context, struct gw_exposition *to)
{
    const struct gw_app_metrics *metrics = context;
    app_source_metrics(metrics, to);
    app_state_metrics(metrics->source, to);
    app_granted_metrics(metrics->source, to);
    app_route_metrics(metrics->source, to);
    app_store_metrics(metrics, to);
    app_engine_metrics(metrics, to);
    gw_metric_gauge(to, "sluice_compressed_bytes", "Memory of compressed messages (web.compression).",
                    gw_deflate_bytes());
    gw_metric_counter(to, "sluice_compressed_total", "Times that a message was compressed (web.compression).",
                      gw_deflate_count());
}
