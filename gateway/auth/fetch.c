#include "auth/fetch.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "gateway/alloc.h"

#define FETCH_MS        5000L
#define FETCH_BYTES     (1024 * 1024)
#define FETCH_REDIRECTS 3L

struct gw_fetch {
    const char *url;
    CURLM *multi;
    atomic_bool stopping;
};

struct fetch_body {
    struct gw_buf *out;
    bool too_large;
};

struct gw_fetch *gw_fetch_create(const char *url)
{
    struct gw_fetch *fetch = gw_calloc(1, sizeof *fetch);
    fetch->url = url;
    fetch->multi = curl_multi_init();
    atomic_init(&fetch->stopping, false);
    return fetch;
}

void gw_fetch_free(struct gw_fetch *fetch)
{
    if (!fetch)
        return;
    curl_multi_cleanup(fetch->multi);
    free(fetch);
}

void gw_fetch_stop(struct gw_fetch *fetch)
{
    atomic_store(&fetch->stopping, true);
    curl_multi_wakeup(fetch->multi);
}

static size_t fetch_write(char *data, size_t size, size_t count, void *context)
{
    struct fetch_body *body = context;
    size_t len = size * count;
    if (body->out->len + len > FETCH_BYTES) {
        body->too_large = true;
        return 0; /* ends the transfer */
    }
    gw_buf_add(body->out, data, len);
    return len;
}

static CURL *fetch_easy(const struct gw_fetch *fetch, struct fetch_body *body, char *error)
{
    CURL *easy = curl_easy_init();
    if (!easy)
        return NULL;
    curl_easy_setopt(easy, CURLOPT_URL, fetch->url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https"); /* the configuration allows http to loopback only */
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(easy, CURLOPT_MAXREDIRS, FETCH_REDIRECTS);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, FETCH_MS);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* don't wait for a name that is being looked up */
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "sluice/" SLUICE_VERSION);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, fetch_write);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, body);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, error);
    return easy;
}

/* Runs the transfer to its end; false: called off. */
static bool fetch_perform(struct gw_fetch *fetch, CURLcode *result)
{
    int running = 1, left;
    *result = CURLE_FAILED_INIT;
    while (running && !atomic_load(&fetch->stopping)) {
        if (curl_multi_perform(fetch->multi, &running) != CURLM_OK)
            return true;
        if (running && curl_multi_poll(fetch->multi, NULL, 0, 1000, NULL) != CURLM_OK)
            return true;
    }
    for (CURLMsg *message; (message = curl_multi_info_read(fetch->multi, &left));) {
        if (message->msg == CURLMSG_DONE)
            *result = message->data.result;
    }
    return !atomic_load(&fetch->stopping);
}

bool gw_fetch_run(struct gw_fetch *fetch, struct gw_buf *out, struct gw_buf *problem)
{
    char error[CURL_ERROR_SIZE] = "";
    struct fetch_body body = {.out = out};
    long status = 0;
    CURLcode result;
    CURL *easy = fetch->multi ? fetch_easy(fetch, &body, error) : NULL;
    if (!easy || curl_multi_add_handle(fetch->multi, easy) != CURLM_OK) {
        gw_buf_adds(problem, "no transfer can be started");
        curl_easy_cleanup(easy);
        return false;
    }
    bool whole = fetch_perform(fetch, &result);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    curl_multi_remove_handle(fetch->multi, easy);
    curl_easy_cleanup(easy);
    if (!whole)
        return false;
    if (body.too_large)
        gw_buf_printf(problem, "the answer is longer than %d bytes", FETCH_BYTES);
    else if (result != CURLE_OK)
        gw_buf_adds(problem, *error ? error : curl_easy_strerror(result));
    else if (status != 200)
        gw_buf_printf(problem, "the answer has status %ld", status);
    return !problem->len;
}
