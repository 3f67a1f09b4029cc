/* From roles and claims to grants: what is filled in, what never is, and that equal grants are one object. */
#include "auth_fixture.h"

static const char blocks[] = "auth:\n"
                             "  jwt: { secret_file: @/secret, permissions_claim: perm }\n"
                             "  anonymous: [viewer, historian]\n"
                             "roles:\n"
                             "  viewer: { subscribe: [\"plants/{claims.site}/#\", \"rooms/+/t\"], publish: "
                             "\"plants/{claims.site}/set\", fields: [state] }\n"
                             "  writer: { publish: [\"w/#\"] }\n"
                             "  nested: { subscribe: \"n/{claims.org.site}\" }\n"
                             "  leading: { subscribe: \"{claims.site}/x\" }\n"
                             "  product: { subscribe: \"{claims.a}/{claims.b}/#\" }\n"
                             "  historian: { subscribe: \"h/#\", history: [] }\n"
                             "  blind: { subscribe: \"secret/{claims.nothing}\", fields: [state] }\n";

static struct gw_auth *auth;

static int up(void **state)
{
    if (fixture_up(state))
        return 1;
    auth = fixture_auth(blocks, NULL);
    return !auth;
}

static int down(void **state)
{
    gw_auth_unref(auth);
    return fixture_down(state);
}

static struct gw_identity *enter(const char *name)
{
    char *token = fixture_token("grants", name);
    const char *why;
    struct gw_identity *identity = fixture_enter(auth, token, &why);
    if (!identity)
        fail_msg("%s: %s", name, why);
    free(token);
    return identity;
}

static void list_grant(void *context, enum gw_right right, const char *filter, bool projected)
{
    static const char letters[] = "sph";
    gw_buf_printf(context, "%c:%s%s ", letters[right], filter, projected ? "*" : "");
}

static void test_lists(void **state)
{
    (void)state;
#define ROOMS_ONLY "s:rooms/+/t* h:rooms/+/t* "
    static const struct {
        const char *name, *grants;
    } rows[] = {
        {"viewer", "s:plants/north/#* s:rooms/+/t* p:plants/north/set h:plants/north/#* h:rooms/+/t* "},
        {"order", "s:plants/north/#* s:rooms/+/t* p:plants/north/set p:w/# h:plants/north/#* h:rooms/+/t* "},
        {"nobody", ""},
        {"no roles", ""},
        {"roles a number", ""},
        {"roles an object", ""},
        {"integer", "s:plants/7/#* s:rooms/+/t* p:plants/7/set h:plants/7/#* h:rooms/+/t* "},
        {"list",
         "s:plants/a/#* s:plants/b/#* s:plants/3/#* s:rooms/+/t* p:plants/a/set p:plants/b/set p:plants/3/set "
         "h:plants/a/#* h:plants/b/#* h:plants/3/#* h:rooms/+/t* "},
        {"mixed", "s:plants/ok/#* s:plants/4/#* s:rooms/+/t* p:plants/ok/set p:plants/4/set h:plants/ok/#* "
                  "h:plants/4/#* h:rooms/+/t* "},
        {"hash", ROOMS_ONLY},
        {"plus", ROOMS_ONLY},
        {"slash", ROOMS_ONLY},
        {"empty", ROOMS_ONLY},
        {"float", ROOMS_ONLY},
        {"bool", ROOMS_ONLY},
        {"object", ROOMS_ONLY},
        {"none", ROOMS_ONLY},
        {"in words", ROOMS_ONLY},
        {"dollar", "s:plants/$SYS/#* s:rooms/+/t* p:plants/$SYS/set h:plants/$SYS/#* h:rooms/+/t* "},
        {"braces",
         "s:plants/{claims.sub}/#* s:rooms/+/t* p:plants/{claims.sub}/set h:plants/{claims.sub}/#* h:rooms/+/t* "},
        {"nested", "s:n/deep h:n/deep "},
        {"dotted name", "s:n/flat h:n/flat "},
        {"leading", ""},
        {"leading fine", "s:north/x h:north/x "},
        {"product", "s:1/x/# s:1/y/# s:2/x/# s:2/y/# h:1/x/# h:1/y/# h:2/x/# h:2/y/# "},
        {"history", "s:h/# "},
        {"permissions", "s:own/#* p:own/set h:own/#* "},
        {"permissions history", "s:own/#* h:own/h* "},
        {"permissions blind", "s:own/#* h:own/#* "},
        {"permissions a text", ""},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct gw_identity *identity = enter(rows[i].name);
        struct gw_buf text = {0};
        gw_buf_adds(&text, "");
        gw_grants_list(identity->grants, list_grant, &text);
        if (strcmp(text.data ? text.data : "", rows[i].grants) != 0)
            fail_msg("%s: '%s' instead of '%s'", rows[i].name, text.data, rows[i].grants);
        gw_buf_fini(&text);
        gw_identity_unref(identity);
    }
}

static void count_grant(void *context, enum gw_right right, const char *filter, bool projected)
{
    (void)right;
    (void)filter;
    (void)projected;
    ++*(size_t *)context;
}

static void test_bounds(void **state)
{
    (void)state;
    const char *const names[] = {"huge list", "product huge"};
    for (size_t i = 0; i < COUNT(names); i++) {
        struct gw_identity *identity = enter(names[i]);
        size_t count = 0;
        gw_grants_list(identity->grants, count_grant, &count);
        CHECK_ROW(count > 0 && count <= 2048, names[i]);
        gw_identity_unref(identity);
    }
}

