/* names.c: client identifiers: who has which, in the whole process.
 *
 * An identifier belongs to an identity: two clients with different ones never meet, whatever they call themselves.
 * The names are in one table under a mutex; a client is touched by its own worker only. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "gateway/hash.h"
#include "mqttd/client.h"

/* A name and who has it. As many as there are connected clients, which limits.connections bounds. */
struct holder {
    struct holder *next; /* of the same slot */
    uint64_t hash;
    uint64_t serial; /* of the client */
    unsigned worker; /* where it is */
    char name[];
};

static struct {
    pthread_mutex_t mutex;
    struct holder **slots; /* a power of two */
    size_t slot_count, count;
    uint64_t serials;
} names = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* The clients of this worker. */
static _Thread_local struct gw_mqttd_client *clients;

/* Where the holder of that name hangs, or would. */
static struct holder **names_find(const char *name, uint64_t hash)
{
    struct holder **link = &names.slots[hash & (names.slot_count - 1)];
    while (*link && ((*link)->hash != hash || strcmp((*link)->name, name) != 0))
        link = &(*link)->next;
    return link;
}

static void names_grow(void)
{
    if (names.count < names.slot_count)
        return;
    size_t before = names.slot_count;
    struct holder **old = names.slots;
    names.slot_count = before ? before * 2 : 64;
    names.slots = gw_calloc(names.slot_count, sizeof(struct holder *));
    for (size_t i = 0; i < before; i++) {
        for (struct holder *holder = old[i], *next; holder; holder = next) {
            next = holder->next;
            struct holder **slot = &names.slots[holder->hash & (names.slot_count - 1)];
            holder->next = *slot;
            *slot = holder;
        }
    }
    free(old);
}

/* Identity and identifier in one text. Neither has a NUL, and the identity's length says where it ends. */
static char *name_make(const struct gw_mqttd_client *client, struct gw_slice client_id)
{
    const struct gw_identity *identity = client->session.identity;
    struct gw_buf name;
    gw_buf_init(&name);
    if (identity)
        gw_buf_printf(&name, "%d:%zu:%s/", (int)identity->kind, strlen(identity->name), identity->name);
    else
        gw_buf_addc(&name, '/');
    gw_buf_add(&name, client_id.data, client_id.len);
    return gw_buf_take(&name);
}

/* Section 3.1.4. Thread: the worker that the client is on. */
static void client_taken_over(uint64_t serial)
{
    for (struct gw_mqttd_client *client = clients; client; client = client->next) {
        if (client->serial == serial) {
            gw_mqttd_fail(client, GW_MQTTD_TAKEN_OVER, "another client has connected with this identifier");
            return;
        }
    }
}

void gw_mqttd_take_name(struct gw_mqttd_client *client, struct gw_slice client_id)
{
    unsigned worker = gw_hub_worker(client->session.hub);
    client->name = name_make(client, client_id);
    uint64_t hash = gw_hash(client->name, strlen(client->name)), before = 0;
    pthread_mutex_lock(&names.mutex);
    names_grow();
    client->serial = ++names.serials;
    struct holder **link = names_find(client->name, hash);
    if (!*link) {
        *link = gw_calloc(1, sizeof **link + strlen(client->name) + 1);
        (*link)->hash = hash;
        strcpy((*link)->name, client->name);
        names.count++;
    } else {
        before = (*link)->serial;
    }
    (*link)->serial = client->serial;
    (*link)->worker = worker;
    pthread_mutex_unlock(&names.mutex);
    client->next = clients;
    client->link = &clients;
    if (client->next)
        client->next->link = &client->next;
    clients = client;
    if (before)
        client_taken_over(before);
}

void gw_mqttd_give_name(struct gw_mqttd_client *client)
{
    if (!client->name)
        return;
    pthread_mutex_lock(&names.mutex);
    struct holder **link = names.count ? names_find(client->name, gw_hash(client->name, strlen(client->name))) : NULL;
    struct holder *holder = link ? *link : NULL;
    if (holder && holder->serial == client->serial) {
        *link = holder->next;
        free(holder);
        names.count--;
    }
    if (!names.count) { /* nothing is left behind at the end of the process */
        free(names.slots);
        names.slots = NULL;
        names.slot_count = 0;
    }
    pthread_mutex_unlock(&names.mutex);
    *client->link = client->next;
    if (client->next)
        client->next->link = client->link;
    free(client->name);
    client->name = NULL;
}
