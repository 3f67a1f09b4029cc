/* auth_fixture.h: keys and tokens that make_tokens.py made in a folder of their own, and configurations over them. */
#ifndef TESTS_AUTH_FIXTURE_H
#define TESTS_AUTH_FIXTURE_H

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "gateway/auth.h"

#define NOW_MS INT64_C(1800000000000)

static char fixture_folder[] = "/tmp/sluice-auth-XXXXXX";
static char *fixture_tokens;

static inline int fixture_remove(const char *path, const struct stat *status, int kind, struct FTW *at)
{
    (void)status;
    (void)kind;
    (void)at;
    return remove(path);
}

static inline int fixture_down(void **state)
{
    (void)state;
    free(fixture_tokens);
    fixture_tokens = NULL;
    return nftw(fixture_folder, fixture_remove, 8, FTW_DEPTH | FTW_PHYS);
}

static inline char *fixture_path(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", fixture_folder, name);
    return path;
}

static inline pid_t fixture_python(const char *script, const char *argument)
{
    pid_t pid = fork();
    if (!pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* nothing outlives the test */
        execl("/usr/bin/python3", "python3", script, argument, (char *)NULL);
        _exit(127);
    }
    return pid;
}

static inline void fixture_write(const char *name, const char *text)
{
    char temporary[256];
    snprintf(temporary, sizeof temporary, "%s.new", fixture_path(name));
    FILE *file = fopen(temporary, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(rename(temporary, fixture_path(name)), 0);
}

/* NULL if there is none (yet). Caller frees. */
static inline char *fixture_read(const char *name)
{
    FILE *file = fopen(fixture_path(name), "r");
    if (!file)
        return NULL;
    char *text = NULL;
    size_t cap = 0;
    ssize_t len = getdelim(&text, &cap, 0, file); /* none of the texts has a NUL */
    fclose(file);
    if (len < 0) {
        free(text);
        return NULL;
    }
    return text;
}

static inline int fixture_up(void **state)
{
    (void)state;
    if (!mkdtemp(fixture_folder))
        return 1;
    int status = 1;
    pid_t pid = fixture_python("tests/support/make_tokens.py", fixture_folder);
    if (waitpid(pid, &status, 0) != pid || status)
        return 1;
    fixture_tokens = fixture_read("tokens.tsv");
    return fixture_tokens ? 0 : 1;
}

struct fixture_row {
    char *config, *name, *expected, *token, *reason;
};

/* The next row of tokens.tsv: start with *at = NULL. The row is valid until the next call. */
static inline bool fixture_next(char **at, struct fixture_row *row)
{
    static char *line;
    if (!*at)
        *at = fixture_tokens;
    free(line);
    line = NULL;
    if (!**at)
        return false;
    size_t len = strcspn(*at, "\x1e");
    line = strndup(*at, len);
    *at += len + ((*at)[len] == '\x1e');
    char **fields[] = {&row->config, &row->name, &row->expected, &row->token, &row->reason};
    char *rest = line;
    for (size_t i = 0; i < COUNT(fields); i++)
        *fields[i] = strsep(&rest, "\t");
    return row->reason != NULL;
}

/* The token of that name; caller frees. */
static inline char *fixture_token(const char *config, const char *name)
{
    struct fixture_row row;
    char *found = NULL;
    for (char *at = NULL; fixture_next(&at, &row);) {
        if (!found && !strcmp(row.config, config) && !strcmp(row.name, name))
            found = strdup(row.token);
    }
    if (!found)
        fail_msg("no token '%s' for '%s'", name, config);
    return found;
}

/* A configuration with these blocks; "@" in them stands for the folder. */
static inline struct gw_config *fixture_config(const char *blocks)
{
    struct gw_buf text = {0}, problems = {0};
    struct gw_config *config = NULL;
    gw_buf_adds(&text, "broker: { url: mqtt://127.0.0.1:1883 }\nroutes: [{ topic: a/# }]\n");
    for (const char *at = blocks; *at; at++) {
        if (*at == '@')
            gw_buf_adds(&text, fixture_folder);
        else
            gw_buf_addc(&text, *at);
    }
    fixture_write("sluice.yaml", text.data);
    if (gw_config_load(fixture_path("sluice.yaml"), &config, &problems) != GW_OK)
        fail_msg("%s", problems.data);
    gw_buf_fini(&text);
    gw_buf_fini(&problems);
    return config;
}

/* The auth of these blocks, or a failed test. */
static inline struct gw_auth *fixture_auth(const char *blocks, struct gw_auth *previous)
{
    struct gw_config *config = fixture_config(blocks);
    struct gw_auth *auth = NULL;
    struct gw_buf problem = {0};
    if (gw_auth_create(config, previous, &auth, &problem) != GW_OK || !gw_auth_start(auth, &problem))
        fail_msg("%s", problem.data);
    gw_buf_fini(&problem);
    gw_config_unref(config);
    return auth;
}

/* NULL: refused; *why has the reason. */
static inline struct gw_identity *fixture_enter(struct gw_auth *auth, const char *token, const char **why)
{
    struct gw_identity *identity;
    enum gw_err err = gw_auth_token(auth, token, strlen(token), NOW_MS, &identity, why);
    assert_true((err == GW_OK) == (identity != NULL));
    assert_true(err == GW_OK || *why);
    return identity;
}

#endif
