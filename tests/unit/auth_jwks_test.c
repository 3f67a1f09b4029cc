/* Key sets that change, over a real HTTP server that fails in every way it can. */
#include <pthread.h>
#include <time.h>

#include "auth_fixture.h"
#include "gateway/clock.h"

static pid_t server;
static int port;

static void nap(void)
{
    nanosleep(&(const struct timespec){.tv_nsec = 20000000}, NULL);
}

static size_t count_lines(const char *file, const char *wanted)
{
    char *text = fixture_read(file);
    size_t count = 0;
    for (char *line = text; line && *line;) {
        size_t len = strcspn(line, "\n");
        count += len == strlen(wanted) && !strncmp(line, wanted, len);
        line += len + (line[len] == '\n');
    }
    free(text);
    return count;
}

static size_t hits(const char *path)
{
    return count_lines("hits", path);
}

static void wait_hits(size_t count)
{
    int64_t deadline = gw_monotonic_ms() + 30000;
    while (hits("/jwks.json") < count) {
        if (gw_monotonic_ms() > deadline)
            fail_msg("%zu requests instead of %zu", hits("/jwks.json"), count);
        nap();
    }
}

static bool accepted(struct gw_auth *auth, const char *name)
{
    char *token = fixture_token("url", name);
    const char *why;
    struct gw_identity *identity = fixture_enter(auth, token, &why);
    gw_identity_unref(identity);
    free(token);
    return identity != NULL;
}

static void wait_accepted(struct gw_auth *auth, const char *name)
{
    int64_t deadline = gw_monotonic_ms() + 30000;
    while (!accepted(auth, name)) {
        if (gw_monotonic_ms() > deadline)
            fail_msg("%s is not accepted", name);
        nap();
    }
}

static struct gw_auth *open_url(const char *refresh, struct gw_auth *previous)
{
    char blocks[256];
    snprintf(blocks, sizeof blocks,
             "auth:\n  jwt: { jwks_url: \"http://127.0.0.1:%d/jwks.json\", jwks_refresh: %s }\n", port, refresh);
    return fixture_auth(blocks, previous);
}

static void mode(const char *text)
{
    fixture_write("mode", text);
}

static int each_up(void **state)
{
    (void)state;
    unlink(fixture_path("port"));
    unlink(fixture_path("hits"));
    unlink(fixture_path("modes"));
    mode("set set_ed.json");
    server = fixture_python("tests/support/jwks_server.py", fixture_folder);
    char *text = NULL;
    for (int i = 0; i < 1000 && !(text = fixture_read("port")); i++)
        nap();
    port = text ? atoi(text) : 0;
    free(text);
    return !port;
}

static int each_down(void **state)
{
    (void)state;
    if (server > 0) {
        kill(server, SIGKILL);
        waitpid(server, NULL, 0);
    }
    server = 0;
    return 0;
}

static void test_rotation(void **state)
{
    (void)state;
    struct gw_auth *auth = open_url("1s", NULL);
    wait_accepted(auth, "ed");
    assert_false(accepted(auth, "ed2"));
    mode("set set_ed2.json");
    wait_accepted(auth, "ed2");
    assert_false(accepted(auth, "ed"));
    gw_auth_unref(auth);
}

static void test_outage(void **state)
{
    (void)state;
    static const char *const modes[] = {
        "status 500", "status 204", "garbage", "huge", "set empty", "set weak.json", "redirect http://127.0.0.1:1/"};
    struct gw_auth *auth = open_url("1s", NULL);
    wait_accepted(auth, "ed");
    for (size_t i = 0; i < COUNT(modes); i++) {
        mode(modes[i]);
        wait_hits(hits("/jwks.json") + 2); /* the first was answered by the time the second comes */
        CHECK_ROW(accepted(auth, "ed"), modes[i]);
        CHECK_ROW(!accepted(auth, "ed2"), modes[i]);
    }
    each_down(NULL);
    nap();
    assert_true(accepted(auth, "ed"));
    gw_auth_unref(auth);
}

