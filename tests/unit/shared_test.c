/* What several gateways share besides the log, as a hub asks for it: who has a question while the connection that
 * asked, its worker and the engine end in any order. Under ASan this finds what is used or freed twice, and what
 * nobody frees. */
#include "gateway/shared.h"

#include "check.h"
#include "gateway/engine.h"
#include "gateway/hub.h"
#include "gateway/mail.h"
#include "hub/hub_private.h"
#include "route/routes.h"

static struct gw_config *config;
static struct gw_routes *routes;
static struct gw_timers timers;
static struct gw_hub *hub;

/* --- the engine, which holds one question, and the mail, which holds one letter -----------------------------------
 */

static struct gw_engine_ask *question;
static struct gw_letter *letter;
static bool closed, away;
static unsigned asked, heard;
static enum gw_err heard_err;
static char heard_text[32];

static void toy_ask(struct gw_engine_store *store, struct gw_engine_ask *ask)
{
    (void)store;
    asked++;
    if (away) {
        ask->done(ask, GW_ERR_OVERLOADED);
        return;
    }
    assert_null(question);
    question = ask;
}

static void toy_answer(enum gw_err err, const char *text)
{
    struct gw_engine_ask *ask = question;
    question = NULL;
    assert_non_null(ask);
    if (text) {
        assert_null(ask->text);
        ask->text = strdup(text);
        ask->len = strlen(text);
    }
    ask->done(ask, err);
}

static void toy_mail(void *context, unsigned worker, struct gw_letter *sent)
{
    (void)context;
    assert_int_equal(worker, 3);
    if (closed) {
        sent->drop(sent);
        return;
    }
    assert_null(letter);
    letter = sent;
}

static void toy_deliver(void)
{
    struct gw_letter *sent = letter;
    letter = NULL;
    assert_non_null(sent);
    sent->deliver(sent, hub);
}

/* What a worker does first when it ends, before its connections are closed. */
static void toy_close(void)
{
    closed = true;
    if (letter)
        letter->drop(letter);
    letter = NULL;
}

static void on_done(void *context, enum gw_err err, const char *text, size_t len)
{
    assert_ptr_equal(context, &heard);
    heard++;
    heard_err = err;
    snprintf(heard_text, sizeof heard_text, "%.*s", (int)len, text ? text : "");
}

static int setup(void **state)
{
    (void)state;
    static const struct gw_engine_shared sharing = {.ask = toy_ask};
    static int store;
    config = calloc(1, sizeof *config);
    atomic_init(&config->refs, 1);
    config->limits.channels = 10;
    routes = gw_routes_build(config);
    gw_timers_init(&timers);
    const struct gw_hub_setup made = {.epoch = "e",
                                      .config = config,
                                      .routes = routes,
                                      .timers = &timers,
                                      .worker = 3,
                                      .mail = {NULL, toy_mail},
                                      .sharing = &sharing,
                                      .sharing_store = (struct gw_engine_store *)&store};
    hub = gw_hub_create(&made);
    gw_hub_tick(hub, 1, 1);
    question = NULL;
    letter = NULL;
    closed = away = false;
    asked = heard = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gw_hub_destroy(hub);
    gw_routes_unref(routes);
    gw_timers_fini(&timers);
    gw_config_unref(config);
    return 0;
}

/* --- tests -------------------------------------------------------------------------------------------------------
 */

static void test_an_answer(void **state)
{
    (void)state;
    assert_non_null(gw_shared_take(hub, "k", on_done, &heard));
    toy_answer(GW_OK, "what lay there");
    assert_int_equal(heard, 0); /* in a later turn */
    toy_deliver();
    assert_int_equal(heard, 1);
    assert_int_equal(heard_err, GW_OK);
    assert_string_equal(heard_text, "what lay there");
    away = true;
    assert_non_null(gw_shared_put(hub, "k", "text", 4, 1000, on_done, &heard));
    toy_deliver();
    assert_int_equal(heard, 2);
    assert_int_equal(heard_err, GW_ERR_OVERLOADED);
}

