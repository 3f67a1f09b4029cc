/* Looking names up with a getaddrinfo(3) that hangs, fails and changes its mind: it stands in for the system's. */
#include "base/lookup.h"

#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "check.h"
#include "gateway/clock.h"

#define CALLS 16

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static const char *script[CALLS]; /* {lock} of each call: addresses, "hang", or "!" and an EAI_ number */
static unsigned calls, hanging;   /* {lock} */
static const char *released;      /* {lock} what those that hang return; NULL: they go on hanging */

typedef int (*real_getaddrinfo)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

static int resolve(const char *text, struct addrinfo **out)
{
    real_getaddrinfo real;
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (*text == '!')
        return -atoi(text + 1);
    char words[128], *rest = NULL;
    snprintf(words, sizeof words, "%s", text);
    for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
        if (real(word, NULL, &hints, out))
            return EAI_NONAME;
        out = &(*out)->ai_next;
    }
    return 0;
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    if (hints->ai_flags & AI_NUMERICHOST) {
        real_getaddrinfo real;
        *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
        return real(name, service, hints, out);
    }
    pthread_mutex_lock(&lock);
    const char *answer = script[calls < CALLS ? calls : CALLS - 1];
    calls++;
    pthread_cond_broadcast(&changed);
    if (!strcmp(answer, "hang")) {
        hanging++;
        while (!released)
            pthread_cond_wait(&changed, &lock);
        hanging--;
        answer = released;
        pthread_cond_broadcast(&changed);
    }
    pthread_mutex_unlock(&lock);
    return resolve(answer, out);
}

/* The given answers in order; the last one for ever. */
static void play(const char *const *answers)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0, at = 0; i < CALLS; i++) {
        script[i] = answers[at];
        if (answers[at + 1])
            at++;
    }
    calls = 0;
    released = NULL;
    pthread_mutex_unlock(&lock);
}

#define PLAY(...) play((const char *const[]){__VA_ARGS__, NULL})