/* Redirects must not lead to where anybody on the way could give us keys. */
static void test_redirect(void **state)
{
    (void)state;
    char text[64];
    snprintf(text, sizeof text, "redirect http://127.0.0.1:%d/other", port);
    mode(text);
    struct gw_auth *auth = open_url("1s", NULL);
    wait_hits(2);
    assert_int_equal(hits("/other"), 0);
    gw_auth_unref(auth);
}

/* Keys from whoever sits on the way are worth nothing: a certificate that nobody vouches for. */
static void test_certificate(void **state)
{
    (void)state;
    each_down(NULL);
    fixture_write("tls", "");
    assert_int_equal(each_up(NULL), 0);
    char blocks[128];
    snprintf(blocks, sizeof blocks,
             "auth:\n  jwt: { jwks_url: \"https://127.0.0.1:%d/jwks.json\", jwks_refresh: 1s }\n", port);
    struct gw_auth *auth = fixture_auth(blocks, NULL);
    for (int64_t deadline = gw_monotonic_ms() + 30000; hits("tls") < 2; nap()) {
        if (gw_monotonic_ms() > deadline)
            fail_msg("nobody came");
    }
    assert_int_equal(hits("/jwks.json"), 0);
    assert_false(accepted(auth, "ed"));
    gw_auth_unref(auth);
    unlink(fixture_path("tls"));
}

static void test_wait(void **state)
{
    (void)state;
    struct gw_auth *auth = open_url("1h", NULL);
    gw_auth_wait(auth, 30000);
    assert_true(accepted(auth, "ed")); /* at once */
    gw_auth_unref(auth);
    mode("hang");
    auth = open_url("1h", NULL);
    int64_t start = gw_monotonic_ms();
    gw_auth_wait(auth, 300);
    int64_t took = gw_monotonic_ms() - start;
    assert_true(took >= 300 && took < 4000);
    gw_auth_unref(auth);
    gw_auth_wait(NULL, 1000);
}

static void test_secret_over_the_network(void **state)
{
    (void)state;
    mode("set set_oct.json");
    struct gw_auth *auth = open_url("1h", NULL);
    wait_accepted(auth, "ed");
    assert_false(accepted(auth, "oct"));
    gw_auth_unref(auth);
}

static void test_hanging(void **state)
{
    (void)state;
    static const char *const modes[] = {"hang", "trickle"};
    for (size_t i = 0; i < COUNT(modes); i++) {
        mode("set set_ed.json");
        struct gw_auth *auth = open_url("1s", NULL);
        wait_accepted(auth, "ed");
        mode(modes[i]);
        size_t before = hits("/jwks.json");
        wait_hits(before + 1);
        /* While it hangs: nobody waits, neither in the old configuration nor in a new one, which has the keys
         * already. */
        int64_t start = gw_monotonic_ms();
        struct gw_auth *next = open_url("1s", auth);
        CHECK_ROW(accepted(auth, "ed") && accepted(next, "ed"), modes[i]);
        CHECK_ROW(!accepted(auth, "ed2"), modes[i]);
        wait_hits(before + 2);
        gw_auth_unref(auth);
        gw_auth_unref(next);
        CHECK_ROW(gw_monotonic_ms() - start < 3000, modes[i]); /* the time-out is 5 s */
    }
}

static void test_unknown_kid(void **state)
{
    (void)state;
    struct gw_auth *first = open_url("1h", NULL);
    gw_auth_wait(first, 30000); /* a key that is not there yet would be asked for again */
    wait_accepted(first, "ed");
    unlink(fixture_path("hits"));
    unlink(fixture_path("modes"));
    struct gw_auth *auth = open_url("1h", first); /* it has the keys, and asks for them once */
    gw_auth_unref(first);
    int64_t deadline = gw_monotonic_ms() + 30000;
    while (!count_lines("modes", "set set_ed.json") && gw_monotonic_ms() < deadline)
        nap();
    for (int i = 0; i < 50; i++)
        assert_true(accepted(auth, "ed")); /* a known one asks for nothing */
    assert_int_equal(hits("/jwks.json"), 1);
    mode("set set_ed2.json");
    wait_accepted(auth, "ed2");
    assert_int_equal(hits("/jwks.json"), 2);
    mode("set set_ed.json");
    for (deadline = gw_monotonic_ms() + 1500; gw_monotonic_ms() < deadline; nap())
        assert_false(accepted(auth, "ed")); /* a flood of unknown keys is no flood at the issuer */
    assert_int_equal(hits("/jwks.json"), 2);
    gw_auth_unref(auth);
}

