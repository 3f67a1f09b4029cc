/* names.c: client identifiers: who has which, in the whole process; take-over, and the sessions that are kept.
 *
 * An identifier belongs to an identity: two clients with different ones never meet, whatever they call themselves.
 * The names are in one table under a mutex; a client is touched by its own worker only. A client that gets the name
 * of one on another worker waits for a letter: by then what that one leaves is in the table. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/hash.h"
#include "gateway/list.h"
#include "gateway/log.h"
#include "gateway/mail.h"
#include "gateway/shared.h"
#include "gateway/table.h"
#include "mqttd/client.h"

/* A name, and who has it or what is kept for it. As many as there are connected clients, which limits.connections
 * bounds, and kept sessions, which mqtt.sessions bounds. */
struct holder {
    struct gw_table_item item; /* first member */
    struct gw_mqttd_kept *kept;
    struct holder *newer, **kept_link; /* in the list of those with `kept` */
    uint64_t serial;                   /* of the client; 0: nobody */
    unsigned worker;                   /* where it is */
    char name[];
};

static struct {
    pthread_mutex_t mutex;
    struct gw_table table;
    struct holder *oldest, **kept_end; /* with `kept` */
    uint32_t kept_count;
    uint64_t serials;
} names = {.mutex = PTHREAD_MUTEX_INITIALIZER, .kept_end = &names.oldest};

/* The clients of this worker. */
static _Thread_local struct gw_mqttd_client *clients;

/* --- the table. Thread: any, with the mutex. ------------------------------------------------------------------- */

static struct holder *names_get(const char *name)
{
    size_t len = strlen(name);
    uint64_t hash = gw_hash(name, len);
    for (struct gw_table_item *item = gw_table_first(&names.table, hash); item; item = gw_table_next(item)) {
        if (!strcmp(((struct holder *)item)->name, name))
            return (struct holder *)item;
    }
    struct holder *holder = gw_calloc(1, sizeof *holder + len + 1);
    memcpy(holder->name, name, len + 1);
    gw_table_add(&names.table, &holder->item, hash);
    return holder;
}

/* What is kept for the name, which is the caller's from here on; NULL: nothing. */
static struct gw_mqttd_kept *names_unkeep(struct holder *holder)
{
    struct gw_mqttd_kept *kept = holder->kept;
    if (!kept)
        return NULL;
    GW_QUEUE_REMOVE(names.kept_end, holder, newer, kept_link);
    holder->kept = NULL;
    names.kept_count--;
    return kept;
}

/* Nobody has it, and nothing is kept for it. */
static void names_forget(struct holder *holder)
{
    if (holder->serial || holder->kept)
        return;
    gw_table_remove(&names.table, &holder->item);
    free(holder);
    if (!names.table.count)
        gw_table_empty(&names.table); /* nothing is left behind at the end of the process */
}

static void names_drop(struct holder *holder)
{
    gw_mqttd_kept_free(names_unkeep(holder));
    names_forget(holder);
}

static void names_keep(struct holder *holder, struct gw_mqttd_kept *kept, uint32_t most, int64_t now_ms)
{
    gw_mqttd_kept_free(names_unkeep(holder));
    holder->kept = kept;
    GW_QUEUE_ADD(names.kept_end, holder, newer, kept_link);
    names.kept_count++;
    while (names.oldest != holder && gw_mqttd_kept_until(names.oldest->kept) <= now_ms)
        names_drop(names.oldest);
    while (names.kept_count > most) {
        GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "mqtt", "a kept session was given up: mqtt.sessions (%u) reached", most);
        names_drop(names.oldest);
    }
}

/* --- clients. Thread: the worker that the client is on. -------------------------------------------------------- */

/* Identity and identifier in one text. Neither has a NUL, and the identity's length says where it ends. */
static char *name_make(const struct gw_mqttd_client *client, struct gw_slice client_id)
{
    const struct gw_identity *identity = client->session.identity;
    struct gw_buf name = {0};
    if (identity)
        gw_buf_printf(&name, "%d:%zu:%s/", (int)identity->kind, strlen(identity->name), identity->name);
    else
        gw_buf_addc(&name, '/');
    gw_buf_add(&name, client_id.data, client_id.len);
    return gw_buf_take(&name);
}

static struct gw_mqttd_client *client_find(uint64_t serial)
{
    struct gw_mqttd_client *client = clients;
    while (client && client->serial != serial)
        client = client->next;
    return client;
}

