/* Values, defaults, and that the reference file has every key. (Golden error files: tests/integration/test_cli.py.)
 */
#include "check.h"
#include "config/fields.h"
#include "config/values.h"
#include "gateway/codec.h"
#include "gateway/config.h"

static void test_values(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
        int64_t value;
    } durations[] = {{"250ms", true, 250},
                     {"30s", true, 30000},
                     {"5m", true, 300000},
                     {"1h", true, 3600000},
                     {"2d", true, 172800000},
                     {"1.5s", true, 1500},
                     {"0s", true, 0},
                     {"30", false, 0},
                     {"", false, 0},
                     {"s", false, 0},
                     {"-1s", false, 0},
                     {"1 s", false, 0},
                     {"1S", false, 0},
                     {"1.s", false, 0},
                     {"99999999999999999999s", false, 0},
                     {"1s ", false, 0},
                     {"9223372036854775807h", false, 0}},
      sizes[] = {{"512", true, 512},        {"512B", true, 512}, {"64KiB", true, 65536}, {"1MiB", true, 1 << 20},
                 {"2GiB", true, 2ll << 30}, {"1KB", false, 0},   {"1kib", false, 0},     {"-1", false, 0},
                 {"1.5MiB", false, 0},      {"", false, 0}};
    for (size_t i = 0; i < COUNT(durations); i++) {
        int64_t value = 0;
        CHECK_ROW(gw_parse_duration(durations[i].text, &value) == durations[i].good, durations[i].text);
        CHECK_ROW(!durations[i].good || value == durations[i].value, durations[i].text);
    }
    for (size_t i = 0; i < COUNT(sizes); i++) {
        int64_t value = 0;
        CHECK_ROW(gw_parse_size(sizes[i].text, &value) == sizes[i].good, sizes[i].text);
        CHECK_ROW(!sizes[i].good || value == sizes[i].value, sizes[i].text);
    }
}

static void test_times(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
        int64_t value;
    } rows[] = {{"now", true, 1000000000000},
                {"-10m", true, 999999400000},
                {"10m", true, 999999400000},
                {"-0s", true, 1000000000000},
                {"-99999d", true, 1},
                {"1764000000123", true, 1764000000123},
                {"1970-01-01T00:00:01Z", true, 1000},
                {"2001-09-09T01:46:40.5Z", true, 1000000000500},
                {"2001-09-09T03:46:40+02:00", true, 1000000000000},
                {"2001-09-08T20:16:40-05:30", true, 1000000000000},
                {"0", false, 0},
                {"", false, 0},
                {"-", false, 0},
                {"-1", false, 0},
                {"--1s", false, 0},
                {"then", false, 0},
                {"99999999999999999999", false, 0},
                {"2001-09-09", false, 0},
                {"2001-09-09T01:46:40", false, 0},
                {"2001-09-09T01:46:40Z ", false, 0},
                {"2001-13-09T01:46:40Z", false, 0},
                {"2001-09-09T24:46:40Z", false, 0},
                {"2001-09-09T01:46:40+02", false, 0},
                {"2001-09-09T01:46:nanZ", false, 0}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        int64_t value = 0;
        CHECK_ROW(gw_parse_time(rows[i].text, 1000000000000, &value) == rows[i].good, rows[i].text);
        CHECK_ROW(!rows[i].good || value == rows[i].value, rows[i].text);
    }
}

