/* present.c: a presence as somebody outside of this tree would write it, and a transport that tells what it has
 * counted: GET PATH?channel=FILTER gives the number of sessions that subscribe to that filter, and PATH alone the
 * number of sessions that have closed. Both are switched by one table.
 *
 *   present: { path: /present } */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/options.h"
#include "gateway/presence.h"
#include "gateway/transport.h"

struct present_options {
    char *path;
};

static const struct gw_field present_fields[] = {
    {.key = "path",
     .type = GW_FIELD_STRING,
     .offset = offsetof(struct present_options, path),
     .def = "/present",
     .doc = "Where the numbers are."},
    {.key = NULL},
};

static const struct gw_options present_options = {
    .key = "present", .doc = "Who is here.", .size = sizeof(struct present_options), .fields = present_fields};

struct place {
    struct place *next;
    size_t count, len;
    char filter[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct place *places; /* {lock} */
static size_t closed_count;  /* {lock} */

/* {lock} Where the filter is, or where it belongs. */
static struct place **place_find(const char *filter, size_t len)
{
    struct place **link = &places;
    while (*link && ((*link)->len != len || memcmp((*link)->filter, filter, len) != 0))
        link = &(*link)->next;
    return link;
}

static void present_subscribed(const struct gw_session *session, const char *filter, size_t len)
{
    (void)session;
    pthread_mutex_lock(&lock);
    struct place **link = place_find(filter, len);
    if (!*link) {
        *link = calloc(1, sizeof **link + len);
        (*link)->len = len;
        memcpy((*link)->filter, filter, len);
    }
    (*link)->count++;
    pthread_mutex_unlock(&lock);
}

static void present_unsubscribed(const struct gw_session *session, const char *filter, size_t len)
{
    (void)session;
    pthread_mutex_lock(&lock);
    struct place **link = place_find(filter, len), *gone = *link;
    if (!gone)
        abort(); /* the hub has told of an end without a beginning */
    if (!--gone->count) {
        *link = gone->next;
        free(gone);
    }
    pthread_mutex_unlock(&lock);
}

static void present_closed(const struct gw_session *session)
{
    (void)session;
    pthread_mutex_lock(&lock);
    closed_count++;
    pthread_mutex_unlock(&lock);
}

const struct gw_presence gw_presence_present = {
    .name = "present",
    .options = &present_options,
    .subscribed = present_subscribed,
    .unsubscribed = present_unsubscribed,
    .closed = present_closed,
};

static bool present_match(const struct gw_conn *conn, const struct gw_request *request)
{
    const struct present_options *options = gw_options_of(gw_hub_config(gw_conn_hub(conn)), &present_options);
    return gw_request_path_is(request, options->path);
}

static void present_open(struct gw_conn *conn, const struct gw_request *request)
{
    struct gw_params params = {.query = request->query};
    struct gw_buf out = {0};
    bool asked = gw_params_next(&params) && !strcmp(params.key.data, "channel");
    pthread_mutex_lock(&lock);
    const struct place *place = asked ? *place_find(params.value.data, params.value.len) : NULL;
    gw_buf_addu(&out, !asked ? closed_count : place ? place->count : 0);
    pthread_mutex_unlock(&lock);
    gw_http_reply(conn, 200, NULL, "text/plain", out.data, out.len);
    gw_params_end(&params, NULL);
    gw_buf_fini(&out);
}

const struct gw_transport gw_transport_present = {
    .name = "present", .options = &present_options, .match = present_match, .open = present_open};
