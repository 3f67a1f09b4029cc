/* Tickets: once, in time, and never more than there may be. */
#include <pthread.h>

#include "auth_fixture.h"

static const char blocks[] = "auth:\n  jwt: { secret_file: @/secret }\n  anonymous: [guest]\n  ticket_ttl: "
                             "30s\nroles: { guest: { subscribe: \"a/#\" } }\n";

static void test_once(void **state)
{
    (void)state;
    struct gw_auth *auth = fixture_auth(blocks, NULL);
    struct gw_identity *guest = gw_auth_anonymous(auth), *out;
    char ticket[GW_TICKET_SIZE], other[GW_TICKET_SIZE];
    assert_int_equal(gw_auth_ticket(auth, guest, NOW_MS, ticket), GW_OK);
    assert_int_equal(gw_auth_ticket(auth, guest, NOW_MS, other), GW_OK);
    assert_string_not_equal(ticket, other);
    assert_int_equal(strlen(ticket), 43);
    assert_int_equal(strspn(ticket, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), 43);
    assert_int_equal(gw_auth_redeem(auth, ticket, 42, NOW_MS, &out), GW_ERR_UNAUTHORIZED);
    assert_int_equal(gw_auth_redeem(auth, "", 0, NOW_MS, &out), GW_ERR_UNAUTHORIZED);
    assert_int_equal(gw_auth_redeem(auth, ticket, 43, NOW_MS + 29999, &out), GW_OK);
    assert_ptr_equal(out, guest);
    gw_identity_unref(out);
    assert_int_equal(gw_auth_redeem(auth, ticket, 43, NOW_MS, &out), GW_ERR_UNAUTHORIZED);
    assert_null(out);
    assert_int_equal(gw_auth_redeem(auth, other, 43, NOW_MS + 30000, &out), GW_ERR_EXPIRED);
    assert_null(out);
    assert_int_equal(gw_auth_redeem(auth, other, 43, NOW_MS, &out), GW_ERR_UNAUTHORIZED);
    assert_int_equal(gw_auth_ticket(auth, NULL, NOW_MS, ticket), GW_ERR_UNAUTHORIZED);
    gw_identity_unref(guest);
    gw_auth_unref(auth);
}

/* A ticket lives no longer than the token that it was given out for. */
static void test_expired_identity(void **state)
{
    (void)state;
    struct gw_auth *auth = fixture_auth(blocks, NULL);
    char *token = fixture_token("hs", "HS256"), ticket[GW_TICKET_SIZE];
    const char *why;
    struct gw_identity *ann = fixture_enter(auth, token, &why), *out;
    assert_int_equal(gw_auth_ticket(auth, ann, ann->expires_ms - 1000, ticket), GW_OK);
    assert_int_equal(gw_auth_redeem(auth, ticket, 43, ann->expires_ms, &out), GW_ERR_EXPIRED);
    assert_null(out);
    gw_identity_unref(ann);
    free(token);
    gw_auth_unref(auth);
}

static void test_bound(void **state)
{
    (void)state;
    struct gw_auth *auth = fixture_auth(blocks, NULL);
    struct gw_identity *guest = gw_auth_anonymous(auth), *out;
    char ticket[GW_TICKET_SIZE], first[GW_TICKET_SIZE];
    assert_int_equal(gw_auth_ticket(auth, guest, NOW_MS, first), GW_OK);
    for (int i = 1; i < 65536; i++) {
        char name[16];
        snprintf(name, sizeof name, "user%d", i % 64);
        struct gw_identity *user = gw_identity_create(GW_TOKEN, name, "{}", INT64_MAX, guest->grants);
        assert_int_equal(gw_auth_ticket(auth, user, NOW_MS + 10, ticket), GW_OK);
        gw_identity_unref(user);
    }
    assert_int_equal(gw_auth_ticket(auth, guest, NOW_MS + 10, ticket), GW_ERR_OVERLOADED);
    assert_string_equal(ticket, "");
    assert_int_equal(gw_auth_redeem(auth, first, 43, NOW_MS + 10, &out), GW_OK); /* nobody's was taken away */
    gw_identity_unref(out);
    assert_int_equal(gw_auth_ticket(auth, guest, NOW_MS + 10, ticket), GW_OK);
    assert_int_equal(gw_auth_ticket(auth, guest, NOW_MS + 10, ticket), GW_ERR_OVERLOADED);
    assert_int_equal(gw_auth_ticket(auth, guest, NOW_MS + 30010, ticket), GW_OK); /* those are over */
    gw_identity_unref(guest);
    gw_auth_unref(auth);
}

/* One identity takes no more than its part, however many tokens or configurations it has seen; the others have
 * theirs. */
