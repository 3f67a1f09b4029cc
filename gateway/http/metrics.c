/* metrics.c: the tables behind /metrics. docs/operations.md says what each one means. */
#include <stddef.h>
#include <string.h>

#include "gateway/transport.h"
#include "gateway/upstream.h"
#include "http/api.h"
#include "http/exposition.h"
#include "http/process.h"
#include "hub/inbox.h"
#include "net/server.h"

struct metric {
    const char *name, *help;
    size_t offset; /* in struct gw_stats */
};

#define M(field) offsetof(struct gw_stats, field)

static const struct metric metric_gauges[] = {
    {"sluice_sessions", "Sessions now.", M(sessions)},
    {"sluice_connections", "Open sockets now.", M(connections)},
    {"sluice_channels", "Channels that have had a message, each counted in every worker.", M(channels)},
    {"sluice_history_bytes", "Bytes referred to by histories, each counted in every worker.", M(history_bytes)},
    {"sluice_confirms", "Publishes that wait to be confirmed now.", M(confirms)},
    {"sluice_windows_open", "Windows of aggregates that are open now.", M(windows_open)},
    {"sluice_queued_sessions", "Sessions that something waits for, as of the last second.", M(queued_sessions)},
    {"sluice_queued_bytes", "Bytes waiting in the queues of all sessions, as of the last second.", M(queued_bytes)},
};

static const struct metric metric_counters[] = {
    {"sluice_messages_total", "Messages that entered the workers' hubs.", M(messages)},
    {"sluice_repeats_total", "Retained messages that only repeated the last value.", M(repeats)},
    {"sluice_states_total", "Changes of channels' states, each counted in every worker.", M(states)},
    {"sluice_unchanged_total", "Messages that policy on_change found without news, each counted in every worker.",
     M(unchanged)},
    {"sluice_deliveries_total", "Messages queued for sessions.", M(deliveries)},
    {"sluice_windows_total", "Windows of aggregates made, each once for all who get it.", M(windows)},
    {"sluice_windows_early_total", "Windows sent before their end for limits.windows.", M(windows_early)},
    {"sluice_gaps_total", "Gaps told to sessions.", M(gaps)},
    {"sluice_overflows_total", "Times that a session's queue was full.", M(overflows)},
    {"sluice_conflated_total", "Values replaced by newer ones before they were sent.", M(conflated)},
    {"sluice_kicked_total", "Sessions ended by the gateway.", M(kicked)},
    {"sluice_publishes_total", "Publishes of clients that were settled well.", M(published)},
    {"sluice_publish_errors_total", "Publishes of clients that were refused or timed out.", M(publish_errors)},
    {"sluice_publish_repeats_total", "Publishes that an idempotency key showed to be repeats.", M(publish_repeats)},
    {"sluice_confirmed_total", "Publishes whose device's state showed them in time.", M(confirmed)},
    {"sluice_confirm_timeouts_total", "Publishes whose device's state did not show them in time.",
     M(confirm_timeouts)},
    {"sluice_publish_late_total", "Acknowledgements that nobody waited for any more.", M(publish_late)},
    {"sluice_responses_total", "Answers to clients' requests.", M(responses)},
    {"sluice_responses_late_total", "Answers that nobody waited for any more.", M(responses_late)},
    {"sluice_catch_up_slices_total", "Slices of work for sessions that begin with, or resume over, many channels.",
     M(slices)},
    {"sluice_channels_evicted_total", "Channels forgotten at limits.channels.", M(channels_evicted)},
    {"sluice_history_evicted_total", "Histories dropped at limits.history.", M(history_evicted)},
    {"sluice_fetches_total", "Parts of the history that the engine was asked for.", M(fetches)},
    {"sluice_fetches_failed_total", "... which it refused, or did not bring in time.", M(fetches_failed)},
    {"sluice_subscriptions_refused_total", "Subscriptions refused at limits.subscriptions.",
     M(subscriptions_refused)},
    {"sluice_connections_refused_total", "Connections refused at a limit.", M(connections_refused)},
    {"sluice_connections_refused_address_total", "Connections refused at limits.connections_per_address.",
     M(connections_refused_address)},
    {"sluice_connections_refused_rate_total", "Connections refused at limits.connect_rate.",
     M(connections_refused_rate)},
    {"sluice_connections_refused_memory_total", "Connections refused at limits.memory.",
     M(connections_refused_memory)},
    {"sluice_requests_total", "HTTP requests, WebSocket handshakes included.", M(requests)},
    {"sluice_requests_bad_total", "Requests and frames that broke the protocol.", M(requests_bad)},
    {"sluice_sent_bytes_total", "Bytes sent to web clients.", M(bytes_out)},
    {"sluice_received_bytes_total", "Bytes received from web clients.", M(bytes_in)},
    {"sluice_auth_failures_total", "Credentials of clients that were refused.", M(auth_failures)},
    {"sluice_forbidden_total", "Subscriptions, publishes and reads beyond what a client may do.", M(forbidden)},
    {"sluice_rate_limited_total",
     "Frames and publishes refused at limits.message_rate and publish_rate, and tickets.", M(rate_limited)},
};

