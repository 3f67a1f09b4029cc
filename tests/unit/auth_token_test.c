/* Tokens, keys and what attackers make of them (RFC 8725). */
#include "auth_fixture.h"

#define TRUST ", issuer: \"https://id.example\", audience: [sluice, sluice-2] }\n"

static const struct {
    const char *name, *jwt;
} configs[] = {
    {"rsa", "{ key_file: @/rsa.pem" TRUST},     {"cert", "{ key_file: @/cert.pem" TRUST},
    {"ec", "{ key_file: @/ec.pem" TRUST},       {"ec384", "{ key_file: @/ec384.pem" TRUST},
    {"ec521", "{ key_file: @/ec521.pem" TRUST}, {"ed", "{ key_file: @/ed.pem" TRUST},
    {"hs", "{ secret_file: @/secret" TRUST},    {"short", "{ secret_file: @/short32" TRUST},
    {"set", "{ jwks_file: @/set.json" TRUST},   {"only", "{ key_file: @/rsa.pem, algorithms: [RS256]" TRUST},
};

static void test_tokens(void **state)
{
    (void)state;
    size_t done = 0;
    for (size_t i = 0; i < COUNT(configs); i++) {
        char blocks[512];
        snprintf(blocks, sizeof blocks, "auth:\n  jwt: %s", configs[i].jwt);
        struct gw_auth *auth = fixture_auth(blocks, NULL);
        struct fixture_row row;
        for (char *at = NULL; fixture_next(&at, &row);) {
            if (strcmp(row.config, configs[i].name) != 0)
                continue;
            const char *why = NULL;
            struct gw_identity *identity;
            enum gw_err err = gw_auth_token(auth, row.token, strlen(row.token), NOW_MS, &identity, &why);
            const char *got = err == GW_OK ? "ok" : gw_err_code(err);
            if (strcmp(got, row.expected) != 0 || (identity != NULL) != (err == GW_OK))
                fail_msg("%s, %s: %s (%s) instead of %s", row.config, row.name, got, why ? why : "", row.expected);
            if (err != GW_OK && !strstr(why, row.reason))
                fail_msg("%s, %s: '%s' instead of '%s'", row.config, row.name, why, row.reason);
            gw_identity_unref(identity);
            done++;
        }
        gw_auth_unref(auth);
    }
    assert_true(done > 250); /* the table was read */
}

/* Bytes that no text has. */
static void test_octets(void **state)
{
    (void)state;
    struct gw_auth *auth = fixture_auth("auth:\n  jwt: { secret_file: @/secret" TRUST, NULL);
    char *good = fixture_token("hs", "HS256"), bytes[9000];
    size_t len = strlen(good);
    uint64_t seed = 1;
    struct gw_identity *identity;
    const char *why;
    for (size_t i = 0; i < 2000; i++) {
        size_t size = check_random(&seed) % sizeof bytes;
        for (size_t j = 0; j < size; j++)
            bytes[j] = check_random(&seed) % 16 ? (char)check_random(&seed) : '.';
        assert_int_equal(gw_auth_token(auth, bytes, size, NOW_MS, &identity, &why), GW_ERR_UNAUTHORIZED);
    }
    for (size_t i = 0; i < len; i++) { /* a NUL anywhere */
        memcpy(bytes, good, len);
        bytes[i] = '\0';
        assert_int_equal(gw_auth_token(auth, bytes, len, NOW_MS, &identity, &why), GW_ERR_UNAUTHORIZED);
    }
    assert_int_equal(gw_auth_token(auth, "", 0, NOW_MS, &identity, &why), GW_ERR_UNAUTHORIZED);
    free(good);
    gw_auth_unref(auth);
}

