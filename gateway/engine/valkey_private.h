/* valkey_private.h: the state of the engine `valkey`. Two threads of its own, with a connection each: one reads the
 * log and is the only one that calls the sink's message(), lost() and epoch(), which may wait (valkey_tail.c); the
 * other sends, keeps the lease and takes it over (valkey_lead.c, valkey_send.c), and never waits for a worker. A
 * third one asks on behalf of clients (valkey_ask.c). */
#ifndef GW_ENGINE_VALKEY_PRIVATE_H
#define GW_ENGINE_VALKEY_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/resp.h"
#include "engine/valkey_entry.h"
#include "gateway/engine.h"

#define GW_VALKEY_WHO_MAX 160
#define GW_VALKEY_MIDS    65536

/* The names of everything that we have at the server. */
struct gw_valkey_keys {
    char *log, *channels, *meta, *lease, *epoch, *histories, *shared;
};

/* Questions of clients (valkey_ask.c). */
struct gw_valkey_asks {
    pthread_mutex_t lock;
    pthread_cond_t work;                /* {lock} there is one, or it is over */
    struct gw_engine_ask *first, **end; /* {lock} those that wait */
    unsigned count;                     /* {lock} of them */
    size_t bytes;                       /* {lock} of what they put */
    bool running;                       /* {lock} */
    int64_t stop_by_ms;                 /* {lock} at the end, for what waits then */
    pthread_t thread;
    struct gw_resp resp;   /* the thread's */
    int64_t away_until_ms; /* the thread's: until then it does not try to connect */
};

/* What a process knows of a packet by the log. */
struct gw_valkey_known {
    uint64_t hash, count; /* count: entries with a packet identifier so far; 0: none */
};

/* What was sent and not answered yet, in order. */
struct gw_valkey_flight {
    bool renewal;    /* of the lease; otherwise a batch */
    uint64_t ticket; /* the last packet of it */
    unsigned count;  /* messages in it */
    int64_t sent_ns;
};

#define GW_VALKEY_FLIGHTS 8

struct gw_valkey_pipe {
    struct gw_valkey_flight flights[GW_VALKEY_FLIGHTS];
    unsigned first, count;
    struct gw_entry_id last; /* the newest entry that was sent, or the fence */
    int64_t renewed_ms;      /* when the last renewal that was granted was sent */
    int64_t asked_ms;        /* when the last one was sent */
    bool watched;            /* its replies wake the thread that sends: it has sent some of it, or more waits */
    const char *failed;      /* why we lead no more, found by the MQTT thread; NULL: it has found nothing */
};

struct gw_engine_store {
    struct gw_resp_server server;
    struct gw_tls_peer peer;
    struct gw_tls_reason tls_reason; /* while it is opened */
    char *host, *port;
    const char *node; /* borrowed from the options */
    struct gw_valkey_keys keys;
    char who[GW_VALKEY_WHO_MAX]; /* this process: node, a colon, and random bits */
    int64_t lease_ms;
    uint32_t log_count, channels;
    size_t log_bytes;
    struct gw_engine_sink sink;
    pthread_t tail_thread, lead_thread;
    bool started;
    struct gw_resp tail, commands; /* each its thread's; before start() main's */
    struct gw_valkey_asks asks;
    pthread_mutex_t line;       /* taken before `lock`: `commands` and `pipe`, while this process leads */
    struct gw_valkey_pipe pipe; /* {line} */
    int wake_fd;                /* the thread that sends */
    char append_sha[41];        /* of gw_script_append at the server; that thread's */
    char told[256];             /* what it has logged last of a server that is away, or refuses; empty: all is well */

    struct gw_entry_list packet; /* the MQTT thread's: what the next commit() makes whole */
    uint16_t packet_mid;         /* ... its identifier */
    uint64_t packet_hash;

    pthread_mutex_t lock;
    pthread_cond_t moved;                /* {lock} `read` or `closing` has changed */
    atomic_bool closing;                 /* written with {lock} */
    char epoch[GW_ENGINE_EPOCH_MAX + 1]; /* the tail's; written with {lock} */
    struct gw_entry_list queue;          /* {lock} numbered, not sent */
    struct gw_entry_list sent;           /* {lock} sent, and not read back; only who sends forgets any unread */
    struct gw_entry_list memory;         /* {lock} read: the newest of the log */
    uint64_t term, joined;               /* {lock} our term, 0: we don't lead; that of the MQTT side */
    uint64_t seq;                        /* {lock} the last number given, in our term */
    uint64_t taken, safe;                /* {lock} packets */
    struct gw_entry_id read;             /* {lock} the newest entry that we have read */
    char leader[GW_VALKEY_WHO_MAX];      /* {lock} who wrote the newest fence that we have read */
    uint64_t digest, leader_digest;      /* {lock} of our routes, and of its */
    char run[64];                        /* {lock} ... at which run of the server */
    struct gw_valkey_known *known;       /* {lock} by packet identifier */
    uint64_t known_count;                /* {lock} */
    bool resigned;                       /* {lock} the leader went in order: the lease is free */
    struct gw_entry_id newest;           /* {lock} that was sent last, */
    int64_t newest_ns;                   /* {lock} ... and when */
    bool busy;                           /* {lock} the sending thread looks at the queue by itself, */
    bool much;                           /* {lock} ... also once there is so much that it goes at once */
    bool starved;                        /* {lock} there was no room() */
    bool cluster_up;                     /* {lock} the leader has its connection to the broker */
    int64_t cluster_since;               /* {lock} */
    int64_t stuck_since;                 /* {lock} */
    _Atomic uint64_t appended, fenced, mended, lost, takeovers, redelivered;
    _Atomic int64_t append_ns; /* how long the last batch took */
    _Atomic bool up;           /* the tail is connected */
    _Atomic bool stuck;        /* nobody takes messages in, though the log can be read: until the next fence */
};

