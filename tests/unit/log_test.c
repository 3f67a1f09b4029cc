/* Lines of the log, as they come out of standard error. */
#include <pthread.h>
#include <unistd.h>

#include "check.h"
#include "gateway/log.h"

static int pipe_fds[2];
static int saved_stderr;
static char written[1 << 16];

static int capture(void **state)
{
    (void)state;
    if (pipe(pipe_fds))
        return -1;
    saved_stderr = dup(STDERR_FILENO);
    dup2(pipe_fds[1], STDERR_FILENO);
    return 0;
}

static int restore(void **state)
{
    (void)state;
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    return 0;
}

/* Everything written since the last call. A mark of our own tells where it ends. */
static const char *lines(void)
{
    size_t len = 0;
    assert_int_equal(write(STDERR_FILENO, "\001", 1), 1);
    do {
        ssize_t got = read(pipe_fds[0], written + len, sizeof written - len);
        assert_true(got > 0);
        len += (size_t)got;
    } while (written[len - 1] != '\001');
    written[len - 1] = '\0';
    return written;
}

static void test_text(void **state)
{
    (void)state;
    gw_log_setup(GW_LOG_INFO, GW_LOG_TEXT);
    gw_log(GW_LOG_DEBUG, "web", "not this");
    gw_log(GW_LOG_WARN, "web", "a \"%s\"", "b\nc\x7f");
    int year, fraction;
    char rest[100];
    assert_int_equal(sscanf(lines(), "%d-%*2d-%*2dT%*2d:%*2d:%*2d.%3dZ %99[^\n]", &year, &fraction, rest), 3);
    assert_string_equal(rest, "warn  web: a \"b?c?\"");
    const struct gw_log_about about = {.session = "0-1f", .address = "::1"};
    gw_log_about(NULL, &about, GW_LOG_INFO, "session", "opened");
    assert_non_null(strstr(lines(), "Z info  session: opened session=0-1f address=::1\n"));
}

static void test_json(void **state)
{
    (void)state;
    gw_log_setup(GW_LOG_DEBUG, GW_LOG_AUTO); /* a pipe is no terminal */
    gw_log(GW_LOG_INFO, "web", "listening on [::]:8080, %u worker(s)", 2U);
    const char *line = lines();
    assert_memory_equal(line, "{\"time\":\"20", 11);
    assert_int_equal(strlen("{\"time\":\"2026-11-24T12:00:00.123Z\""), strcspn(line, ","));
    assert_string_equal(
        strchr(line, ','),
        ",\"level\":\"info\",\"part\":\"web\",\"message\":\"listening on [::]:8080, 2 worker(s)\"}\n");
    const struct gw_log_about about = {.session = "1-a", .address = "10.0.0.1"};
    gw_log_about(NULL, &about, GW_LOG_DEBUG, "session", "a \"b\" \\ \n \xff \xc3\xa9");
    assert_string_equal(strchr(lines(), ','),
                        ",\"level\":\"debug\",\"part\":\"session\",\"message\":\"a \\\"b\\\" \\\\ ? ? ??\","
                        "\"session\":\"1-a\",\"address\":\"10.0.0.1\"}\n");
    gw_log(GW_LOG_ERROR, "config", "%s", "\xc3\xa9");
    assert_non_null(strstr(lines(), "\"message\":\"\xc3\xa9\"}\n"));
}

static void say(int number)
{
    GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "hub", "number %d", number);
}

static void test_repeats_are_counted(void **state)
{
    (void)state;
    gw_log_setup(GW_LOG_INFO, GW_LOG_JSON);
    int said = 0;
    say(said++);
    assert_non_null(strstr(lines(), "\"message\":\"number 0\"}\n"));
    const char *line;
    do
        say(said++);
    while (!*(line = lines())); /* until the second is over */
    char expected[100];
    snprintf(expected, sizeof expected, "\"message\":\"number %d\",\"suppressed\":%d}\n", said - 1, said - 2);
    assert_non_null(strstr(line, expected));
    gw_log_setup(GW_LOG_INFO, GW_LOG_TEXT);
    say(-2);
    assert_string_equal(lines(), "");
}

#define WRITERS    4
#define LINES_EACH 50

static void *writer(void *context)
{
    for (int i = 0; i < LINES_EACH; i++)
        gw_log(GW_LOG_INFO, "app", "%s%s", (const char *)context, "0123456789012345678901234567890123456789");
    return NULL;
}

static void test_lines_of_threads_stay_whole(void **state)
{
    (void)state;
    gw_log_setup(GW_LOG_INFO, GW_LOG_JSON);
    pthread_t threads[WRITERS];
    static char names[WRITERS][2] = {"a", "b", "c", "d"};
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, writer, names[i]), 0);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    unsigned count = 0;
    for (char *at = (char *)(uintptr_t)lines(), *end; (end = strchr(at, '\n')); at = end + 1, count++) {
        assert_memory_equal(at, "{\"time\":", 8);
        assert_memory_equal(end - strlen("9\"}"), "9\"}", 3);
    }
    assert_int_equal(count, WRITERS * LINES_EACH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_text, capture, restore),
        cmocka_unit_test_setup_teardown(test_json, capture, restore),
        cmocka_unit_test_setup_teardown(test_repeats_are_counted, capture, restore),
        cmocka_unit_test_setup_teardown(test_lines_of_threads_stay_whole, capture, restore),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