static void test_bound_of_one(void **state)
{
    (void)state;
    struct gw_auth *auth = fixture_auth(blocks, NULL), *next = fixture_auth(blocks, auth);
    struct gw_identity *guest = gw_auth_anonymous(auth), *out;
    struct gw_identity *ann =
        gw_identity_create(GW_TOKEN, "ann", "{\"sub\":\"ann\",\"iat\":1}", INT64_MAX, guest->grants);
    struct gw_identity *again =
        gw_identity_create(GW_TOKEN, "ann", "{\"sub\":\"ann\",\"iat\":2}", INT64_MAX, guest->grants);
    struct gw_identity *nobody =
        gw_identity_create(GW_TOKEN, "token without subject", "{\"iat\":1}", INT64_MAX, guest->grants);
    struct gw_identity *neither =
        gw_identity_create(GW_TOKEN, "token without subject", "{\"iat\":2}", INT64_MAX, guest->grants);
    struct gw_identity *kiosk = gw_identity_create(GW_API_KEY, "ann", "sha256:00", INT64_MAX, guest->grants);
    char ticket[GW_TICKET_SIZE], first[GW_TICKET_SIZE];
    assert_int_equal(gw_auth_ticket(auth, ann, NOW_MS, first), GW_OK);
    for (int i = 1; i < 1024; i++)
        assert_int_equal(gw_auth_ticket(i % 2 ? auth : next, i % 3 ? ann : again, NOW_MS + 10, ticket), GW_OK);
    assert_int_equal(gw_auth_ticket(auth, ann, NOW_MS + 10, ticket), GW_ERR_RATE_LIMITED);
    assert_string_equal(ticket, "");
    assert_int_equal(gw_auth_ticket(next, again, NOW_MS + 10, ticket), GW_ERR_RATE_LIMITED);
    assert_int_equal(gw_auth_ticket(auth, kiosk, NOW_MS + 10, ticket), GW_OK);
    for (int i = 0; i < 1024; i++)
        assert_int_equal(gw_auth_ticket(auth, nobody, NOW_MS + 10, ticket), GW_OK);
    assert_int_equal(gw_auth_ticket(auth, nobody, NOW_MS + 10, ticket), GW_ERR_RATE_LIMITED);
    assert_int_equal(gw_auth_ticket(auth, neither, NOW_MS + 10, ticket), GW_OK);
    /* Using one makes room for one, and when their time is over there is room for all. */
    assert_int_equal(gw_auth_redeem(auth, first, 43, NOW_MS + 10, &out), GW_OK);
    gw_identity_unref(out);
    assert_int_equal(gw_auth_ticket(auth, ann, NOW_MS + 10, ticket), GW_OK);
    assert_int_equal(gw_auth_ticket(auth, ann, NOW_MS + 10, ticket), GW_ERR_RATE_LIMITED);
    for (int i = 0; i < 1024; i++)
        assert_int_equal(gw_auth_ticket(auth, ann, NOW_MS + 30010, ticket), GW_OK);
    assert_int_equal(gw_auth_ticket(auth, ann, NOW_MS + 30010, ticket), GW_ERR_RATE_LIMITED);
    struct gw_identity *all[] = {guest, ann, again, nobody, neither, kiosk};
    for (size_t i = 0; i < COUNT(all); i++)
        gw_identity_unref(all[i]);
    gw_auth_unref(auth);
    gw_auth_unref(next);
}

static void test_reload(void **state)
{
    (void)state;
    struct gw_auth *auth = fixture_auth(blocks, NULL);
    struct gw_identity *guest = gw_auth_anonymous(auth), *out;
    char ticket[GW_TICKET_SIZE], late[GW_TICKET_SIZE], lost[GW_TICKET_SIZE];
    assert_int_equal(gw_auth_ticket(auth, guest, NOW_MS, ticket), GW_OK);
    assert_int_equal(gw_auth_ticket(auth, guest, NOW_MS, lost), GW_OK);
    struct gw_auth *next =
        fixture_auth("auth: { anonymous: [guest] }\nroles: { guest: { subscribe: \"b/#\" } }\n", auth);
    /* One that a worker gives out which has not seen the reload yet. */
    assert_int_equal(gw_auth_ticket(auth, guest, NOW_MS, late), GW_OK);
    gw_identity_unref(guest);
    gw_auth_unref(auth);
    const char *const both[] = {ticket, late};
    for (size_t i = 0; i < COUNT(both); i++) {
        assert_int_equal(gw_auth_redeem(next, both[i], 43, NOW_MS, &out), GW_OK);
        assert_true(gw_grants_contain(out->grants, GW_RIGHT_SUBSCRIBE, "b/x", 3)); /* with the roles of now */
        assert_false(gw_grants_contain(out->grants, GW_RIGHT_SUBSCRIBE, "a/x", 3));
        gw_identity_unref(out);
    }
    struct gw_auth *closed = fixture_auth("auth:\n  jwt: { secret_file: @/secret }\n", next);
    assert_int_equal(gw_auth_redeem(closed, lost, 43, NOW_MS, &out),
                     GW_ERR_UNAUTHORIZED); /* nobody is anonymous any more */
    assert_null(out);
    gw_auth_unref(next);
    gw_auth_unref(closed);
}

#define THREADS 8
#define TICKETS 1000

static struct gw_auth *shared;
static char shared_tickets[TICKETS][GW_TICKET_SIZE];
static atomic_uint redeemed[TICKETS];

static void *redeem_all(void *context)
{
    size_t start = (size_t)(uintptr_t)context * 17;
    for (size_t i = 0; i < TICKETS; i++) {
        struct gw_identity *out;
        size_t n = (i + start) % TICKETS;
        if (gw_auth_redeem(shared, shared_tickets[n], 43, NOW_MS, &out) == GW_OK)
            atomic_fetch_add(&redeemed[n], 1);
        gw_identity_unref(out);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    shared = fixture_auth(blocks, NULL);
    struct gw_identity *guest = gw_auth_anonymous(shared);
    pthread_t threads[THREADS];
    for (size_t i = 0; i < TICKETS; i++)
        assert_int_equal(gw_auth_ticket(shared, guest, NOW_MS, shared_tickets[i]), GW_OK);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, redeem_all, (void *)(uintptr_t)i), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < TICKETS; i++)
        assert_int_equal(atomic_load(&redeemed[i]), 1);
    gw_identity_unref(guest);
    gw_auth_unref(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_once),         cmocka_unit_test(test_expired_identity), cmocka_unit_test(test_bound),
        cmocka_unit_test(test_bound_of_one), cmocka_unit_test(test_reload),           cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, fixture_up, fixture_down);
}
