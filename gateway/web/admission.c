/* admission.c: how many connections there are, in all and from each address. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "web/server.h"

#define BUCKETS 4096

struct entry {
    struct in6_addr address;
    uint32_t count;
    struct entry *next;
};

struct gw_admission {
    pthread_mutex_t lock;
    uint32_t all;                    /* {lock} */
    struct entry *buckets[BUCKETS];  /* {lock} an entry lives while its count is above 0 */
};

struct gw_admission *gw_admission_create(void)
{
    struct gw_admission *admission = gw_calloc(1, sizeof *admission);
    pthread_mutex_init(&admission->lock, NULL);
    return admission;
}

void gw_admission_destroy(struct gw_admission *admission)
{
    if (!admission)
        return;
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct entry *entry = admission->buckets[i], *next; entry; entry = next) {
            next = entry->next;
            free(entry);
        }
    }
    pthread_mutex_destroy(&admission->lock);
    free(admission);
}

static struct entry **admission_find(struct gw_admission *admission, const struct in6_addr *address)
{
    struct entry **link = &admission->buckets[gw_hash((const char *)address, sizeof *address) % BUCKETS];
    while (*link && memcmp(&(*link)->address, address, sizeof *address) != 0)
        link = &(*link)->next;
    return link;
}

enum gw_admit gw_admission_enter(struct gw_admission *admission, const struct in6_addr *address, uint32_t max_all,
                                 uint32_t max_each)
{
    enum gw_admit result = GW_ADMIT;
    pthread_mutex_lock(&admission->lock);
    struct entry **link = admission_find(admission, address);
    if (admission->all >= max_all) {
        result = GW_ADMIT_FULL;
    } else if (max_each && *link && (*link)->count >= max_each) {
        result = GW_ADMIT_ADDRESS_FULL;
    } else {
        if (!*link) {
            *link = gw_calloc(1, sizeof **link);
            (*link)->address = *address;
        }
        (*link)->count++;
        admission->all++;
    }
    pthread_mutex_unlock(&admission->lock);
    return result;
}

void gw_admission_leave(struct gw_admission *admission, const struct in6_addr *address)
{
    pthread_mutex_lock(&admission->lock);
    struct entry **link = admission_find(admission, address);
    if (*link) {
        admission->all--;
        if (!--(*link)->count) {
            struct entry *gone = *link;
            *link = gone->next;
            free(gone);
        }
    }
    pthread_mutex_unlock(&admission->lock);
}
