/* metrics.c: counters of all workers in the Prometheus text format. */
#include <stddef.h>

#include "web/api.h"
#include "web/server.h"

static const struct {
    const char *name, *type, *help;
    size_t offset;
} metrics[] = {
#define M(field, kind, text) {"sluice_" #field, kind, text, offsetof(struct gw_stats, field)}
    M(sessions, "gauge", "Sessions now."),
    M(connections, "gauge", "Open sockets now."),
    M(channels, "gauge", "Channels that have had a message, each counted in every worker."),
    M(history_bytes, "gauge", "Octets referred to by histories, each counted in every worker."),
    {"sluice_messages_total", "counter", "Messages that entered the workers' hubs.", offsetof(struct gw_stats, messages)},
    {"sluice_repeats_total", "counter", "Retained messages that only repeated the last value.", offsetof(struct gw_stats, repeats)},
    {"sluice_unchanged_total", "counter", "Messages that policy on_change found without news, each counted in every worker.", offsetof(struct gw_stats, unchanged)},
    {"sluice_deliveries_total", "counter", "Messages queued for sessions.", offsetof(struct gw_stats, deliveries)},
    {"sluice_gaps_total", "counter", "Gaps told to sessions.", offsetof(struct gw_stats, gaps)},
    {"sluice_overflows_total", "counter", "Times that a session's queue was full.", offsetof(struct gw_stats, overflows)},
    {"sluice_conflated_total", "counter", "Values replaced by newer ones before they were sent.", offsetof(struct gw_stats, conflated)},
    {"sluice_kicked_total", "counter", "Sessions ended by the gateway.", offsetof(struct gw_stats, kicked)},
    {"sluice_publishes_total", "counter", "Publishes of clients that were settled well.", offsetof(struct gw_stats, published)},
    {"sluice_publish_errors_total", "counter", "Publishes of clients that were refused or timed out.", offsetof(struct gw_stats, publish_errors)},
    {"sluice_publish_late_total", "counter", "Acknowledgements that nobody waited for any more.", offsetof(struct gw_stats, publish_late)},
    {"sluice_responses_total", "counter", "Answers to clients' requests.", offsetof(struct gw_stats, responses)},
    {"sluice_responses_late_total", "counter", "Answers that nobody waited for any more.", offsetof(struct gw_stats, responses_late)},
    {"sluice_channels_evicted_total", "counter", "Channels forgotten at limits.channels.", offsetof(struct gw_stats, channels_evicted)},
    {"sluice_history_evicted_total", "counter", "Histories dropped at limits.history.", offsetof(struct gw_stats, history_evicted)},
    {"sluice_forbidden_total", "counter", "Subscriptions, publishes and reads beyond what a client may do.", offsetof(struct gw_stats, forbidden)},
    {"sluice_auth_failures_total", "counter", "Credentials that were refused.", offsetof(struct gw_stats, auth_failures)},
    {"sluice_rate_limited_total", "counter", "Frames and publishes refused at limits.message_rate and publish_rate.", offsetof(struct gw_stats, rate_limited)},
    {"sluice_subscriptions_refused_total", "counter", "Subscriptions refused at limits.subscriptions.", offsetof(struct gw_stats, subscriptions_refused)},
    {"sluice_connections_refused_total", "counter", "Connections refused at a limit.", offsetof(struct gw_stats, connections_refused)},
    {"sluice_connections_refused_address_total", "counter", "Connections refused at limits.connections_per_address.", offsetof(struct gw_stats, connections_refused_address)},
    {"sluice_connections_refused_rate_total", "counter", "Connections refused at limits.connect_rate.", offsetof(struct gw_stats, connections_refused_rate)},
    {"sluice_connections_refused_memory_total", "counter", "Connections refused at limits.memory.", offsetof(struct gw_stats, connections_refused_memory)},
    {"sluice_requests_total", "counter", "HTTP requests, WebSocket handshakes included.", offsetof(struct gw_stats, requests)},
    {"sluice_requests_bad_total", "counter", "Requests and frames that broke the protocol.", offsetof(struct gw_stats, requests_bad)},
    {"sluice_sent_bytes_total", "counter", "Octets sent to web clients.", offsetof(struct gw_stats, bytes_out)},
#undef M
};

void gw_metrics_write(const struct gw_server *server, struct gw_buf *out)
{
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++) {
        uint64_t sum = 0;
        for (unsigned w = 0; w < server->worker_count; w++) {
            const char *stats = (const char *)gw_hub_stats(server->workers[w].hub);
            sum += atomic_load_explicit((const _Atomic uint64_t *)(const void *)(stats + metrics[i].offset),
                                        memory_order_relaxed);
        }
        gw_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %llu\n", metrics[i].name, metrics[i].help, metrics[i].name,
                      metrics[i].type, metrics[i].name, (unsigned long long)sum);
    }
    size_t inbox = 0;
    for (unsigned w = 0; w < server->worker_count; w++)
        inbox += gw_inbox_length(server->workers[w].inbox);
    gw_buf_printf(out, "# HELP sluice_inbox Events waiting for the workers.\n# TYPE sluice_inbox gauge\nsluice_inbox %zu\n",
                  inbox);
    if (server->metrics)
        server->metrics(server->metrics_context, out);
}