/* gaps_total by why. */
static const struct metric metric_gaps[] = {
    {"history", NULL, M(gaps_history)},
    {"epoch", NULL, M(gaps_epoch)},
    {"overflow", NULL, M(gaps_overflow)},
};

/* --- of all workers -------------------------------------------------------------------------------------------- */

static uint64_t metric_get(const struct gw_worker *worker, size_t offset)
{
    const char *stats = (const char *)gw_hub_stats(worker->hub);
    return atomic_load_explicit((const _Atomic uint64_t *)(const void *)(stats + offset), memory_order_relaxed);
}

static uint64_t metric_sum(const struct gw_server *server, size_t offset)
{
    uint64_t sum = 0;
    for (unsigned w = 0; w < server->worker_count; w++)
        sum += metric_get(&server->workers[w], offset);
    return sum;
}

static uint64_t metric_max(const struct gw_server *server, size_t offset)
{
    uint64_t max = 0;
    for (unsigned w = 0; w < server->worker_count; w++) {
        uint64_t value = metric_get(&server->workers[w], offset);
        if (value > max)
            max = value;
    }
    return max;
}

static void metric_labelled(struct gw_exposition *to, const char *name, const char *key, const char *label,
                            uint64_t value)
{
    struct gw_buf labels = {0};
    gw_metric_label(&labels, key, label);
    gw_metric_value(to, name, labels.data, value);
    gw_buf_fini(&labels);
}

/* --- families with labels -------------------------------------------------------------------------------------- */

/* Workers meet transports in different orders, so rows are joined by name. `offset` in struct gw_stats_transport. */
static uint64_t transports_sum(const struct gw_server *server, const char *name, size_t offset)
{
    uint64_t sum = 0;
    for (unsigned w = 0; w < server->worker_count; w++) {
        const struct gw_stats *stats = gw_hub_stats(server->workers[w].hub);
        for (size_t i = 0; i < sizeof stats->transports / sizeof *stats->transports; i++) {
            const char *known = atomic_load_explicit(&stats->transports[i].name, memory_order_acquire);
            if (known && !strcmp(known, name))
                sum += atomic_load_explicit(
                    (const _Atomic uint64_t *)(const void *)((const char *)&stats->transports[i] + offset),
                    memory_order_relaxed);
        }
    }
    return sum;
}

/* Those that are built in are there from the start, at 0, so that rates have a beginning; then whatever else came. */
static size_t transports_known(const struct gw_server *server, const char *names[], size_t most)
{
    size_t count = 0;
    for (size_t i = 0; gw_transports[i] && count < most; i++)
        names[count++] = gw_transports[i]->name;
    for (unsigned w = 0; w < server->worker_count; w++) {
        const struct gw_stats *stats = gw_hub_stats(server->workers[w].hub);
        for (size_t i = 0; i < sizeof stats->transports / sizeof *stats->transports; i++) {
            const char *name = atomic_load_explicit(&stats->transports[i].name, memory_order_acquire);
            size_t at = 0;
            while (name && at < count && strcmp(names[at], name) != 0)
                at++;
            if (name && at == count && count < most)
                names[count++] = name;
        }
    }
    return count;
}

