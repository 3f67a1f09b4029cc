/* What /metrics is made of: histograms, arrival times, rows of routes, the two text formats and the choice between
 * them. */
#include "check.h"
#include "http/exposition.h"
#include "hub/stats.h"
#include "route/route_stats.h"
#include "route/routes.h"

static void test_histogram(void **state)
{
    (void)state;
    static struct gw_histogram histogram;
    struct gw_histogram_sum sum = {0};
    for (unsigned i = 0; i < GW_HISTOGRAM_BOUNDS; i++) {
        assert_true(i == 0 || gw_histogram_bounds[i] > gw_histogram_bounds[i - 1]);
        gw_histogram_observe(&histogram, gw_histogram_bounds[i], 1);     /* a bound belongs to its bucket */
        gw_histogram_observe(&histogram, gw_histogram_bounds[i] + 1, 2); /* ... and what is above it to the next */
    }
    gw_histogram_observe(&histogram, -5, 1); /* clocks of two cores */
    gw_histogram_add(&sum, &histogram);
    gw_histogram_add(&sum, &histogram);
    assert_int_equal(sum.buckets[0], 2 * 2);
    for (unsigned i = 1; i < GW_HISTOGRAM_BOUNDS; i++)
        assert_int_equal(sum.buckets[i], 2 * 3);
    assert_int_equal(sum.buckets[GW_HISTOGRAM_BOUNDS], 2 * 2);
}

static void test_arrivals_are_bounded_and_never_too_late(void **state)
{
    (void)state;
    static struct gw_arrivals arrivals;
    gw_stats_arrived(&arrivals, 1000);
    gw_stats_arrived(&arrivals, 1000 + GW_ARRIVAL_NS - 1);
    assert_int_equal(arrivals.count, 1);
    assert_int_equal(arrivals.ring[0].born_ns, 1000);
    gw_stats_arrived(&arrivals, 1000 + GW_ARRIVAL_NS);
    assert_int_equal(arrivals.count, 2);
    uint64_t seed = 11, messages = 0;
    int64_t born = 0;
    arrivals.count = 0;
    for (int i = 0; i < 50000; i++) {
        born += check_random(&seed) % (GW_ARRIVAL_NS * 2);
        gw_stats_arrived(&arrivals, born);
    }
    assert_int_equal(arrivals.count, GW_ARRIVALS);
    for (uint32_t i = 0; i < arrivals.count; i++) {
        messages += arrivals.ring[i].messages;
        assert_true(i == 0 || arrivals.ring[i].born_ns >= arrivals.ring[i - 1].born_ns + GW_ARRIVAL_NS);
    }
    assert_int_equal(messages, 50000);
}

/* --- routes ---------------------------------------------------------------------------------------------------- */

static struct gw_config *route_config(size_t count)
{
    struct gw_config *config = calloc(1, sizeof *config);
    config->route_count = count;
    config->routes = calloc(count, sizeof *config->routes);
    return config;
}

static void route_config_free(struct gw_config *config)
{
    for (size_t i = 0; i < config->route_count; i++)
        free(config->routes[i].topic);
    free(config->routes);
    free(config);
}

struct find {
    const char *topic;
    size_t rows;
    uint64_t messages, bytes, dropped;
};

static void find_row(void *context, const struct gw_route_row *row)
{
    struct find *find = context;
    find->rows++;
    if (strcmp(row->topic, find->topic) != 0)
        return;
    find->messages += atomic_load(&row->messages);
    find->bytes += atomic_load(&row->bytes);
    find->dropped += atomic_load(&row->codec_dropped);
}

static struct find route_row(struct gw_route_stats *stats, const char *topic)
{
    struct find find = {.topic = topic};
    gw_route_stats_read(stats, find_row, &find);
    return find;
}

static void test_route_rows(void **state)
{
    (void)state;
    struct gw_route_stats stats;
    gw_route_stats_init(&stats);
    assert_int_equal(route_row(&stats, "a").rows, 0);

    struct gw_config *first = route_config(3);
    first->routes[0].topic = strdup("a");
    first->routes[1].topic = strdup("b");
    first->routes[2].topic = strdup("a"); /* the same again: one row */
    gw_route_stats_configure(&stats, first);
    gw_route_stats_message(&stats, 0, 10);
    gw_route_stats_message(&stats, 2, 5);
    gw_route_stats_message(&stats, 1, 1);
    gw_route_stats_dropped(&stats, 1);
    struct find a = route_row(&stats, "a"), b = route_row(&stats, "b");
    assert_int_equal(a.rows, 3); /* a, b, other */
    assert_int_equal(a.messages, 2);
    assert_int_equal(a.bytes, 15);
    assert_int_equal(b.messages, 1);
    assert_int_equal(b.dropped, 1);

    /* A reload moves b to the front, takes a away and brings c. */
    struct gw_config *second = route_config(2);
    second->routes[0].topic = strdup("b");
    second->routes[1].topic = strdup("c");
    gw_route_stats_configure(&stats, second);
    gw_route_stats_message(&stats, 0, 1);
    gw_route_stats_message(&stats, 7, 3); /* no route of this number */
    assert_int_equal(route_row(&stats, "b").messages, 2);
    assert_int_equal(route_row(&stats, "b").dropped, 1);
    assert_int_equal(route_row(&stats, "c").messages, 0);
    assert_int_equal(route_row(&stats, "other").bytes, 3);
    assert_int_equal(route_row(&stats, "a").messages, 0);

    /* More routes than rows. */
    struct gw_config *many = route_config(1000);
    for (size_t i = 0; i < many->route_count; i++) {
        char topic[32];
        snprintf(topic, sizeof topic, "t%zu", i);
        many->routes[i].topic = strdup(topic);
    }
    gw_route_stats_configure(&stats, many);
    for (uint32_t i = 0; i < many->route_count; i++)
        gw_route_stats_message(&stats, i, 1);
    assert_int_equal(route_row(&stats, "t199").rows, GW_ROUTE_STATS_MAX + 1);
    assert_int_equal(route_row(&stats, "t199").messages, 1);
    assert_int_equal(route_row(&stats, "other").messages, 1 + 800);
    gw_route_stats_fini(&stats);
    route_config_free(first);
    route_config_free(second);
    route_config_free(many);
}

