/* admission.c: which connections come in: how many there are, in all and from each address, how fast they come from
 * one, and how much memory the process has. */
#include "net/admission.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/alloc.h"
#include "gateway/clock.h"
#include "gateway/hash.h"

#define BUCKETS 4096
/* Addresses whose rates are known. Beyond them the addresses that are the least in debt are forgotten. */
#define RATE_SETS       4096
#define RATE_WAYS       4
#define MEMORY_EVERY_NS 1000000000

struct entry {
    struct in6_addr address;
    uint32_t count;
    struct entry *next;
};

/* A token bucket as one number (the generic cell rate algorithm): each thing moves it ahead by 1/rate seconds, and it
 * may be one second ahead of the clock. */
struct rate {
    struct in6_addr address;
    int64_t ahead_ns;
};

struct rates {
    struct rate sets[RATE_SETS][RATE_WAYS]; /* pages that nothing touches take no memory */
};

struct gw_admission {
    pthread_mutex_t lock;
    uint32_t all;                     /* {lock} */
    struct entry *buckets[BUCKETS];   /* {lock} an entry lives while its count is above 0 */
    struct rates connects, publishes; /* {lock} */
    int64_t memory_next_ns;           /* {lock} when to look again */
    size_t memory;                    /* {lock} resident bytes, as last read */
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

/* A subscriber of IPv6 has 2^64 addresses: they count as one. */
static struct in6_addr admission_key(const struct in6_addr *address)
{
    struct in6_addr key = *address;
    if (!IN6_IS_ADDR_V4MAPPED(address) && !IN6_IS_ADDR_LOOPBACK(address))
        memset(&key.s6_addr[8], 0, 8);
    return key;
}

static struct entry **admission_find(struct gw_admission *admission, const struct in6_addr *key)
{
    struct entry **link = &admission->buckets[gw_hash((const char *)key, sizeof *key) % BUCKETS];
    while (*link && memcmp(&(*link)->address, key, sizeof *key) != 0)
        link = &(*link)->next;
    return link;
}

static bool rates_in_time(struct rates *rates, const struct in6_addr *key, uint32_t per_second)
{
    struct rate *set = rates->sets[gw_hash((const char *)key, sizeof *key) / BUCKETS % RATE_SETS], *own = set;
    int64_t now = gw_monotonic_ns(), step = 1000000000 / per_second;
    for (unsigned i = 0; i < RATE_WAYS; i++) {
        if (!memcmp(&set[i].address, key, sizeof *key)) {
            own = &set[i];
            break;
        }
        if (set[i].ahead_ns < own->ahead_ns)
            own = &set[i];
    }
    if (memcmp(&own->address, key, sizeof *key) != 0)
        *own = (struct rate){.address = *key};
    int64_t from = own->ahead_ns > now ? own->ahead_ns : now;
    if (from + step - now > 1000000000)
        return false;
    own->ahead_ns = from + step;
    return true;
}

static bool admission_has_memory(struct gw_admission *admission, size_t most)
{
    int64_t now = gw_monotonic_ns();
    if (now >= admission->memory_next_ns) {
        char text[128];
        int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
        ssize_t got = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
        unsigned long long size, resident;
        text[got > 0 ? got : 0] = '\0';
        if (got > 0 && sscanf(text, "%llu %llu", &size, &resident) == 2)
            admission->memory = (size_t)resident * (size_t)sysconf(_SC_PAGESIZE);
        if (fd >= 0)
            close(fd);
        admission->memory_next_ns = now + MEMORY_EVERY_NS;
    }
    return admission->memory <= most;
}

/* {lock} */
static enum gw_admit admission_count(struct gw_admission *admission, const struct in6_addr *address,
                                     const struct gw_cfg_limits *limits)
{
    struct in6_addr key = admission_key(address);
    bool bounded = !IN6_IS_ADDR_UNSPECIFIED(address);
    struct entry **link = admission_find(admission, &key);
    if (bounded && limits->connections_per_address && *link && (*link)->count >= limits->connections_per_address)
        return GW_ADMIT_ADDRESS_FULL;
    if (bounded && limits->connect_rate && !rates_in_time(&admission->connects, &key, limits->connect_rate))
        return GW_ADMIT_RATE;
    if (!*link) {
        *link = gw_calloc(1, sizeof **link);
        (*link)->address = key;
    }
    (*link)->count++;
    return GW_ADMIT;
}

/* {lock} */
static bool admission_drop(struct gw_admission *admission, const struct in6_addr *address)
{
    struct in6_addr key = admission_key(address);
    struct entry **link = admission_find(admission, &key), *gone = *link;
    if (!gone)
        return false;
    if (!--gone->count) {
        *link = gone->next;
        free(gone);
    }
    return true;
}

enum gw_admit gw_admission_enter(struct gw_admission *admission, const struct in6_addr *address,
                                 const struct gw_cfg_limits *limits)
{
    enum gw_admit result = GW_ADMIT_FULL;
    pthread_mutex_lock(&admission->lock);
    if (limits->memory_bytes && !admission_has_memory(admission, limits->memory_bytes))
        result = GW_ADMIT_MEMORY;
    else if (admission->all < limits->connections)
        result = admission_count(admission, address, limits);
    if (result == GW_ADMIT)
        admission->all++;
    pthread_mutex_unlock(&admission->lock);
    return result;
}

enum gw_admit gw_admission_name(struct gw_admission *admission, const struct in6_addr *address,
                                const struct gw_cfg_limits *limits)
{
    pthread_mutex_lock(&admission->lock);
    enum gw_admit result = admission_count(admission, address, limits);
    if (result == GW_ADMIT)
        admission_drop(admission, &in6addr_any);
    pthread_mutex_unlock(&admission->lock);
    return result;
}

bool gw_admission_may_publish(struct gw_admission *admission, const struct in6_addr *address, uint32_t per_second)
{
    if (!per_second || IN6_IS_ADDR_UNSPECIFIED(address))
        return true;
    struct in6_addr key = admission_key(address);
    pthread_mutex_lock(&admission->lock);
    bool may = rates_in_time(&admission->publishes, &key, per_second);
    pthread_mutex_unlock(&admission->lock);
    return may;
}

void gw_admission_leave(struct gw_admission *admission, const struct in6_addr *address)
{
    pthread_mutex_lock(&admission->lock);
    if (admission_drop(admission, address))
        admission->all--;
    pthread_mutex_unlock(&admission->lock);
}