static void metrics_transports(const struct gw_server *server, struct gw_exposition *to)
{
    static const struct {
        const char *name, *help;
        enum gw_metric_type type;
        size_t offset;
    } families[] = {
        {"sluice_transport_sessions", "Sessions now, by transport.", GW_METRIC_GAUGE,
         offsetof(struct gw_stats_transport, now)},
        {"sluice_transport_sessions_opened_total", "Sessions opened, by transport; each poll and each POST is one.",
         GW_METRIC_COUNTER, offsetof(struct gw_stats_transport, opened)},
    };
    const char *names[16];
    size_t count = transports_known(server, names, sizeof names / sizeof *names);
    for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
        gw_metric_family(to, families[f].name, families[f].type, families[f].help);
        for (size_t i = 0; i < count; i++)
            metric_labelled(to, families[f].name, "transport", names[i],
                            transports_sum(server, names[i], families[f].offset));
    }
}

/* These are told from the start, at 0, so that rates have a beginning; others once they happened. */
static bool outcome_usual(unsigned outcome)
{
    switch (outcome) {
    case GW_OUTCOME_PUBLISHED:
    case GW_OUTCOME_ACCEPTED:
    case GW_OUTCOME_ANSWERED:
    case GW_OUTCOME_ABANDONED:
    case GW_ERR_BAD_REQUEST:
    case GW_ERR_UNKNOWN_CHANNEL:
    case GW_ERR_FORBIDDEN:
    case GW_ERR_TOO_LARGE:
    case GW_ERR_RATE_LIMITED:
    case GW_ERR_OVERLOADED:
    case GW_ERR_UPSTREAM_DOWN:
    case GW_ERR_REJECTED:
    case GW_ERR_TIMEOUT:
    case GW_ERR_NO_RESPONDER:
        return true;
    default:
        return false;
    }
}

static const char *outcome_label(unsigned outcome)
{
    switch (outcome) {
    case GW_OUTCOME_PUBLISHED:
        return "published";
    case GW_OUTCOME_ACCEPTED:
        return "accepted";
    case GW_OUTCOME_ANSWERED:
        return "answered";
    case GW_OUTCOME_ABANDONED:
        return "abandoned";
    default:
        return gw_err_code((enum gw_err)outcome);
    }
}

static void metrics_outcomes(const struct gw_server *server, struct gw_exposition *to)
{
    static const char name[] = "sluice_publish_outcomes_total";
    gw_metric_family(to, name, GW_METRIC_COUNTER,
                     "Publishes and requests of clients, by how they ended: published, accepted, answered, "
                     "abandoned, or the code of the error.");
    for (unsigned i = 0; i < GW_OUTCOME_COUNT; i++) {
        const char *label = outcome_label(i);
        uint64_t value = 0;
        bool earlier = false; /* several errors may have one code */
        for (unsigned j = 0; j < GW_OUTCOME_COUNT && !earlier; j++) {
            bool same = !strcmp(outcome_label(j), label);
            earlier = same && j < i;
            value += same ? metric_sum(server, offsetof(struct gw_stats, outcomes) + j * sizeof(uint64_t)) : 0;
        }
        if (!earlier && (value || outcome_usual(i)))
            metric_labelled(to, name, "outcome", label, value);
    }
}

static void metrics_gaps(const struct gw_server *server, struct gw_exposition *to)
{
    static const char name[] = "sluice_gap_reasons_total";
    gw_metric_family(to, name, GW_METRIC_COUNTER, "Gaps told to sessions, by reason.");
    for (size_t i = 0; i < sizeof metric_gaps / sizeof *metric_gaps; i++)
        metric_labelled(to, name, "reason", metric_gaps[i].name, metric_sum(server, metric_gaps[i].offset));
}