static void release(const char *answer)
{
    pthread_mutex_lock(&lock);
    released = answer;
    pthread_cond_broadcast(&changed);
    while (hanging)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static unsigned asked(void)
{
    pthread_mutex_lock(&lock);
    unsigned count = calls;
    pthread_mutex_unlock(&lock);
    return count;
}

static atomic_uint wakes;

static void wake(void *context)
{
    (void)context;
    atomic_fetch_add(&wakes, 1);
}

static struct gw_lookup *make(const char *host)
{
    atomic_store(&wakes, 0);
    return gw_lookup_create("test", "broker.url", host, wake, NULL);
}

static void rest(int64_t ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* Asks until the state is there. */
static void await(struct gw_lookup *lookup, enum gw_lookup_state state, struct gw_lookup_answer *answer)
{
    int64_t until = gw_monotonic_ms() + 10000;
    for (gw_lookup_ask(lookup, answer); answer->state != state; gw_lookup_ask(lookup, answer)) {
        if (gw_monotonic_ms() > until)
            fail_msg("state %d and not %d: %s", answer->state, state, answer->reason);
        rest(10);
    }
}

static void check_addresses(const struct gw_lookup_answer *answer, const char *wanted)
{
    char text[256] = "";
    for (size_t i = 0; i < answer->count; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i ? " " : "", answer->addresses[i].text);
    assert_string_equal(text, wanted);
}

static void test_figures_need_no_thread(void **state)
{
    (void)state;
    static const char *const figures[] = {"127.0.0.1", "::1", "10.1.2.3", "fe80::1%lo"};
    PLAY("hang");
    for (size_t i = 0; i < COUNT(figures); i++) {
        struct gw_lookup *lookup = make(figures[i]);
        struct gw_lookup_answer answer;
        gw_lookup_ask(lookup, &answer);
        CHECK_ROW(answer.state == GW_LOOKUP_FOUND && !answer.open, figures[i]);
        check_addresses(&answer, figures[i]);
        gw_lookup_destroy(lookup);
    }
    assert_int_equal(asked(), 0);
}

static void test_found_and_moved(void **state)
{
    (void)state;
    struct gw_lookup_answer answer;
    PLAY("10.0.0.1 10.0.0.1 ::1", "10.0.0.2 10.0.0.3");
    struct gw_lookup *lookup = make("v");
    gw_lookup_wait(lookup, 5000, &answer);
    assert_int_equal(answer.state, GW_LOOKUP_FOUND);
    check_addresses(&answer, "10.0.0.1 ::1");
    assert_string_equal(answer.reason, "");
    gw_lookup_wait(lookup, 5000, &answer); /* just now */
    assert_int_equal(asked(), 1);
    gw_lookup_prefer(lookup, &answer.addresses[1]);
    gw_lookup_wait(lookup, 5000, &answer);
    check_addresses(&answer, "::1 10.0.0.1");
    rest(400);
    gw_lookup_wait(lookup, 5000, &answer); /* the preferred one is gone */
    check_addresses(&answer, "10.0.0.2 10.0.0.3");
    assert_int_equal(atomic_load(&wakes), 2);
    gw_lookup_destroy(lookup);
}

struct failure {
    const char *answer, *words;
    bool open;
};

static void test_words_and_what_was_before(void **state)
{
    (void)state;
    static const struct failure failures[] = {
        {"!2", "the name 'v' is not known: check broker.url, and the name server", false}, /* EAI_NONAME */
        {"!5", "the name 'v' is not known", false},                                        /* EAI_NODATA */
        {"!3", "'v' can't be looked up (Temporary failure in name resolution)", true},     /* EAI_AGAIN */
        {"!4", "'v' can't be looked up (Non-recoverable failure", false},                  /* EAI_FAIL */
    };
    for (size_t i = 0; i < COUNT(failures); i++) {
        const struct failure *row = &failures[i];
        struct gw_lookup_answer answer;
        PLAY(row->answer);
        struct gw_lookup *lookup = make("v");
        await(lookup, GW_LOOKUP_FAILED, &answer);
        CHECK_ROW(strstr(answer.reason, row->words) && answer.open == row->open && !answer.count, row->words);
        gw_lookup_destroy(lookup);

        PLAY("10.0.0.1", row->answer);
        lookup = make("v");
        gw_lookup_wait(lookup, 5000, &answer);
        CHECK_ROW(answer.state == GW_LOOKUP_FOUND, row->words);
        rest(320);
        await(lookup, GW_LOOKUP_REMEMBERED, &answer);
        CHECK_ROW(strstr(answer.reason, row->words) && answer.count == 1, row->words);
        gw_lookup_destroy(lookup);
    }
}

/* The first question is lost, the second one is answered; what the first one says in the end is old. */
static void test_a_lost_question(void **state)
{
    (void)state;
    struct gw_lookup_answer answer;
    int64_t begin = gw_monotonic_ms();
    PLAY("hang", "10.0.0.2");
    struct gw_lookup *lookup = make("v");
    gw_lookup_wait(lookup, 100, &answer);
    assert_int_equal(answer.state, GW_LOOKUP_FAILED);
    assert_non_null(strstr(answer.reason, "the name server does not answer for 'v': check it"));
    assert_true(answer.open);
    gw_lookup_wait(lookup, 5000, &answer);
    assert_int_equal(answer.state, GW_LOOKUP_FOUND);
    assert_true(gw_monotonic_ms() - begin < 2500);
    release("10.0.0.1");
    rest(50);
    gw_lookup_ask(lookup, &answer);
    check_addresses(&answer, "10.0.0.2");
    gw_lookup_destroy(lookup);
}

/* Three times within the bound another thread asks, five at most; nobody waits for longer than the bound. */
static void test_silence_is_bounded(void **state)
{
    (void)state;
    struct gw_lookup_answer answer;
    int64_t begin = gw_monotonic_ms();
    PLAY("hang");
    struct gw_lookup *lookup = make("v");
    await(lookup, GW_LOOKUP_FAILED, &answer);
    assert_in_range(gw_monotonic_ms() - begin, GW_LOOKUP_MS, GW_LOOKUP_MS + 900);
    while (gw_monotonic_ms() - begin < 2 * GW_LOOKUP_MS + 300) {
        int64_t now = gw_monotonic_ms();
        gw_lookup_wait(lookup, 5000, &answer);
        assert_true(gw_monotonic_ms() - now < 900);
        assert_int_equal(answer.state, GW_LOOKUP_FAILED);
        rest(50);
    }
    assert_int_equal(asked(), 5);
    assert_int_equal(atomic_load(&wakes), 0);
    release("10.0.0.1");
    await(lookup, GW_LOOKUP_FOUND, &answer);
    check_addresses(&answer, "10.0.0.1");
    assert_true(atomic_load(&wakes) > 0);
    gw_lookup_destroy(lookup);
}

static void *interrupt_soon(void *lookup)
{
    rest(100);
    gw_lookup_interrupt(lookup);
    return NULL;
}

static void test_interrupted_and_destroyed_while_it_hangs(void **state)
{
    (void)state;
    struct gw_lookup_answer answer;
    int64_t begin = gw_monotonic_ms();
    PLAY("hang");
    struct gw_lookup *lookup = make("v");
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, interrupt_soon, lookup), 0);
    gw_lookup_wait(lookup, 5000, &answer);
    assert_int_equal(answer.state, GW_LOOKUP_FAILED);
    assert_true(gw_monotonic_ms() - begin < 900);
    pthread_join(thread, NULL);
    gw_lookup_destroy(lookup);
    release("10.0.0.1"); /* frees the rest: LeakSanitizer looks */
    rest(50);
    assert_int_equal(atomic_load(&wakes), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_figures_need_no_thread),
        cmocka_unit_test(test_found_and_moved),
        cmocka_unit_test(test_words_and_what_was_before),
        cmocka_unit_test(test_a_lost_question),
        cmocka_unit_test(test_silence_is_bounded),
        cmocka_unit_test(test_interrupted_and_destroyed_while_it_hangs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
