/* shared.h: what any of several gateways may take back, once, wherever its client comes to: tickets, sessions. It
 * lies in the engine that they share (engine.h). Thread: the hub's. */
#ifndef GATEWAY_SHARED_H
#define GATEWAY_SHARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/buf.h"
#include "gateway/error.h"

struct gw_hub;
struct gw_identity;

/* Does the hub's gateway share an engine with others? If not, gw_shared_put(), _take() and _claim() must not be
 * called.
 */
bool gw_hub_shares(const struct gw_hub *hub);

/* A question on its way. */
struct gw_shared_wait;

/* The answer, in a later turn of the loop. GW_OK: it has been put, or taken: `text` (NUL-terminated, borrowed) is
 * what it was. GW_ERR_NOT_FOUND: there is none such (any more). GW_ERR_OVERLOADED: the engine is away. */
typedef void (*gw_shared_done)(void *context, enum gw_err err, const char *text, size_t len);

/* Both copy what they are given. `done` NULL: nobody waits, and they return NULL. Otherwise the wait is the caller's
 * until done() is called, or until it calls gw_shared_forget() or gw_shared_return(), which it must if done() has not
 * been called when its connection or session ends: a worker that ends answers nobody. */
struct gw_shared_wait *gw_shared_put(struct gw_hub *hub, const char *key, const char *text, size_t len,
                                     int64_t ttl_ms, gw_shared_done done, void *context);
struct gw_shared_wait *gw_shared_take(struct gw_hub *hub, const char *key, gw_shared_done done, void *context);
/* For what one client at a time has, and any gateway may take over: takes what lies there and leaves `claim` in its
 * place for ttl_ms, in one step; and puts a text only while that claim lies there, or nothing does. So a gateway that
 * notices late that its client has gone elsewhere overwrites nothing newer. A claim of another's is taken as a text.
 */
struct gw_shared_wait *gw_shared_claim(struct gw_hub *hub, const char *key, const char *claim, int64_t ttl_ms,
                                       gw_shared_done done, void *context);
void gw_shared_put_claimed(struct gw_hub *hub, const char *key, const char *claim, const char *text, size_t len,
                           int64_t ttl_ms);

/* If a gateway is killed, what it kept of a connected client is deleted after this time. */
#define GW_SHARED_LIVING_MS (24 * 3600 * 1000)

/* A text within a longer one: with its length and a colon before it, and a blank behind it. Thread: any. */
void gw_shared_add_text(struct gw_buf *out, const char *text, size_t len);
/* Reads it from one that ends at `end`. Borrowed. False: there is none. */
bool gw_shared_text(const char **at, const char *end, struct gw_slice *text);

/* done() will not be called. NULL is fine. */
void gw_shared_forget(struct gw_shared_wait *wait);
/* The same, and what was taken is put back under its key for ttl_ms, unless it was claimed by another meanwhile:
 * nobody here has used it. */
void gw_shared_return(struct gw_shared_wait *wait, int64_t ttl_ms);

/* --- a client's ticket (auth.h), whichever gateway gave it out -------------------------------------------------- */

/* What gw_shared_done was told. */
struct gw_shared_answer {
    enum gw_err err;
    const char *text;
    size_t len;
};

/* Asks the engine for it. NULL: there is nothing to ask: no engine is shared, or the text is no ticket. */
struct gw_shared_wait *gw_hub_ask_ticket(struct gw_hub *hub, struct gw_slice ticket, gw_shared_done done,
                                         void *context);
/* Whose it is; it is used up. `taken`: the answer to gw_hub_ask_ticket(); NULL: it had nothing to ask. On error *why
 * is a static sentence; GW_ERR_OVERLOADED: the engine is away, and the ticket may be good. */
GW_MUST_CHECK enum gw_err gw_hub_redeem(struct gw_hub *hub, struct gw_slice ticket,
                                        const struct gw_shared_answer *taken, struct gw_identity **out,
                                        const char **why);

#endif
