/* ledger.h: the state of the engine `ledger` (ledger.c), and what its files share. */
#ifndef LEDGER_H
#define LEDGER_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "gateway/engine.h"
#include "gateway/options.h"

#define LEDGER_START 512 /* of the first group */

struct ledger_options {
    const char *path, *node;
    int64_t lease_ms;
};

/* The begin of the file; changed with the file locked. */
struct ledger_head {
    char magic[8], epoch[GW_ENGINE_EPOCH_MAX + 1];
    char owner[64]; /* who may add to it, */
    int64_t until;  /* ... and how long, wall clock, ms */
};

/* What goes in whole or not at all: a packet's messages, or a word of the leader. */
struct ledger_group {
    enum { LEDGER_PACKET = 0x6c656467, LEDGER_FENCE, LEDGER_UPSTREAM } kind;
    uint32_t bytes, count; /* this struct included; messages */
    uint16_t mid;
    bool up;
    uint64_t hash, term, seq; /* `seq`: of the last message in it. A fence's hash is that of the leader's routes */
    int64_t since;
};

/* One message, and behind it channel, JSON, payload and properties. */
struct ledger_item {
    struct gw_message_spec spec; /* its pointers are void */
    bool watched;
    size_t watched_at;
};

struct ledger_known {
    uint64_t hash;
    bool there;
};

struct gw_engine_store {
    const struct ledger_options *options;
    struct gw_engine_sink sink;
    int fd;
    char who[64], epoch[GW_ENGINE_EPOCH_MAX + 1];
    pthread_t tail, lead;
    bool started;
    off_t expected; /* the leading thread's: where its next group goes, unless another process has added one */
    int64_t asked;  /* ... when the lease was renewed */

    uint16_t mid; /* the MQTT thread's, as is what follows: the packet that is being made */
    uint64_t hash;
    struct gw_buf packet;
    uint32_t count;

    pthread_mutex_t lock;
    pthread_cond_t change;
    bool closing;                 /* {lock} as is what follows */
    off_t read;                   /* the tail has handled the file up to here */
    uint64_t read_term, read_seq; /* ... */
    uint64_t term, joined;        /* ours; 0: another one leads */
    uint64_t seq;                 /* the last number given */
    uint64_t taken, queued, safe; /* packets; `queued` is the last one of `queue` */
    struct gw_buf queue;          /* groups to be added */
    struct ledger_known known[65536];
    uint64_t digest, leader_digest; /* of the routes */
    struct gw_engine_ask *asks;     /* the newest first */
    uint64_t fenced, takeovers, redelivered, appended;
};

int64_t ledger_now(void);
/* The file, for this process alone. */
void ledger_lock(struct gw_engine_store *store);
void ledger_unlock(struct gw_engine_store *store);

/* ledger_log.c */
void *ledger_tail_run(void *store);
void *ledger_lead_run(void *store);

/* ledger_ask.c: tickets and sessions, each a file beside the ledger. */
void ledger_ask(struct gw_engine_store *store, struct gw_engine_ask *ask);
/* Thread: one. */
void ledger_serve(struct gw_engine_store *store);

#endif