static void test_identity(void **state)
{
    (void)state;
    struct gw_auth *auth = fixture_auth("auth:\n  jwt: { secret_file: @/secret" TRUST, NULL);
    char *token = fixture_token("hs", "HS256");
    const char *why;
    struct gw_identity *identity = fixture_enter(auth, token, &why);
    assert_int_equal(identity->kind, GW_TOKEN);
    assert_string_equal(identity->name, "ann");
    assert_true(identity->expires_ms == NOW_MS + 60000 + 10000);
    assert_non_null(strstr(identity->proof, "\"sub\""));
    assert_null(strchr(identity->proof, '.') ? strstr(identity->proof, strrchr(token, '.')) : NULL);
    gw_identity_unref(identity);
    /* The same token later. */
    assert_int_equal(gw_auth_token(auth, token, strlen(token), NOW_MS + 70000, &identity, &why), GW_ERR_EXPIRED);
    assert_int_equal(gw_auth_token(auth, token, strlen(token), NOW_MS + 69999, &identity, &why), GW_OK);
    gw_identity_unref(identity);
    free(token);
    gw_auth_unref(auth);
}

/* The second time a token is not verified; a token that differs in its last character is, and so is one that was
 * taken by keys that are gone. */
static void test_verified_once(void **state)
{
    (void)state;
    static const struct {
        const char *keys, *config, *alg;
    } rows[] = {{"key_file: @/rsa.pem", "rsa", "RS256"}, {"key_file: @/ec.pem", "ec", "ES256"}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        char blocks[512];
        snprintf(blocks, sizeof blocks, "auth:\n  jwt: { %s" TRUST, rows[i].keys);
        struct gw_auth *auth = fixture_auth(blocks, NULL);
        char *token = fixture_token(rows[i].config, rows[i].alg);
        size_t len = strlen(token);
        const char *why;
        struct gw_identity *first = fixture_enter(auth, token, &why), *second = fixture_enter(auth, token, &why),
                           *none;
        assert_ptr_equal(first, second);
        assert_int_equal(gw_auth_token(auth, token, len, NOW_MS + 3600000, &none, &why), GW_ERR_EXPIRED);
        assert_int_equal(gw_auth_token(auth, token, len - 1, NOW_MS, &none, &why), GW_ERR_UNAUTHORIZED);
        /* After a reload with another key it is nothing. */
        snprintf(blocks, sizeof blocks, "auth:\n  jwt: { key_file: @/%s" TRUST, i ? "rsa.pem" : "ec.pem");
        struct gw_auth *next = fixture_auth(blocks, auth);
        assert_int_equal(gw_auth_token(next, token, len, NOW_MS, &none, &why), GW_ERR_UNAUTHORIZED);
        gw_identity_unref(first);
        gw_identity_unref(second);
        free(token);
        gw_auth_unref(next);
        gw_auth_unref(auth);
    }
}