static void test_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        uint16_t port;
    } rows[] = {{"0.0.0.0:8080", "0.0.0.0", 8080},
                {"[::]:0", "::", 0},
                {"[::1]:65535", "::1", 65535},
                {"localhost:80", "127.0.0.1", 80},
                {"example:80", NULL, 0},
                {"1.2.3.4", NULL, 0},
                {"1.2.3.4:", NULL, 0},
                {"1.2.3.4:65536", NULL, 0},
                {":80", "0.0.0.0", 80},
                {"8080", "0.0.0.0", 8080},
                {":", NULL, 0},
                {":x", NULL, 0},
                {"70000", NULL, 0},
                {"::1:80", NULL, 0},
                {"[::1:80", NULL, 0},
                {"1.2.3.4:80x", NULL, 0},
                {"1.2.3:80", NULL, 0}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *host = NULL;
        uint16_t port = 0;
        bool good = gw_parse_address(rows[i].text, &host, &port);
        CHECK_ROW(good == (rows[i].host != NULL), rows[i].text);
        CHECK_ROW(!good || (!strcmp(host, rows[i].host) && port == rows[i].port), rows[i].text);
        free(host);
    }
    static const struct {
        const char *text, *host;
        uint16_t port;
        bool tls;
    } urls[] = {{"mqtt://b", "b", 1883, false},    {"mqtts://b.example", "b.example", 8883, true},
                {"MQTT://b:1/", "b", 1, false},    {"mqtt://[fe80::1]:2", "fe80::1", 2, false},
                {"http://b", NULL, 0, false},      {"mqtt://", NULL, 0, false},
                {"mqtt://b:0", NULL, 0, false},    {"mqtt://u:p@b", NULL, 0, false},
                {"mqtt://b/path", NULL, 0, false}, {"b:1883", NULL, 0, false}};
    for (size_t i = 0; i < COUNT(urls); i++) {
        char *host = NULL;
        uint16_t port = 0;
        bool tls = false, good = !gw_parse_broker_url(urls[i].text, &host, &port, &tls);
        CHECK_ROW(good == (urls[i].host != NULL), urls[i].text);
        CHECK_ROW(!good || (!strcmp(host, urls[i].host) && port == urls[i].port && tls == urls[i].tls), urls[i].text);
        free(host);
    }
}

static void test_defaults(void **state)
{
    (void)state;
    struct gw_config *config;
    struct gw_buf problems = {0};
    assert_int_equal(gw_config_load("config/minimal.yaml", &config, &problems), GW_OK);
    assert_non_null(strstr(problems.data, "warning: listen: 0.0.0.0:8080 is open to everybody"));
    assert_int_equal(config->broker.protocol, 0);
    assert_int_equal(config->broker.keepalive_ms, 30000);
    assert_true(config->broker.client_id_made && !strncmp(config->broker.client_id, "sluice-", 7));
    assert_int_equal(config->listen_count, 1);
    assert_string_equal(config->listen[0].host, "0.0.0.0");
    assert_int_equal(config->listen[0].port, 8080);
    assert_int_equal(config->web.heartbeat_ms, 25000);
    assert_int_equal(config->routes[0].qos, 1);
    assert_string_equal(config->routes[0].codec->name, "auto");
    assert_string_equal(config->routes[0].history_engine->name, "memory");
    assert_false(config->routes[0].publish);
    gw_config_unref(config);
    gw_buf_fini(&problems);
}

/* Every key of the tables must stand in the reference, commented out or not. */
static void check_documented(const struct gw_field *table, const char *reference)
{
    for (const struct gw_field *field = table; field->key; field++) {
        char wanted[80];
        snprintf(wanted, sizeof wanted, "%s:", field->key);
        CHECK_ROW(strstr(reference, wanted) != NULL, field->key);
        CHECK_ROW(field->doc != NULL, field->key);
        if (field->table)
            check_documented(field->table, reference);
    }
}

static void test_reference_is_complete(void **state)
{
    (void)state;
    static char text[65536];
    FILE *file = fopen("config/reference.yaml", "re");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    check_documented(gw_fields_root, text);
    file = fopen("docs/configuration.md", "re");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    for (const struct gw_field *field = gw_fields_root; field->key; field++)
        CHECK_ROW(strstr(text, field->key) != NULL, field->key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_times),
                                       cmocka_unit_test(test_addresses), cmocka_unit_test(test_defaults),
                                       cmocka_unit_test(test_reference_is_complete)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