static bool same(const char *a, const char *b)
{
    struct gw_identity *one = enter(a), *other = enter(b);
    bool equal = one->grants == other->grants;
    gw_identity_unref(one);
    gw_identity_unref(other);
    return equal;
}

static void test_interned(void **state)
{
    (void)state;
    assert_true(same("viewer", "viewer"));
    assert_true(same("viewer", "viewer again"));
    assert_true(same("order", "order again"));
    assert_true(same("hash", "slash"));
    assert_true(same("nobody", "no roles"));
    assert_false(same("viewer", "viewer south"));
    assert_false(same("viewer", "order"));
    assert_false(same("permissions", "permissions history"));
    /* The projection of a role is the same whoever has the role. */
    struct gw_identity *north = enter("viewer"), *south = enter("viewer south"), *own = enter("permissions");
    struct gw_projection *one, *other, *third;
    assert_true(gw_grants_allow(north->grants, GW_RIGHT_SUBSCRIBE, "plants/north/x", 14, &one));
    assert_true(gw_grants_allow(south->grants, GW_RIGHT_SUBSCRIBE, "plants/south/x", 14, &other));
    assert_true(gw_grants_allow(own->grants, GW_RIGHT_SUBSCRIBE, "own/x", 5, &third));
    assert_non_null(one);
    assert_ptr_equal(one, other);
    assert_ptr_equal(one, third); /* fields: [state] there, too */
    assert_false(gw_grants_allow(north->grants, GW_RIGHT_SUBSCRIBE, "plants/south/x", 14, &other));
    gw_identity_unref(north);
    gw_identity_unref(south);
    gw_identity_unref(own);
}

static void test_anonymous(void **state)
{
    (void)state;
    struct gw_identity *identity = gw_auth_anonymous(auth);
    assert_non_null(identity);
    assert_int_equal(identity->kind, GW_ANONYMOUS);
    assert_string_equal(identity->name, "anonymous");
    assert_true(gw_grants_contain(identity->grants, GW_RIGHT_SUBSCRIBE, "rooms/+/t", 9));
    assert_true(gw_grants_contain(identity->grants, GW_RIGHT_SUBSCRIBE, "h/#", 3));
    assert_false(gw_grants_contain(identity->grants, GW_RIGHT_HISTORY, "h/x", 3));
    assert_false(gw_grants_contain(identity->grants, GW_RIGHT_SUBSCRIBE, "plants/north/x", 14));
    assert_false(gw_grants_contain(identity->grants, GW_RIGHT_SUBSCRIBE, "plants/{claims.site}/x", 22));
    assert_false(gw_grants_contain(identity->grants, GW_RIGHT_SUBSCRIBE, "#", 1));
    gw_identity_unref(identity);
}

static void test_again(void **state)
{
    (void)state;
    struct gw_identity *viewer = enter("viewer"), *anonymous = gw_auth_anonymous(auth);
    /* Other keys and another role; whose token it was stays, and until when. */
    struct gw_auth *next = fixture_auth("auth:\n  jwt: { key_file: @/rsa.pem, issuer: else }\nroles: { viewer: { "
                                        "subscribe: \"new/{claims.site}\" } }\n",
                                        auth);
    struct gw_identity *again = gw_auth_again(next, viewer);
    assert_non_null(again);
    assert_string_equal(again->name, viewer->name);
    assert_true(again->expires_ms == viewer->expires_ms);
    assert_true(gw_grants_contain(again->grants, GW_RIGHT_SUBSCRIBE, "new/north", 9));
    assert_false(gw_grants_contain(again->grants, GW_RIGHT_SUBSCRIBE, "plants/north/x", 14));
    assert_null(gw_auth_again(next, anonymous));
    struct gw_identity *back = gw_auth_again(auth, again);
    assert_ptr_equal(back->grants, viewer->grants);
    gw_identity_unref(back);
    gw_identity_unref(again);
    gw_identity_unref(viewer);
    gw_identity_unref(anonymous);
    gw_auth_unref(next);
}

/* More different grants than the table remembers: nothing grows, nobody loses what he has. */
static void test_forgetting(void **state)
{
    (void)state;
    struct gw_identity *viewer = enter("viewer");
    char proof[128];
    for (int i = 0; i < 6000; i++) {
        snprintf(proof, sizeof proof, "{\"roles\":[\"viewer\"],\"site\":%d}", i);
        struct gw_identity other = {.kind = GW_TOKEN, .name = viewer->name, .proof = proof, .expires_ms = INT64_MAX};
        struct gw_identity *again = gw_auth_again(auth, &other);
        assert_non_null(again);
        gw_identity_unref(again);
    }
    assert_true(gw_grants_contain(viewer->grants, GW_RIGHT_SUBSCRIBE, "plants/north/x", 14));
    struct gw_identity *later = gw_auth_again(auth, viewer); /* the token itself is remembered with what it had */
    assert_ptr_not_equal(later->grants, viewer->grants);     /* forgotten, and made anew */
    assert_true(gw_grants_contain(later->grants, GW_RIGHT_SUBSCRIBE, "plants/north/x", 14));
    gw_identity_unref(later);
    gw_identity_unref(viewer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),     cmocka_unit_test(test_bounds), cmocka_unit_test(test_interned),
        cmocka_unit_test(test_anonymous), cmocka_unit_test(test_again),  cmocka_unit_test(test_forgetting),
    };
    return cmocka_run_group_tests(tests, up, down);
}