static void test_bad_files(void **state)
{
    (void)state;
    static const struct {
        const char *jwt, *problem;
    } rows[] = {
        {"key_file: @/weak.pem",
         "auth.jwt.key_file: an RSA key has under 2048 bits (a PEM public key or certificate"},
        {"key_file: @/private.pem", "auth.jwt.key_file: it holds a private key"},
        {"key_file: @/garbage.pem", "auth.jwt.key_file: it can't be read"},
        {"key_file: @/secret", "auth.jwt.key_file: it can't be read"},
        {"secret_file: @/short31", "auth.jwt.secret_file: it has 31 bytes (32 or more, random, expected)"},
        {"secret_file: @/empty", "auth.jwt.secret_file: it has 0 bytes"},
        {"secret_file: @/rsa.pem", "auth.jwt.secret_file: it is PEM"},
        {"jwks_file: @/weak.json",
         "auth.jwt.jwks_file: none of its keys can be used: an RSA key has under 2048 bits"},
        {"jwks_file: @/rsa.pem", "auth.jwt.jwks_file: it is no JSON (a JSON Web Key Set"},
        {"jwks_file: @/empty", "auth.jwt.jwks_file: it is no JSON"},
        {"key_file: @/ec.pem, algorithms: RS256", "auth.jwt.algorithms: none of them goes with key_file"},
        {"secret_file: @/short32, algorithms: [HS512, RS256]",
         "auth.jwt.algorithms: none of them goes with secret_file"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char blocks[256];
        snprintf(blocks, sizeof blocks, "auth:\n  jwt: { %s }\n", rows[i].jwt);
        struct gw_config *config = fixture_config(blocks);
        struct gw_auth *auth;
        struct gw_buf problem = {0};
        CHECK_ROW(gw_auth_create(config, NULL, &auth, &problem) != GW_OK && !auth, rows[i].jwt);
        if (!problem.data || strncmp(problem.data, rows[i].problem, strlen(rows[i].problem)) != 0)
            fail_msg("%s: %s", rows[i].jwt, problem.data);
        CHECK_ROW(!strchr(problem.data, '\n'), rows[i].jwt);
        gw_buf_fini(&problem);
        gw_config_unref(config);
    }
}

static void test_api_keys(void **state)
{
    (void)state;
    char key[48], hash[72], other[48], other_hash[72], blocks[512];
    gw_auth_make_key(key, hash);
    gw_auth_make_key(other, other_hash);
    assert_int_equal(strlen(key), 47);
    assert_int_equal(strlen(hash), 71);
    assert_string_not_equal(key, other);
    snprintf(blocks, sizeof blocks,
             "auth:\n  api_keys:\n    - { name: kiosk, hash: \"%s\", roles: viewer }\n    - { name: known, roles: "
             "[], hash: \"sha256:"
             "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae\" }\n"
             "roles: { viewer: { subscribe: [\"a/#\", \"b/{claims.site}\"] } }\n",
             hash);
    struct gw_auth *auth = fixture_auth(blocks, NULL), *without;
    const char *why;
    struct gw_identity *identity = fixture_enter(auth, key, &why);
    assert_non_null(identity);
    assert_string_equal(identity->name, "kiosk");
    assert_int_equal(identity->kind, GW_API_KEY);
    assert_true(identity->expires_ms == INT64_MAX);
    assert_true(gw_grants_contain(identity->grants, GW_RIGHT_SUBSCRIBE, "a/b", 3));
    assert_false(gw_grants_contain(identity->grants, GW_RIGHT_SUBSCRIBE, "b/x", 3));
    assert_null(strstr(identity->proof, key));
    struct gw_identity *foo = fixture_enter(auth, "foo", &why); /* its SHA-256 is well known */
    assert_non_null(foo);
    assert_string_equal(foo->name, "known");
    gw_identity_unref(foo);
    assert_null(fixture_enter(auth, other, &why));
    assert_string_equal(why, "the API key is not known");
    assert_null(fixture_enter(auth, hash, &why)); /* the hash is no key */
    assert_null(fixture_enter(auth, hash + 7, &why));
    assert_null(fixture_enter(auth, "slk_a.b.c", &why));
    key[46] = key[46] == 'A' ? 'E' : 'A';
    assert_null(fixture_enter(auth, key, &why));
    char *token = fixture_token("hs", "HS256");
    assert_null(fixture_enter(auth, token, &why));
    assert_string_equal(why, "no tokens are taken here");
    free(token);
    /* Reloads: the key stays, the key goes, auth: has nobody in it. */
    struct gw_identity *again = gw_auth_again(auth, identity);
    assert_ptr_equal(again, identity);
    gw_identity_unref(again);
    without = fixture_auth("auth: { anonymous: [] , jwt: { key_file: @/rsa.pem } }\n", auth);
    assert_null(gw_auth_again(without, identity));
    assert_null(gw_auth_anonymous(without));
    gw_identity_unref(identity);
    gw_auth_unref(without);
    gw_auth_unref(auth);
}

static void test_without(void **state)
{
    (void)state;
    struct gw_config *config = fixture_config("");
    struct gw_auth *auth = (struct gw_auth *)1;
    struct gw_buf problem = {0};
    assert_int_equal(gw_auth_create(config, NULL, &auth, &problem), GW_OK);
    assert_null(auth);
    assert_null(gw_auth_anonymous(auth));
    gw_auth_unref(gw_auth_ref(auth));
    gw_buf_fini(&problem);
    gw_config_unref(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens),        cmocka_unit_test(test_octets),    cmocka_unit_test(test_identity),
        cmocka_unit_test(test_verified_once), cmocka_unit_test(test_bad_files), cmocka_unit_test(test_api_keys),
        cmocka_unit_test(test_without),
    };
    return cmocka_run_group_tests(tests, fixture_up, fixture_down);
}