/* Each way in which a connection, the worker's mail and the engine can end one after the other. */
static void test_ends_in_any_order(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 6; way++) {
        closed = false;
        struct gw_shared_wait *wait = gw_shared_take(hub, "k", on_done, &heard);
        switch (way) {
        case 0: /* the connection, the engine, the mail */
            gw_shared_forget(wait);
            toy_answer(GW_OK, "text");
            toy_close();
            break;
        case 1: /* the connection, the mail, the engine */
            gw_shared_forget(wait);
            toy_close();
            toy_answer(GW_OK, "text");
            break;
        case 2: /* the engine, the mail, the connection */
            toy_answer(GW_OK, "text");
            toy_close();
            gw_shared_forget(wait);
            break;
        case 3: /* the engine, the connection, the mail */
            toy_answer(GW_OK, "text");
            gw_shared_forget(wait);
            toy_close();
            break;
        case 4: /* the mail, the engine, the connection */
            toy_close();
            toy_answer(GW_OK, "text");
            gw_shared_forget(wait);
            break;
        case 5: /* the mail, the connection, the engine */
            toy_close();
            gw_shared_forget(wait);
            toy_answer(GW_OK, "text");
            break;
        }
        assert_int_equal(heard, 0);
    }
}

/* A question that is refused on the spot by an engine that has ended, on a worker whose mail is closed. */
static void test_refused_at_the_end(void **state)
{
    (void)state;
    toy_close();
    away = true;
    gw_shared_forget(gw_shared_take(hub, "k", on_done, &heard));
    assert_null(gw_shared_put(hub, "k", "text", 4, 1000, NULL, NULL));
    assert_null(gw_shared_take(hub, "k", NULL, NULL));
    assert_int_equal(heard, 0);
}

/* What was taken for a client that has gone lies there again, once. */
static void test_returned(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 4; way++) {
        closed = false;
        asked = 0;
        struct gw_shared_wait *wait = way ? gw_shared_claim(hub, "key", "mine", 1000, on_done, &heard)
                                          : gw_shared_take(hub, "key", on_done, &heard);
        if (way == 3)
            toy_close();
        if (way == 0)
            gw_shared_return(wait, 5000);
        toy_answer(GW_OK, "session");
        if (way == 2)
            toy_close(); /* dropped before its client goes */
        if (way)
            gw_shared_return(wait, 5000);
        if (letter)
            toy_deliver();
        assert_int_equal(asked, 2);
        assert_non_null(question);
        assert_string_equal(question->key, "key");
        assert_int_equal(question->len, 7);
        assert_memory_equal(question->text, "session", 7);
        assert_int_equal(question->ttl_ms, 5000);
        assert_string_equal(question->claim, way ? "mine" : "");
        toy_answer(way % 2 ? GW_OK : GW_ERR_OVERLOADED, NULL);
        if (letter)
            toy_deliver();
        assert_int_equal(asked, 2);
        assert_int_equal(heard, 0);
    }
    closed = false;
    gw_shared_return(gw_shared_take(hub, "key", on_done, &heard), 5000); /* there was none */
    toy_answer(GW_ERR_NOT_FOUND, NULL);
    toy_deliver();
    assert_null(question);
}

static const struct {
    const char *text, *read; /* NULL: there is none */
} texts[] = {
    {"3:abc ", "abc"},   {"0: ", ""},  {"3:abc", NULL},   {"4:abc ", NULL},
    {"", NULL},          {":", NULL},  {"x:abc ", NULL},  {"3", NULL},
    {"3abc ", NULL},     {"3:", NULL}, {"-1:abc ", NULL}, {"18446744073709551615:abc ", NULL},
    {"3:a:b 9:", "a:b"}, {" ", NULL},  {"3 :abc ", NULL}, {"99999999999999999999999:abc ", NULL},
};

static void test_texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        size_t len = strlen(texts[i].text);
        char *exact = strdup(texts[i].text); /* ASan sees what is read behind it */
        const char *at = exact;
        struct gw_slice read = {0};
        bool good = gw_shared_text(&at, exact + len, &read);
        CHECK_ROW(good == !!texts[i].read, texts[i].text);
        if (good)
            CHECK_ROW(read.len == strlen(texts[i].read) && !memcmp(read.data, texts[i].read, read.len) &&
                          at <= exact + len,
                      texts[i].text);
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_an_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ends_in_any_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_at_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_returned, setup, teardown),
        cmocka_unit_test(test_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
