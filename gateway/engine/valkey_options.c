/* valkey_options.c: `engine:` of the configuration. */
#include "engine/valkey_options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/resp.h"
#include "gateway/alloc.h"

#define VALKEY(member) offsetof(struct gw_valkey_options, member)
#define NAME_MAX_LEN   128

static const struct gw_field tls_fields[] = {
    {.key = "ca_file",
     .type = GW_FIELD_FILE,
     .offset = VALKEY(ca_file),
     .doc = "PEM file of the CA that signed the server's certificate; without it the system's."},
    {.key = "cert_file",
     .type = GW_FIELD_FILE,
     .offset = VALKEY(cert_file),
     .doc = "Client certificate, PEM, with its chain."},
    {.key = "key_file", .type = GW_FIELD_FILE, .offset = VALKEY(key_file), .doc = "Its private key, PEM."},
    {.key = "verify_hostname",
     .type = GW_FIELD_BOOL,
     .offset = VALKEY(verify_hostname),
     .def = "true",
     .doc = "`false`: the certificate may be for another name."},
    {.key = NULL},
};

static const struct gw_field server_fields[] = {
    {.key = "url",
     .type = GW_FIELD_STRING,
     .offset = VALKEY(url),
     .doc =
         "Needed here. `redis://host[:6379][/database]`, or `rediss://` with TLS; IPv6 as `[::1]`; credentials in it "
         "are refused."},
    {.key = "username",
     .type = GW_FIELD_STRING,
     .offset = VALKEY(username),
     .doc = "Name in the server's ACL; without it the `default` one."},
    {.key = "password",
     .type = GW_FIELD_STRING,
     .offset = VALKEY(password),
     .doc = "Its password; better `${ENGINE_PASSWORD}` or `password_file` than the word itself."},
    {.key = "password_file",
     .type = GW_FIELD_FILE,
     .offset = VALKEY(password_file),
     .doc = "File whose first line (up to 1,023 bytes) is the password, instead of `password`."},
    {.key = "tls", .type = GW_FIELD_TABLE, .table = tls_fields, .doc = "For `rediss://` only."},
    {.key = NULL},
};

static const struct gw_field log_fields[] = {
    {.key = "count",
     .type = GW_FIELD_INT,
     .offset = VALKEY(log_count),
     .min = 1000,
     .max = 10000000,
     .def = "100000",
     .doc = "Messages in the shared log: how far a gateway may fall behind, and what can be added again to an engine"
            " that lost it."},
    {.key = "bytes",
     .type = GW_FIELD_SIZE,
     .offset = VALKEY(log_bytes),
     .min = INT64_C(1) << 20,
     .max = INT64_C(16384) << 20,
     .def = "64MiB",
     .doc = "Bytes of them that each gateway holds in memory."},
    {.key = NULL},
};

static const struct gw_field valkey_fields[] = {
    {.key = "valkey",
     .type = GW_FIELD_TABLE,
     .table = server_fields,
     .doc = "The Valkey or Redis server, 6.2 or later."},
    {.key = "prefix",
     .type = GW_FIELD_STRING,
     .offset = VALKEY(prefix),
     .def = "sluice",
     .doc = "Begins the names of all keys at the server: one for each cluster, the same on each of its gateways."},
    {.key = "node",
     .type = GW_FIELD_STRING,
     .offset = VALKEY(node),
     .doc = "This gateway's name, different on each; default: the host's name."},
    {.key = "lease",
     .type = GW_FIELD_DURATION,
     .offset = VALKEY(lease_ms),
     .min = 1500,
     .max = 60000,
     .def = "2s",
     .doc = "A gateway that takes messages in and is silent for so long is replaced by another."},
    {.key = "log", .type = GW_FIELD_TABLE, .table = log_fields, .doc = "The messages that all gateways share."},
    {.key = "channels",
     .type = GW_FIELD_INT,
     .offset = VALKEY(channels),
     .min = 1,
     .max = 10000000,
     .def = "100000",
     .doc = "Channels whose history the engine keeps for gateways that start; beyond that the one silent the longest "
            "goes."},
    {.key = NULL},
};

static bool options_is_name(const char *text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t len = strlen(text);
    return len && len <= NAME_MAX_LEN && strspn(text, letters) == len;
}

static void options_check_name(const char *key, const char *text, struct gw_report *report)
{
    if (text && !options_is_name(text))
        gw_report_error(report, key, "'%s' is no name (1 to 128 letters, digits, -, _ and . expected)", text);
}

static void options_read_password(struct gw_valkey_options *own, struct gw_report *report)
{
    char line[1024];
    FILE *file = fopen(own->password_file, "re");
    if (!file || !fgets(line, sizeof line, file))
        gw_report_error(report, "valkey.password_file", "can't read '%s': %s (a readable file expected)",
                        own->password_file, file ? "it is empty" : strerror(errno));
    else
        own->file_password = gw_strndup(line, strcspn(line, "\r\n"));
    if (file)
        fclose(file);
}

static void options_check(void *options, const struct gw_config *config, struct gw_report *report)
{
    (void)config;
    struct gw_valkey_options *own = options;
    char *host = NULL, *port = NULL, machine[65] = "";
    unsigned database;
    bool tls = false;
    const char *wrong = own->url ? gw_resp_parse_url(own->url, &host, &port, &database, &tls)
                                 : "it is missing (redis://host:port expected)";
    free(host);
    free(port);
    if (wrong)
        gw_report_error(report, "valkey.url", "%s", wrong); /* it may hold a password */
    if (!wrong && !tls && (own->ca_file || own->cert_file || own->key_file))
        gw_report_error(report, "valkey.tls", "it is for TLS only (rediss:// in valkey.url expected)");
    if (!own->cert_file != !own->key_file)
        gw_report_error(report, own->cert_file ? "valkey.tls.cert_file" : "valkey.tls.key_file",
                        "a certificate and its key go together (cert_file and key_file expected)");
    if (own->password && own->password_file)
        gw_report_error(report, "valkey.password_file", "there is a password as well (one of the two expected)");
    else if (own->password_file)
        options_read_password(own, report);
    if (own->username && !own->password && !own->password_file)
        gw_report_error(report, "valkey.username", "it has no password (password or password_file expected)");
    if (!own->node) {
        gethostname(machine, sizeof machine - 1);
        own->node = gw_strdup(machine);
    }
    options_check_name("prefix", own->prefix, report);
    options_check_name("node", own->node, report);
}

static void options_release(void *options)
{
    free(((struct gw_valkey_options *)options)->file_password);
}

const struct gw_options gw_valkey_options = {
    .key = "engine",
    .doc = "Several gateways with one sequence: clients go on with their cursor on any of them.",
    .size = sizeof(struct gw_valkey_options),
    .fields = valkey_fields,
    .check = options_check,
    .release = options_release,
};
