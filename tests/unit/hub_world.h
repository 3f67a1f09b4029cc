/* hub_world.h: the world in which the hub's tests try it: an engine that can do all that the seam allows, a hub,
 * clients and the way of a message from its topic to the hub. One world a process. */
#ifndef HUB_WORLD_H
#define HUB_WORLD_H

#include "gateway/config.h"
#include "gateway/hub.h"
#include "gateway/session.h"
#include "hub/hub_private.h"

#define EPOCH    "test"
#define SESSIONS 24
#define MESSAGES 4000
#define CHANNELS 7

struct client {
    struct gw_session session; /* first member */
    bool used, kicked;
    uint64_t from; /* wants everything on its channels after this */
    const char *filters[3];
    unsigned filter_count;
    uint64_t last; /* highest sequence number received */
    uint64_t gap_to[CHANNELS], gap_from[CHANNELS];
    bool got[MESSAGES + 1], excused[MESSAGES + 1];
    unsigned gaps, received;
};

/* --- hub_engine.c: an engine that delays, refuses and loses; and that has kept what hubs have not, and brings it
 * later */

enum { DELAYS = 1, REFUSES = 2, LOSES = 4, KEEPS = 8, KEEPS_BADLY = 16 };

struct gw_engine_store {
    unsigned does;
    struct gw_engine_sink sink;
    uint64_t seq;
    struct {
        struct gw_message_spec spec; /* names and payloads here are constants */
        bool lost;
    } queue[64];
    unsigned count;
};

extern struct gw_engine_store store;
extern const struct gw_engine toy, toy_that_keeps;
extern uint8_t channel_of[MESSAGES + 1]; /* index into channel_names, by number */
extern uint64_t head, seed;
extern unsigned refusals, answers, silences; /* how often the engine did so */
extern int64_t now_ms;

unsigned channel_index(const char *name);
/* Hands on that many of the messages that it holds back. */
void toy_tell(unsigned count);
void toy_mail(void *context, unsigned worker, struct gw_letter *letter);
/* The engine and the mail are at work for a while, or until all is done. */
void toy_work(bool all);
/* Nobody waits for either any more. */
void toy_finish(void);

/* --- hub_world.c */

extern const char *const channel_names[CHANNELS];
extern struct gw_config *config;
extern struct gw_hub *hub;
extern struct gw_timers timers;
extern struct gw_routes *routes;
extern struct gw_inbox *inbox;
extern struct client clients[SESSIONS];
extern uint64_t lost_to;                /* the newest number that the engine lost */
extern const struct gw_session_ops ops; /* of a client that drains when the test says so */

struct gw_config *make_config(uint32_t history, size_t queue, uint32_t channels);
void setup_hub(uint32_t history, size_t queue, uint32_t channels);
void teardown_hub(void);
/* What the hub counts of its histories is what they hold. */
void check_history_bytes(void);
/* What the engine has told goes through the inbox into the hub. */
void take_inbox(bool flush);
/* An empty payload clears. */
void offer_message(unsigned channel, const char *payload, bool retained);
void send_message(unsigned channel, const char *json, bool retained);

#endif
