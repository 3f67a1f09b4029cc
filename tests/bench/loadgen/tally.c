/* tally.c: every payload is "#<number>,<nanoseconds>,xxx…": the number counts up on its channel, so that loss,
 * doubles and disorder show; the time is when it was published. '#' stands in no envelope of any server, and nothing
 * here needs escaping in JSON, so one search finds a payload in whatever frame it comes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loadgen.h"

/* Latencies are counted in buckets that are 1/128 of their power of two wide. */
#define SUB_BITS 7
#define BUCKETS  (64 << SUB_BITS)

struct tally tally;
int64_t tally_read_at;
static uint64_t buckets[BUCKETS], samples;
static uint64_t *sent;        /* of each channel */
static unsigned *subscribers; /* of each channel */

void tally_init(void)
{
    sent = calloc(options.channels, sizeof *sent);
    subscribers = calloc(options.channels, sizeof *subscribers);
    for (unsigned i = 0; i < options.clients; i++)
        subscribers[i % options.channels]++;
}

void tally_payload(unsigned channel, char *out)
{
    char head[64];
    int len = snprintf(head, sizeof head, "#%llu,%lld,", (unsigned long long)sent[channel], (long long)now_ns());
    memset(out, 'x', options.payload);
    memcpy(out, head, (size_t)len);
    sent[channel]++;
    tally.published++;
    tally.expected += subscribers[channel];
}

static unsigned bucket_of(uint64_t ns)
{
    if (ns < 1u << SUB_BITS)
        return (unsigned)ns;
    unsigned power = 63 - (unsigned)__builtin_clzll(ns);
    return (power - SUB_BITS + 1) << SUB_BITS | (unsigned)(ns >> (power - SUB_BITS) & ((1u << SUB_BITS) - 1));
}

static double bucket_middle(unsigned bucket)
{
    if (bucket < 1u << SUB_BITS)
        return bucket;
    unsigned shift = (bucket >> SUB_BITS) - 1;
    return ((double)((1u << SUB_BITS) | (bucket & ((1u << SUB_BITS) - 1))) + 0.5) * (double)(1ull << shift);
}

static uint64_t number(const char **at)
{
    uint64_t value = 0;
    while (**at >= '0' && **at <= '9')
        value = value * 10 + (uint64_t)(*(*at)++ - '0');
    return value;
}

bool tally_receive(struct client *client, const char *text, size_t len)
{
    const char *at = memchr(text, '#', len);
    if (!at)
        return false;
    at++;
    uint64_t got = number(&at);
    at++;
    int64_t latency = tally_read_at - (int64_t)number(&at);
    buckets[bucket_of(latency > 0 ? (uint64_t)latency : 0)]++;
    samples++;
    if (got == client->next) {
        client->next++;
        tally.delivered++;
    } else if (got > client->next) { /* what is skipped counts as lost; if it comes later, that is disorder as well */
        tally.lost += got - client->next;
        tally.delivered += got + 1 - client->next;
        client->next = got + 1;
    } else if (got + 1 == client->next) {
        tally.doubled++;
    } else {
        tally.disordered++;
    }
    return true;
}

void tally_forget_latency(void)
{
    memset(buckets, 0, sizeof buckets);
    samples = 0;
}

double tally_latency(double share)
{
    uint64_t wanted = (uint64_t)((double)samples * share), seen = 0;
    if (samples && wanted == samples)
        wanted--; /* share 1: the largest */
    for (unsigned i = 0; i < BUCKETS; i++) {
        seen += buckets[i];
        if (seen > wanted)
            return bucket_middle(i);
    }
    return 0;
}

void tally_close(const struct client *clients)
{
    for (unsigned i = 0; i < options.clients; i++)
        tally.lost += sent[clients[i].channel] - clients[i].next;
}

void client_ready(struct client *client)
{
    if (!client->ready) {
        client->ready = true;
        tally.ready++;
    }
}
