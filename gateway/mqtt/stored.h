/* stored.h: values that the broker has given up while there was no connection, which nobody tells a subscriber of
 * (docs/mqtt.md "Values that were cleared meanwhile").
 *
 * After the subscriptions the broker sends what it has stored. When that has ended, the first worker's hub names the
 * channels whose value the broker had, and which have got none since. Their topics are then subscribed to one by one,
 * since brokers leave out stored messages when they are many at once, and what still does not come is cleared. Until
 * the end of the connection in which it happens nothing is cleared, so whatever goes wrong leaves things as they are.
 * Thread: the MQTT thread, unless a function says otherwise. */
#ifndef GW_MQTT_STORED_H
#define GW_MQTT_STORED_H

#include <mosquitto.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash_set.h"
#include "gateway/buf.h"
#include "hub/stored.h"

struct gw_source;

/* Topics that are subscribed to at once. */
#define GW_STORED_BATCH 500

enum gw_stored_state {
    GW_STORED_IDLE,   /* nothing to be done: no connection, or it is done */
    GW_STORED_BURST,  /* the broker sends what it has */
    GW_STORED_PROBE,  /* it seems to have ended: is everything here that was sent before this? */
    GW_STORED_ASKED,  /* the hub looks through its channels */
    GW_STORED_VERIFY, /* topics of some of them are subscribed to */
    GW_STORED_LEAVE   /* ... and unsubscribed from */
};

/* A topic that was subscribed to on its own. */
struct gw_stored_topic {
    size_t channel; /* where its channel's name begins in ask->names */
    uint64_t hash;  /* gw_hash() of it */
    int mid;        /* of its SUBSCRIBE, 0 once that was answered */
    bool refused;
};

struct gw_stored {
    enum gw_stored_state state;
    bool guess;       /* live messages don't say whether the broker stores them */
    bool kept;        /* the broker goes on with a session */
    bool again;       /* a reload came: once more from the beginning */
    bool refused;     /* the broker closes the connection on such subscriptions: leave it be */
    unsigned strikes; /* connections in a row that it closed on them */
    uint64_t round;   /* counts connections and reloads */
    int64_t since_ms; /* wall clock, when the first SUBSCRIBE left */
    /* Topics and channels of the stored messages that came on this connection, and channels that were dealt with. */
    struct gw_hash_set known;
    size_t most;                                    /* ... of them at most */
    uint64_t arrivals;                              /* stored messages on this connection */
    uint64_t seen;                                  /* ... at the last look */
    int64_t quiet_ms;                               /* none has come since; gw_monotonic_ms() */
    int probe;                                      /* mid of the UNSUBSCRIBE whose answer is waited for */
    struct gw_stored_ask *ask;                      /* with the names; NULL: none */
    size_t at;                                      /* in ask->names: what comes after this batch */
    struct gw_stored_topic topics[GW_STORED_BATCH]; /* the batch */
    size_t count, unanswered;
    struct gw_buf filters; /* of the batch, each with a NUL behind it; a kept session may have them still */
    uint64_t cleared;      /* on this connection */
    _Atomic uint64_t cleared_total;
};

void gw_stored_fini(struct gw_stored *stored);

/* CONNACK is there, and nothing is subscribed to yet. */
void gw_stored_connected(struct gw_source *source, bool session_present);
void gw_stored_lost(struct gw_source *source, bool by_broker);
/* Other routes are in force. */
void gw_stored_reloaded(struct gw_source *source);

/* The broker has sent a stored message; its topic and channels are noted by gw_stored_note(). */
static inline void gw_stored_arrived(struct gw_stored *stored)
{
    stored->arrivals++;
}
void gw_stored_note(struct gw_stored *stored, uint64_t hash);
/* Does a live message of this channel replace what the broker has stored, where messages don't say so? */
static inline bool gw_stored_guess(const struct gw_stored *stored, uint64_t channel_hash)
{
    return stored->guess && gw_hash_set_has(&stored->known, channel_hash);
}

/* A SUBACK. True: it was for one of the topics. */
bool gw_stored_subscribed(struct gw_source *source, int mid, int granted);
void gw_stored_unsubscribed(struct gw_source *source, int mid);
/* Goes on; ten times a second. */
void gw_stored_tick(struct gw_source *source, int64_t now_ms);
/* The hub's answer. Thread: any. */
void gw_stored_answered(void *source, struct gw_stored_ask *ask);

#endif
