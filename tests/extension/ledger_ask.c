/* ledger_ask.c: what one process leaves and another one takes, once: a file for each, with its end on the first line.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ledger.h"

void ledger_ask(struct gw_engine_store *store, struct gw_engine_ask *ask)
{
    pthread_mutex_lock(&store->lock);
    ask->next = store->asks;
    store->asks = ask;
    pthread_cond_broadcast(&store->change);
    pthread_mutex_unlock(&store->lock);
}

/* What lies there, malloc'd; NULL: nothing, or nothing any more. */
static char *ask_read(const char *path, size_t *len)
{
    struct stat status;
    int64_t until;
    int skip = 0;
    FILE *file = fopen(path, "re");
    if (!file)
        return NULL;
    char *text = fstat(fileno(file), &status) ? NULL : calloc(1, (size_t)status.st_size + 1);
    *len = text ? fread(text, 1, (size_t)status.st_size, file) : 0;
    fclose(file);
    if (!text || sscanf(text, "%" SCNd64 "%n", &until, &skip) != 1 || until <= ledger_now()) {
        free(text);
        return NULL;
    }
    *len -= (size_t)skip + 1;
    memmove(text, text + skip + 1, *len + 1);
    return text;
}

static enum gw_err ask_write(const char *path, const char *text, size_t len, int64_t ttl_ms)
{
    FILE *file = fopen(path, "we");
    if (!file)
        return GW_ERR_OVERLOADED;
    bool good = fprintf(file, "%" PRId64 "\n", ledger_now() + ttl_ms) > 0 && fwrite(text, 1, len, file) == len;
    return fclose(file) || !good ? GW_ERR_OVERLOADED : GW_OK;
}

static enum gw_err ask_do(struct gw_engine_store *store, struct gw_engine_ask *ask)
{
    char path[4096];
    size_t len = 0;
    snprintf(path, sizeof path, "%s.%s", store->options->path, ask->key);
    char *there = ask_read(path, &len);
    if (ask->text) {
        bool may = !*ask->claim || !there || !strcmp(there, ask->claim);
        free(there);
        return may ? ask_write(path, ask->text, ask->len, ask->ttl_ms) : GW_ERR_NOT_FOUND;
    }
    enum gw_err err = GW_OK;
    if (*ask->claim)
        err = ask_write(path, ask->claim, strlen(ask->claim), ask->ttl_ms);
    else if (there && unlink(path))
        err = GW_ERR_OVERLOADED;
    if (err == GW_OK) {
        ask->text = there;
        ask->len = len;
        return there ? GW_OK : GW_ERR_NOT_FOUND;
    }
    free(there);
    return err;
}

void ledger_serve(struct gw_engine_store *store)
{
    pthread_mutex_lock(&store->lock);
    struct gw_engine_ask *list = store->asks, *first = NULL;
    store->asks = NULL;
    pthread_mutex_unlock(&store->lock);
    while (list) { /* the oldest first */
        struct gw_engine_ask *next = list->next;
        list->next = first;
        first = list;
        list = next;
    }
    if (first)
        ledger_lock(store);
    for (struct gw_engine_ask *next; first; first = next) {
        next = first->next;
        enum gw_err err = ask_do(store, first);
        first->done(first, err); /* it is the asker's again */
        if (!next)
            ledger_unlock(store);
    }
}