static void test_late_start(void **state)
{
    (void)state;
    each_down(NULL);
    struct gw_auth *auth = open_url("1h", NULL); /* nobody listens */
    assert_false(accepted(auth, "ed"));
    gw_auth_unref(auth);
    each_up(NULL);
    mode("status 503");
    auth = open_url("1h", NULL);
    wait_hits(1);
    assert_false(accepted(auth, "ed"));
    mode("set set_ed.json");
    wait_accepted(auth, "ed"); /* tried again long before the hour is over */
    gw_auth_unref(auth);
}

static void copy(const char *from, const char *to)
{
    char *text = fixture_read(from);
    assert_non_null(text);
    fixture_write(to, text);
    free(text);
}

static void test_file(void **state)
{
    (void)state;
    copy("set_ed.json", "jwks.json");
    struct gw_auth *auth = fixture_auth("auth:\n  jwt: { jwks_file: @/jwks.json, jwks_refresh: 1s }\n", NULL);
    assert_true(accepted(auth, "ed"));
    copy("set_ed2.json", "jwks.json");
    wait_accepted(auth, "ed2");
    assert_false(accepted(auth, "ed"));
    fixture_write("jwks.json", "{");
    int64_t start = gw_monotonic_ms();
    while (gw_monotonic_ms() - start < 2500) {
        assert_true(accepted(auth, "ed2"));
        nap();
    }
    gw_auth_unref(auth);
}

#define THREADS 6
static atomic_bool done;
static struct gw_auth *shared;
static char *shared_token;

static void *verify(void *context)
{
    size_t *count = context;
    while (!atomic_load(&done)) {
        struct gw_identity *identity;
        const char *why;
        if (gw_auth_token(shared, shared_token, strlen(shared_token), NOW_MS, &identity, &why) == GW_OK)
            ++*count;
        gw_identity_unref(identity);
    }
    return NULL;
}

/* Many threads verify while the keys change under them (and, in the tsan build, are watched). */
static void test_threads(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    size_t counts[THREADS] = {0};
    atomic_store(&done, false);
    shared_token = fixture_token("url", "ed");
    shared = open_url("1s", NULL);
    wait_accepted(shared, "ed");
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, verify, &counts[i]), 0);
    struct gw_auth *other = shared;
    for (int i = 0; i < 3; i++) {
        wait_hits(hits("/jwks.json") + 1);
        struct gw_auth *next = open_url("1s", other);
        if (other != shared)
            gw_auth_unref(other);
        other = next;
    }
    atomic_store(&done, true);
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_true(counts[i] > 0);
    }
    gw_auth_unref(other);
    gw_auth_unref(shared);
    free(shared_token);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rotation, each_up, each_down),
        cmocka_unit_test_setup_teardown(test_outage, each_up, each_down),
        cmocka_unit_test_setup_teardown(test_redirect, each_up, each_down),
        cmocka_unit_test_setup_teardown(test_certificate, each_up, each_down),
        cmocka_unit_test_setup_teardown(test_wait, each_up, each_down),
        cmocka_unit_test_setup_teardown(test_secret_over_the_network, each_up, each_down),
        cmocka_unit_test_setup_teardown(test_hanging, each_up, each_down),
        cmocka_unit_test_setup_teardown(test_unknown_kid, each_up, each_down),
        cmocka_unit_test_setup_teardown(test_late_start, each_up, each_down),
        cmocka_unit_test(test_file),
        cmocka_unit_test_setup_teardown(test_threads, each_up, each_down),
    };
    return cmocka_run_group_tests(tests, fixture_up, fixture_down);
}
