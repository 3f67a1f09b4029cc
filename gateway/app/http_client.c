#include "app/http_client.h"

#include <curl/curl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"

#define ANSWER_BYTES (1024 * 1024)
#define CONNECT_MS   10000L
#define ANSWER_MS    60000L
#define SILENCE_S    120L

struct gw_http_client {
    CURL *easy;
    struct curl_slist *headers;
    struct gw_buf address;   /* scheme, host, port and base path, without a slash at the end */
    const char *unix_socket; /* borrowed; NULL: none */
    long patience_ms;
    bool own_machine; /* the address comes from the configuration */
    bool proxied;     /* the listener wants a PROXY header */
};

/* --- where ----------------------------------------------------------------------------------------------------- */

/* One without a PROXY header before one with it. */
static const struct gw_cfg_listen *client_listener(const struct gw_config *config)
{
    const struct gw_cfg_listen *best = NULL;
    for (size_t i = 0; i < config->listen_count; i++) {
        const struct gw_cfg_listen *listen_cfg = &config->listen[i];
        if (!strcmp(listen_cfg->protocol, "http") && (!best || (best->proxy_protocol && !listen_cfg->proxy_protocol)))
            best = listen_cfg;
    }
    return best;
}

static bool client_of_config(struct gw_http_client *client, const struct gw_config *config, struct gw_buf *problem)
{
    const struct gw_cfg_listen *listen_cfg = client_listener(config);
    if (!listen_cfg || (!listen_cfg->path && !listen_cfg->port)) {
        gw_buf_adds(problem, !listen_cfg ? "no listener of the configuration speaks HTTP (give --url)"
                                         : "the configuration listens on any free port (give --url)");
        return false;
    }
    const char *host = listen_cfg->host;
    if (listen_cfg->path || !strcmp(host, "0.0.0.0"))
        host = listen_cfg->path ? "localhost" : "127.0.0.1";
    else if (!strcmp(host, "::"))
        host = "::1";
    bool v6 = strchr(host, ':') != NULL;
    gw_buf_printf(&client->address, "%s://%s%s%s", listen_cfg->cert_pem ? "https" : "http", v6 ? "[" : "", host,
                  v6 ? "]" : "");
    if (!listen_cfg->path)
        gw_buf_printf(&client->address, ":%u", (unsigned)listen_cfg->port);
    if (config->web.base_path)
        gw_buf_adds(&client->address, config->web.base_path);
    client->unix_socket = listen_cfg->path;
    client->own_machine = true;
    client->proxied = listen_cfg->proxy_protocol;
    return true;
}

static bool client_of_url(struct gw_http_client *client, const char *given, struct gw_buf *problem)
{
    /* As everybody writes them: HOST:PORT, and :PORT of this machine. */
    struct gw_buf whole = {0};
    gw_buf_printf(&whole, "%s%s%s", strstr(given, "://") ? "" : "http://", *given == ':' ? "localhost" : "", given);
    const char *url = whole.data;
    CURLU *parts = curl_url();
    char *scheme = NULL, *query = NULL, *fragment = NULL, *user = NULL;
    bool good =
        parts && !curl_url_set(parts, CURLUPART_URL, url, 0) && !curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) &&
        (!strcmp(scheme, "http") || !strcmp(scheme, "https")) && curl_url_get(parts, CURLUPART_QUERY, &query, 0) &&
        curl_url_get(parts, CURLUPART_FRAGMENT, &fragment, 0) && curl_url_get(parts, CURLUPART_USER, &user, 0);
    curl_free(scheme);
    curl_free(query);
    curl_free(fragment);
    curl_free(user);
    curl_url_cleanup(parts);
    if (!good) {
        gw_buf_printf(problem, "--url %s: the gateway's address, such as http://localhost:8080, is expected", given);
        gw_buf_fini(&whole);
        return false;
    }
    gw_buf_adds(&client->address, url);
    gw_buf_fini(&whole);
    while (client->address.len && client->address.data[client->address.len - 1] == '/')
        client->address.data[--client->address.len] = '\0';
    return true;
}

struct gw_http_client *gw_http_client_create(const struct gw_http_where *where, struct gw_buf *problem)
{
    struct gw_http_client *client = gw_calloc(1, sizeof *client);
    client->patience_ms = where->patience_ms ? where->patience_ms : ANSWER_MS;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) || !(client->easy = curl_easy_init())) {
        gw_buf_adds(problem, "libcurl does not start");
    } else if (where->url ? client_of_url(client, where->url, problem)
                          : client_of_config(client, where->config, problem)) {
        if (where->token && strpbrk(where->token, "\r\n")) {
            gw_buf_adds(problem, "--token: one line is expected");
        } else if (where->token) {
            struct gw_buf header = {0};
            gw_buf_printf(&header, "Authorization: Bearer %s", where->token);
            client->headers = curl_slist_append(client->headers, header.data);
            gw_buf_fini(&header);
        }
        client->headers = curl_slist_append(client->headers, "Expect:"); /* no round trip before a body */
    }
    if (!problem->len)
        return client;
    gw_http_client_free(client);
    return NULL;
}