static void metrics_latency(const struct gw_server *server, struct gw_exposition *to)
{
    static const char name[] = "sluice_delivery_seconds";
    struct gw_histogram_sum sum = {0};
    for (unsigned w = 0; w < server->worker_count; w++)
        gw_histogram_add(&sum, &gw_hub_stats(server->workers[w].hub)->latency);
    gw_metric_family(to, name, GW_METRIC_HISTOGRAM,
                     "Time from a message's arrival from the broker until a worker had written it to every socket "
                     "that took it, once for each message and worker.");
    gw_metric_histogram(to, name, &sum);
}

/* --- the page -------------------------------------------------------------------------------------------------- */

/* What is known only here and now: the worker's own view of the configuration and of the broker. */
static void metrics_present(const struct gw_worker *worker, struct gw_exposition *to)
{
    const struct gw_server *server = worker->server;
    const struct gw_cfg_limits *limits = &gw_hub_config(worker->hub)->limits;
    size_t waiting = 0, capacity = 0;
    for (unsigned w = 0; w < server->worker_count; w++) {
        waiting += gw_inbox_length(server->workers[w].inbox);
        capacity += gw_inbox_capacity(server->workers[w].inbox);
    }
    gw_metric_gauge(to, "sluice_inbox", "Events waiting for the workers.", waiting);
    gw_metric_gauge(to, "sluice_inbox_limit", "Events that may wait for the workers: limits.inbox of each.",
                    capacity);
    gw_metric_gauge(to, "sluice_queued_largest_bytes",
                    "Bytes waiting in the fullest queue of a session, as of the last second.",
                    metric_max(server, offsetof(struct gw_stats, queued_largest)));
    gw_metric_gauge(to, "sluice_queue_limit_bytes", "limits.queue: bytes that may wait for one session.",
                    limits->queue_bytes);
    gw_metric_gauge(to, "sluice_connections_limit", "limits.connections: sockets that may be open.",
                    limits->connections);
    gw_metric_family(to, "sluice_turn_longest_seconds", GW_METRIC_GAUGE,
                     "The longest turn of a worker's loop since the start: so long all its clients waited.");
    gw_metric_seconds(to, "sluice_turn_longest_seconds",
                      (double)metric_max(server, offsetof(struct gw_stats, longest_turn_ns)) / 1e9);
    gw_metric_gauge(to, "sluice_workers", "Threads that serve web clients.", server->worker_count);
    gw_metric_gauge(to, "sluice_mqtt_up", "1: connected to the broker and subscribed.",
                    gw_hub_upstream(worker->hub)->up);
}

static void metrics_build(struct gw_exposition *to)
{
    gw_metric_family(to, "sluice_build_info", GW_METRIC_INFO, "Always 1; the version is in the label.");
    metric_labelled(to, "sluice_build_info", "version", SLUICE_VERSION, 1);
}

void gw_metrics_write(const struct gw_worker *worker, struct gw_exposition *to)
{
    const struct gw_server *server = worker->server;
    for (size_t i = 0; i < sizeof metric_gauges / sizeof *metric_gauges; i++)
        gw_metric_gauge(to, metric_gauges[i].name, metric_gauges[i].help,
                        metric_sum(server, metric_gauges[i].offset));
    for (size_t i = 0; i < sizeof metric_counters / sizeof *metric_counters; i++)
        gw_metric_counter(to, metric_counters[i].name, metric_counters[i].help,
                          metric_sum(server, metric_counters[i].offset));
    metrics_present(worker, to);
    metrics_transports(server, to);
    metrics_outcomes(server, to);
    metrics_gaps(server, to);
    metrics_latency(server, to);
    if (server->metrics)
        server->metrics(server->metrics_context, to);
    metrics_build(to);
    gw_process_metrics(to, server->started_wall_ms);
    gw_metric_end(to);
}