void gw_mqttd_leave(struct gw_mqttd_client *client)
{
    if (!client->name)
        return;
    int64_t now = gw_hub_now(client->session.hub);
    struct gw_mqttd_kept *kept = client->connected ? gw_mqttd_keep(client, now) : NULL;
    uint32_t most = gw_mqttd_config(client)->sessions;
    gw_mqttd_recall_forget(client);
    if (kept)
        gw_mqttd_share(client, kept);
    pthread_mutex_lock(&names.mutex);
    struct holder *holder = names_get(client->name);
    bool own = holder->serial == client->serial;
    if (own)
        holder->serial = 0;
    if (kept)
        names_keep(holder, kept, most, now);
    else if (own && client->connected)
        gw_mqttd_kept_free(names_unkeep(holder));
    names_forget(holder);
    pthread_mutex_unlock(&names.mutex);
    GW_LIST_REMOVE(client, next, link);
    free(client->name);
    client->name = NULL;
}

/* Section 3.1.4. */
static void client_taken_over(uint64_t serial)
{
    struct gw_mqttd_client *client = client_find(serial);
    if (!client)
        return;
    if (!client->connected)
        client->version = 0; /* CONNACK has no word for it */
    gw_mqttd_fail(client, GW_MQTTD_TAKEN_OVER, "another client has connected with this identifier");
    gw_mqttd_leave(client);
    gw_mqttd_send_will(client);
    gw_session_close(&client->session);
}

/* What is kept here, unless it is too late. */
static struct gw_mqttd_kept *client_kept(struct gw_mqttd_client *client)
{
    pthread_mutex_lock(&names.mutex);
    struct gw_mqttd_kept *kept = names_unkeep(names_get(client->name));
    pthread_mutex_unlock(&names.mutex);
    if (kept && gw_mqttd_kept_until(kept) <= gw_hub_now(client->session.hub)) {
        gw_mqttd_kept_free(kept);
        kept = NULL;
    }
    return kept;
}

/* What the engine says counts, since another gateway may have had the client meanwhile. */
static void client_recalled(struct gw_mqttd_client *client, struct gw_mqttd_kept *kept, enum gw_err err)
{
    struct gw_mqttd_kept *own = client_kept(client);
    if (err == GW_ERR_OVERLOADED) {
        kept = own;
        own = NULL;
    }
    gw_mqttd_kept_free(own);
    gw_mqttd_connected(client, kept);
    gw_mqttd_resume(client);
}

static void client_proceed(struct gw_mqttd_client *client)
{
    /* Also for a clean session: before it is told so, no other gateway must find the old one. */
    if (gw_hub_shares(client->session.hub) && !client->assigned[0]) {
        client->waiting = true;
        gw_mqttd_recall(client, client_recalled);
        return;
    }
    gw_mqttd_connected(client, client_kept(client));
}

/* --- letters --------------------------------------------------------------------------------------------------- */

/* "End your client `before`", and on its way back "it has ended". */
struct ask {
    struct gw_letter letter; /* first member */
    uint64_t before, serial; /* of the one that has the name now */
    unsigned worker;         /* where that is */
};

static void ask_drop(struct gw_letter *letter)
{
    free(letter);
}

static void ask_answered(struct gw_letter *letter, struct gw_hub *hub)
{
    (void)hub;
    struct gw_mqttd_client *client = client_find(((struct ask *)letter)->serial);
    free(letter);
    if (!client || client->ended || !client->waiting)
        return;
    client_proceed(client);
    gw_mqttd_resume(client);
}

static void ask_asked(struct gw_letter *letter, struct gw_hub *hub)
{
    struct ask *ask = (struct ask *)letter;
    client_taken_over(ask->before);
    letter->deliver = ask_answered;
    gw_hub_send(hub, ask->worker, letter);
}

void gw_mqttd_take_name(struct gw_mqttd_client *client, struct gw_slice client_id)
{
    struct gw_hub *hub = client->session.hub;
    unsigned worker = gw_hub_worker(hub);
    client->name = name_make(client, client_id);
    pthread_mutex_lock(&names.mutex);
    struct holder *holder = names_get(client->name);
    uint64_t before = holder->serial;
    unsigned where = holder->worker;
    holder->serial = client->serial = ++names.serials;
    holder->worker = worker;
    pthread_mutex_unlock(&names.mutex);
    GW_LIST_ADD(clients, client, next, link);
    if (before && where != worker) {
        struct ask *ask = gw_calloc(1, sizeof *ask);
        *ask = (struct ask){{NULL, ask_asked, ask_drop}, before, client->serial, worker};
        client->waiting = true;
        gw_hub_send(hub, where, &ask->letter);
        return;
    }
    if (before)
        client_taken_over(before);
    client_proceed(client);
}