void gw_http_client_free(struct gw_http_client *client)
{
    if (!client)
        return;
    curl_easy_cleanup(client->easy);
    curl_slist_free_all(client->headers);
    gw_buf_fini(&client->address);
    free(client);
}

const char *gw_http_client_address(const struct gw_http_client *client)
{
    return client->unix_socket ? client->unix_socket : client->address.data;
}

void gw_http_client_escape(struct gw_buf *out, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || strchr("-._~", c))
            gw_buf_addc(out, (char)c);
        else
            gw_buf_printf(out, "%%%02X", c);
    }
}

/* --- asking ---------------------------------------------------------------------------------------------------- */

struct transfer {
    CURL *easy;
    gw_http_piece piece;
    void *context;
    struct gw_buf *answer;
    bool ended; /* by `piece` */
};

static size_t client_write(char *data, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    size_t len = size * count;
    long status = 0;
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    if (transfer->piece && status == 200) {
        transfer->ended = !transfer->piece(transfer->context, data, len);
        return transfer->ended ? 0 : len;
    }
    if (transfer->answer->len + len > ANSWER_BYTES)
        return 0;
    gw_buf_add(transfer->answer, data, len);
    return len;
}

static void client_prepare(struct gw_http_client *client, struct transfer *transfer, const char *url,
                           const struct gw_slice *body, char *error)
{
    CURL *easy = client->easy;
    curl_easy_reset(easy);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, client->headers);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "sluice/" SLUICE_VERSION);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, client_write);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    if (client->unix_socket)
        curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, client->unix_socket);
    if (client->proxied)
        curl_easy_setopt(easy, CURLOPT_HAPROXYPROTOCOL, 1L);
    if (client->own_machine) {
        /* As with `healthcheck`: the certificate is for the name that clients use, and this stays on the machine. */
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
        curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    }
    if (transfer->piece) {
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, SILENCE_S);
    } else {
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, client->patience_ms);
    }
    if (body) {
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body->len);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body->data ? body->data : "");
    }
}

bool gw_http_client_error(const struct gw_buf *json, char code[GW_HTTP_CODE_SIZE], struct gw_buf *out)
{
    json_t *root = json_loadb(json->data ? json->data : "", json->len, 0, NULL);
    const char *said = json_string_value(json_object_get(root, "code"));
    const char *message = json_string_value(json_object_get(root, "message"));
    const json_t *reason = json_object_get(root, "reason");
    if (said) {
        snprintf(code, GW_HTTP_CODE_SIZE, "%s", said);
        gw_buf_printf(out, "%s: %s", said, message ? message : "refused");
        if (json_is_integer(reason))
            gw_buf_printf(out, " (the broker's reason code is %lld)", (long long)json_integer_value(reason));
        if (!strcmp(said, "unauthorized") || !strcmp(said, "expired"))
            gw_buf_adds(out, " (--token with a valid one is expected)");
    }
    json_decref(root);
    return said != NULL;
}

/* Only a JSON object with a code is the gateway's word (docs/protocol.md). */
static enum gw_http_outcome client_refused(const struct gw_http_client *client, long status,
                                           const struct gw_buf *answer, struct gw_buf *problem)
{
    char code[GW_HTTP_CODE_SIZE];
    bool gateway = gw_http_client_error(answer, code, problem);
    if (!gateway)
        gw_buf_printf(problem, "%s answers with status %ld, and not as a gateway does",
                      gw_http_client_address(client), status);
    return gateway && status < 500 && status != 429 && status != 408 ? GW_HTTP_REFUSED : GW_HTTP_LATER;
}

/* What to look at when no answer comes. */
static const char *client_advice(CURLcode result)
{
    switch (result) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return " (check the host's name)";
    case CURLE_COULDNT_CONNECT:
        return " (is the gateway running, and is this its address? `sluice doctor -c FILE` looks)";
    case CURLE_SSL_CONNECT_ERROR:
        return " (does this listener have tls:? Without it the address begins with http://)";
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return " (is this the port of the gateway and not that of the broker? With tls: it begins with https://)";
    default:
        return "";
    }
}

enum gw_http_outcome gw_http_client_ask(struct gw_http_client *client, const char *path, const struct gw_slice *body,
                                        gw_http_piece piece, void *context, struct gw_buf *answer,
                                        struct gw_buf *problem)
{
    char error[CURL_ERROR_SIZE] = "";
    struct transfer transfer = {.easy = client->easy, .piece = piece, .context = context, .answer = answer};
    struct gw_buf url = {0};
    gw_buf_printf(&url, "%s%s", client->address.data, path);
    client_prepare(client, &transfer, url.data, body, error);
    CURLcode result = curl_easy_perform(client->easy);
    long status = 0;
    curl_easy_getinfo(client->easy, CURLINFO_RESPONSE_CODE, &status);
    gw_buf_fini(&url);
    if (transfer.ended)
        return GW_HTTP_GOOD;
    if (result != CURLE_OK) {
        gw_buf_printf(problem, "no answer from %s: %s%s", gw_http_client_address(client),
                      *error ? error : curl_easy_strerror(result), client_advice(result));
        return GW_HTTP_LATER;
    }
    return status >= 200 && status < 300 ? GW_HTTP_GOOD : client_refused(client, status, answer, problem);
}