/* valkey_load.c. Thread: main. */
enum gw_err gw_valkey_load(struct gw_engine_store *store, const struct gw_engine_load *load, struct gw_buf *error);

/* valkey_tail.c */
void *gw_valkey_tail_run(void *store);
/* Notes an entry of the log that was read: what is known of packets, the last leader, the memory. Takes it over.
 * {lock} is held. */
void gw_valkey_note(struct gw_engine_store *store, struct gw_entry *entry);

/* Is it an error by which the server refused a command? They begin with a word in capitals; some our scripts give. */
bool gw_valkey_is_refusal(const char *error);
/* Thread of both: the one that sends. Was something else logged last of a server that is away, or refuses? */
bool gw_valkey_is_news(struct gw_engine_store *store, const char *why);
/* The log can be read, and nobody adds to it: clients are told, until the next fence. */
void gw_valkey_stuck(struct gw_engine_store *store, const char *why);

/* Logs it if the leader has other routes than we. */
void gw_valkey_compare(struct gw_engine_store *store);

/* valkey_ask.c */
void gw_valkey_asks_init(struct gw_engine_store *store);
bool gw_valkey_asks_start(struct gw_engine_store *store);
void gw_valkey_asks_stop(struct gw_engine_store *store);
void gw_valkey_asks_fini(struct gw_engine_store *store);
void gw_valkey_ask(struct gw_engine_store *store, struct gw_engine_ask *ask);

/* valkey_in.c */
extern const struct gw_engine_shared gw_valkey_shared;
enum gw_err gw_valkey_append(struct gw_engine_store *store, struct gw_message_spec *draft);

/* valkey_term.c. Thread: the one that sends. */
struct gw_valkey_lead {
    struct gw_engine_store *store;
    bool readable;       /* replies may be there */
    int64_t again_ms;    /* until then connections to a server that takes no writes are left as they are */
    int64_t free_ms;     /* since when the lease has been seen free; 0: it is not */
    char server_run[64]; /* the server's run id, as of this connection */
};

bool gw_valkey_connect(struct gw_valkey_lead *lead);
/* Takes the lease where it is free, and begins a term. How long to wait until the next try. */
int64_t gw_valkey_try(struct gw_valkey_lead *lead);
/* Everything below `term` is over: what it had queued was numbered by nobody. {line} is held. */
void gw_valkey_depose(struct gw_valkey_lead *lead, const char *why);

/* valkey_lead.c */
void *gw_valkey_lead_run(void *store);
void gw_valkey_wake(struct gw_engine_store *store);

/* valkey_send.c. Thread: the one that sends; while we lead also the MQTT thread, each with {line}. */
/* So many entries go while others are on their way; fewer wait for the reply, and go together. */
#define GW_VALKEY_MUCH    64
#define GW_VALKEY_BATCHES 4 /* in flight */

/* Of the queue at most: what the MQTT thread sends by itself, which must not wait for room in the socket. */
#define GW_VALKEY_DIRECT_BYTES 16384

/* The MQTT thread has committed what was at hand. It sends that by itself where nothing is on its way: that saves a
 * wake-up of the thread that sends, and another one by the reply, since the tail reads the entries back anyway. */
void gw_valkey_flush(struct gw_engine_store *store);
/* Packets up to this one are safe. True: that is new, and the sink has to hear of it. {lock} is held. */
bool gw_valkey_is_safe(struct gw_engine_store *store, uint64_t ticket);

/* Is there a batch, and should it go now? {lock} is held. */
bool gw_valkey_may_send(const struct gw_engine_store *store, const struct gw_valkey_pipe *pipe);
/* Sends a batch of the queue, if there is one. False: the connection is gone. */
bool gw_valkey_send_batch(struct gw_engine_store *store, struct gw_valkey_pipe *pipe);
bool gw_valkey_send_renewal(struct gw_engine_store *store, struct gw_valkey_pipe *pipe);
/* Takes the replies that are there. False: we lead no more, *why says why. */
bool gw_valkey_take_replies(struct gw_engine_store *store, struct gw_valkey_pipe *pipe, const char **why);
/* Adds whatever of our memory is above `top` to the log. */
bool gw_valkey_mend(struct gw_engine_store *store, struct gw_entry_id top);
/* The top of the log; all 0 if there is none. */
bool gw_valkey_top(struct gw_engine_store *store, struct gw_resp *resp, struct gw_entry_id *top);

#endif