/* --- text ------------------------------------------------------------------------------------------------------ */

static void test_formats(void **state)
{
    (void)state;
    struct gw_buf labels = {0};
    gw_metric_label(&labels, "route", "a\\b\"c\nd");
    gw_metric_label(&labels, "channel", "é{x}");
    assert_string_equal(labels.data, "route=\"a\\\\b\\\"c\\nd\",channel=\"é{x}\"");
    for (int openmetrics = 0; openmetrics <= 1; openmetrics++) {
        struct gw_buf out = {0};
        struct gw_exposition to = {&out, openmetrics};
        gw_metric_family(&to, "x_total", GW_METRIC_COUNTER, "X.");
        gw_metric_value(&to, "x_total", labels.data, 7);
        gw_metric_family(&to, "y_info", GW_METRIC_INFO, "Y.");
        gw_metric_value(&to, "y_info", "version=\"1\"", 1);
        gw_metric_gauge(&to, "z", "Z.", 3);
        gw_metric_end(&to);
        const char *expected =
            openmetrics
                ? "# HELP x X.\n# TYPE x counter\nx_total{route=\"a\\\\b\\\"c\\nd\",channel=\"é{x}\"} 7\n"
                  "# HELP y Y.\n# TYPE y info\ny_info{version=\"1\"} 1\n# HELP z Z.\n# TYPE z gauge\nz 3\n# EOF\n"
                : "# HELP x_total X.\n# TYPE x_total counter\nx_total{route=\"a\\\\b\\\"c\\nd\",channel=\"é{x}\"} 7\n"
                  "# HELP y_info Y.\n# TYPE y_info gauge\ny_info{version=\"1\"} 1\n# HELP z Z.\n# TYPE z gauge\nz "
                  "3\n";
        assert_string_equal(out.data, expected);
        gw_buf_fini(&out);
    }
    gw_buf_fini(&labels);
}

static void test_histogram_text(void **state)
{
    (void)state;
    static struct gw_histogram histogram;
    struct gw_histogram_sum sum = {0};
    struct gw_buf out = {0};
    gw_histogram_observe(&histogram, 1000000, 2);
    gw_histogram_observe(&histogram, (int64_t)11 * 1000000000, 1);
    gw_histogram_add(&sum, &histogram);
    struct gw_exposition to = {&out, false};
    gw_metric_histogram(&to, "t", &sum);
    const char *const lines[] = {"t_bucket{le=\"0.0001\"} 0\n", "t_bucket{le=\"0.0005\"} 0\n",
                                 "t_bucket{le=\"0.001\"} 2\n",  "t_bucket{le=\"1.0\"} 2\n",
                                 "t_bucket{le=\"10.0\"} 2\n",   "t_bucket{le=\"+Inf\"} 3\n",
                                 "t_sum 11.002000000\n",        "t_count 3\n"};
    for (size_t i = 0; i < COUNT(lines); i++)
        CHECK_ROW(strstr(out.data, lines[i]), lines[i]);
    gw_buf_fini(&out);
}

static void test_accept(void **state)
{
    (void)state;
    static const struct {
        const char *accept;
        bool openmetrics;
    } rows[] = {
        {"", false},
        {"*/*", false},
        {"text/plain", false},
        {"text/html,application/xhtml+xml,*/*;q=0.8", false},
        {"application/openmetrics-text", true},
        {"Application/OpenMetrics-Text; version=1.0.0; charset=utf-8", true},
        /* Prometheus 2.42 and 2.54 */
        {"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/"
         "plain;version=0.0.4;q=0.5,*/*;q=0.1",
         true},
        {"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/"
         "openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
         true},
        {"text/plain;version=0.0.4,application/openmetrics-text;q=0.9", false},
        {"application/openmetrics-text;q=0", false},
        {"application/openmetrics-text;q=0.2,*/*;q=0.1", true},
        {"application/openmetrics-text;q=0.1,*/*;q=0.2", false},
        {"application/openmetrics-text;q=x", false},
        {"application/openmetrics-textual", false},
        {" , ;q=1,,application/openmetrics-text ; q=0.5 ,", true},
        {";;;,;,", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        CHECK_ROW(gw_metric_wants_openmetrics(rows[i].accept, strlen(rows[i].accept)) == rows[i].openmetrics,
                  rows[i].accept);
    assert_false(gw_metric_wants_openmetrics(NULL, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_histogram),      cmocka_unit_test(test_arrivals_are_bounded_and_never_too_late),
        cmocka_unit_test(test_route_rows),     cmocka_unit_test(test_formats),
        cmocka_unit_test(test_histogram_text), cmocka_unit_test(test_accept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
