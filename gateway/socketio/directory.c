/* directory.c: which worker has which session of Engine.IO. */
#include "socketio/directory.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "gateway/alloc.h"
#include "gateway/hash.h"
#include "gateway/random.h"

#define BUCKETS 4096

struct entry {
    struct entry *next;
    struct eio *eio;
    unsigned worker;
    enum eio_place place;
    char sid[SIO_ID_SIZE];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry *buckets[BUCKETS];
static size_t count;

void gw_sio_id_make(char id[SIO_ID_SIZE])
{
    uint8_t bytes[32];
    char text[GW_BASE64URL_32];
    gw_random(bytes, sizeof bytes);
    gw_base64url_32(bytes, text);
    memcpy(id, text, SIO_ID_SIZE - 1);
    id[SIO_ID_SIZE - 1] = '\0';
}

/* The lock is held. Ids are random: comparing them tells nothing that helps to guess one. */
static struct entry **directory_at(const char *sid)
{
    struct entry **at = &buckets[gw_hash(sid, strlen(sid)) % BUCKETS];
    while (*at && strcmp((*at)->sid, sid) != 0)
        at = &(*at)->next;
    return at;
}

bool gw_eio_directory_add(const char *sid, struct eio *eio, unsigned worker, size_t most)
{
    struct entry *entry = gw_calloc(1, sizeof *entry);
    *entry = (struct entry){.eio = eio, .worker = worker, .place = EIO_POLLING};
    memcpy(entry->sid, sid, SIO_ID_SIZE);
    pthread_mutex_lock(&lock);
    bool room = count < most;
    if (room) {
        struct entry **at = directory_at(sid);
        entry->next = *at;
        *at = entry;
        count++;
    }
    pthread_mutex_unlock(&lock);
    if (!room)
        free(entry);
    return room;
}

enum eio_place gw_eio_directory_find(const char *sid, unsigned *worker)
{
    pthread_mutex_lock(&lock);
    const struct entry *entry = *directory_at(sid);
    enum eio_place place = entry ? entry->place : EIO_NOWHERE;
    *worker = entry ? entry->worker : 0;
    pthread_mutex_unlock(&lock);
    return place;
}

struct eio *gw_eio_directory_own(const char *sid, unsigned worker)
{
    pthread_mutex_lock(&lock);
    const struct entry *entry = *directory_at(sid);
    struct eio *eio = entry && entry->worker == worker ? entry->eio : NULL;
    pthread_mutex_unlock(&lock);
    return eio;
}

static bool directory_change(const char *sid, enum eio_place from, enum eio_place to)
{
    pthread_mutex_lock(&lock);
    struct entry *entry = *directory_at(sid);
    bool is = entry && entry->place == from;
    if (is)
        entry->place = to;
    pthread_mutex_unlock(&lock);
    return is;
}

bool gw_eio_directory_probe(const char *sid)
{
    return directory_change(sid, EIO_POLLING, EIO_PROBING);
}

void gw_eio_directory_probe_failed(const char *sid)
{
    directory_change(sid, EIO_PROBING, EIO_POLLING);
}

void gw_eio_directory_move(const char *sid, struct eio *eio, unsigned worker)
{
    pthread_mutex_lock(&lock);
    struct entry *entry = *directory_at(sid);
    if (entry) {
        entry->place = EIO_UPGRADED;
        entry->worker = worker;
        entry->eio = eio;
    }
    pthread_mutex_unlock(&lock);
}

void gw_eio_directory_remove(const char *sid)
{
    pthread_mutex_lock(&lock);
    struct entry **at = directory_at(sid), *entry = *at;
    if (entry) {
        *at = entry->next;
        count--;
    }
    pthread_mutex_unlock(&lock);
    free(entry);
}
