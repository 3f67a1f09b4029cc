/* fetch.c: asking the engine for a past that the hub does not hold. A page has two owners, the session and its
 * carrier: the engine, then the mail. The session may end first, or wait no longer. */
#include "hub/session/fetch.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/container.h"
#include "gateway/hub.h"
#include "gateway/list.h"
#include "gateway/log.h"
#include "hub/channel/channel.h"
#include "hub/channel/history.h"
#include "hub/hub_private.h"
#include "hub/session/queue.h"
#include "hub/session/round.h"
#include "hub/session/subscription.h"
#include "hub/slice.h"

struct gw_fetch {
    struct gw_letter letter;
    struct gw_engine_history history;
    atomic_uint refs;
    /* The carrier's, until it is delivered: */
    struct gw_mail mail;
    unsigned worker;
    struct gw_message **messages; /* in the order of their numbers */
    size_t count, allocated, bytes;
    uint64_t reached, lost;
    /* The worker's: */
    struct gw_session *session;    /* NULL: it does not wait any more */
    struct gw_fetch *next, **link; /* of gw_fetches; link NULL: not among them */
    bool asked, here;
    int64_t due_ms;
    size_t at; /* the next message that the session has not passed */
    struct gw_slice *filters;
    char *texts;
};

static void fetch_unref(struct gw_fetch *fetch)
{
    if (atomic_fetch_sub(&fetch->refs, 1) != 1)
        return;
    for (size_t i = 0; i < fetch->count; i++)
        gw_message_unref(fetch->messages[i]);
    free(fetch->messages);
    free(fetch->filters);
    free(fetch->texts);
    free(fetch);
}

/* --- the engine's side ----------------------------------------------------------------------------------------- */

static bool fetch_on_message(struct gw_engine_history *history, const struct gw_message_spec *spec)
{
    struct gw_fetch *fetch = GW_CONTAINER_OF(history, struct gw_fetch, history);
    uint64_t before = fetch->count ? fetch->messages[fetch->count - 1]->seq : history->after;
    if (spec->seq <= before || spec->seq > history->to || fetch->count >= history->messages)
        return fetch->count < history->messages;
    struct gw_message_spec own = *spec;
    own.route = GW_ROUTE_BY_NAME;
    own.watched = (struct gw_slice){0};
    GW_GROW(fetch->messages, fetch->count, fetch->allocated, 16);
    fetch->messages[fetch->count++] = gw_message_create(&own);
    fetch->bytes += gw_message_size(fetch->messages[fetch->count - 1]);
    return fetch->count < history->messages && fetch->bytes < history->bytes;
}

static void fetch_on_done(struct gw_engine_history *history, uint64_t reached, uint64_t lost)
{
    struct gw_fetch *fetch = GW_CONTAINER_OF(history, struct gw_fetch, history);
    uint64_t newest = fetch->count ? fetch->messages[fetch->count - 1]->seq : history->after;
    fetch->reached = reached < newest ? newest : reached > history->to ? history->to : reached;
    fetch->lost = lost < fetch->reached ? lost : fetch->reached;
    fetch->mail.send(fetch->mail.context, fetch->worker, &fetch->letter);
}

/* --- who waits -------------------------------------------------------------------------------------------------- */

static void fetch_unlink(struct gw_fetches *fetches, struct gw_fetch *fetch)
{
    if (!fetch->link)
        return;
    GW_QUEUE_REMOVE(fetches->end, fetch, next, link);
    fetch->link = NULL;
}

/* The session goes on, and looks at its gaps anew: it has left some alone while it waited. */
static void fetch_resume(struct gw_session *session)
{
    session->fetching = false;
    session->fetch_to = 0;
    if (session->walking)
        session->losses = gw_loss_key(gw_round_floor(session));
    gw_session_mark_dirty(session);
}

/* The session goes on without it. */
static void fetch_give_up(struct gw_hub *hub, struct gw_fetch *fetch)
{
    struct gw_session *session = fetch->session;
    GW_STAT_ADD(&hub->stats, fetches_failed, 1);
    gw_fetch_drop(session);
    session->unfetched = true;
    fetch_resume(session);
}

/* Asks for those whose turn it is. */
static void fetches_ask(struct gw_hub *hub)
{
    struct gw_fetches *fetches = &hub->fetches;
    for (struct gw_fetch *fetch = fetches->first, *next; fetch && fetches->asked < GW_FETCHES; fetch = next) {
        next = fetch->next;
        if (fetch->asked)
            continue;
        fetch->asked = true;
        fetches->asked++;
        atomic_fetch_add(&fetch->refs, 1);
        GW_STAT_ADD(&hub->stats, fetches, 1);
        enum gw_err err = fetches->engine->history(fetches->store, &fetch->history);
        if (err == GW_OK)
            continue;
        fetches->asked--;
        fetch_unref(fetch);
        GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "hub", "engine %s refuses a part of its history: %s; clients get a gap",
                             fetches->engine->name, gw_err_code(err));
        fetch_give_up(hub, fetch);
    }
    if (fetches->first)
        gw_timer_set(hub->timers, &fetches->timer, fetches->first->due_ms);
    else
        gw_timer_cancel(hub->timers, &fetches->timer);
}

static void fetches_overdue(struct gw_timer *timer)
{
    struct gw_fetches *fetches = GW_CONTAINER_OF(timer, struct gw_fetches, timer);
    struct gw_hub *hub = GW_CONTAINER_OF(fetches, struct gw_hub, fetches);
    while (fetches->first && fetches->first->due_ms <= hub->now_ms) {
        GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "hub",
                             "engine %s has not given a part of its history in %u ms; clients get a gap",
                             fetches->engine->name, fetches->engine->history_ms);
        fetch_give_up(hub, fetches->first);
    }
    fetches_ask(hub);
}

static void fetch_deliver(struct gw_letter *letter, struct gw_hub *hub)
{
    struct gw_fetch *fetch = GW_CONTAINER_OF(letter, struct gw_fetch, letter);
    struct gw_session *session = fetch->session;
    hub->fetches.asked--;
    if (session) {
        fetch_unlink(&hub->fetches, fetch);
        if (fetch->reached == fetch->history.after) { /* nothing of it: it would be asked again and again */
            fetch_give_up(hub, fetch);
        } else {
            fetch->here = true;
            fetch_resume(session);
        }
    }
    fetch_unref(fetch);
    fetches_ask(hub);
}

static void fetch_dropped(struct gw_letter *letter)
{
    fetch_unref(GW_CONTAINER_OF(letter, struct gw_fetch, letter));
}

void gw_fetches_init(struct gw_hub *hub, const struct gw_engine *engine, struct gw_engine_store *store)
{
    hub->fetches =
        (struct gw_fetches){.engine = engine->history ? engine : NULL, .store = store, .timer.fire = fetches_overdue};
    hub->fetches.end = &hub->fetches.first;
}

void gw_fetches_fini(struct gw_hub *hub)
{
    if (hub->timers)
        gw_timer_cancel(hub->timers, &hub->fetches.timer);
}

/* --- of a session ------------------------------------------------------------------------------------------------
 */

void gw_fetch_drop(struct gw_session *session)
{
    struct gw_fetch *fetch = session->fetch;
    session->fetching = false;
    session->fetch_to = 0;
    if (!fetch)
        return;
    session->fetch = NULL;
    fetch->session = NULL;
    fetch_unlink(&session->hub->fetches, fetch);
    fetch_unref(fetch);
}

void gw_fetch_passed(struct gw_session *session)
{
    if (!session->fetch || !session->fetch->here || session->position < session->fetch->reached)
        return;
    uint64_t to = session->fetch_to;
    gw_fetch_drop(session);
    session->fetch_to = to;
}

static void fetch_copy_filters(struct gw_fetch *fetch, const struct gw_session *session)
{
    size_t len = 0;
    for (uint32_t i = 0; i < session->sub_count; i++)
        len += session->subs[i]->filter->len;
    fetch->texts = gw_malloc(len + 1);
    fetch->filters = gw_reallocarray(NULL, session->sub_count, sizeof *fetch->filters);
    char *at = fetch->texts;
    for (uint32_t i = 0; i < session->sub_count; i++) {
        const struct gw_filter *filter = session->subs[i]->filter;
        memcpy(at, filter->text, filter->len);
        fetch->filters[i] = (struct gw_slice){at, filter->len};
        at += filter->len;
    }
    fetch->history.filters = fetch->filters;
    fetch->history.filter_count = session->sub_count;
}

void gw_fetch_go_on(struct gw_session *session)
{
    struct gw_hub *hub = session->hub;
    struct gw_fetches *fetches = &hub->fetches;
    uint64_t to = session->fetch_to;
    if (!to || session->fetch)
        return;
    struct gw_fetch *fetch = gw_calloc(1, sizeof *fetch);
    fetch->letter = (struct gw_letter){.deliver = fetch_deliver, .drop = fetch_dropped};
    fetch->mail = hub->mail;
    fetch->worker = hub->worker;
    fetch->session = session;
    fetch->due_ms = hub->now_ms + fetches->engine->history_ms;
    fetch->history = (struct gw_engine_history){.after = gw_round_floor(session),
                                                .to = to,
                                                .messages = GW_FETCH_MESSAGES,
                                                .bytes = hub->config->limits.queue_bytes,
                                                .message = fetch_on_message,
                                                .done = fetch_on_done};
    atomic_init(&fetch->refs, 1);
    fetch_copy_filters(fetch, session);
    session->fetch = fetch;
    session->fetching = true;
    GW_QUEUE_ADD(fetches->end, fetch, next, link);
    fetches_ask(hub);
}

uint64_t gw_fetch_limit(const struct gw_session *session)
{
    if (!session->fetch_to)
        return UINT64_MAX;
    return session->fetch && session->fetch->here ? session->fetch->reached : session->position;
}

uint64_t gw_fetch_missing(const struct gw_round *round, uint64_t from, uint64_t evicted)
{
    struct gw_session *session = round->session;
    const struct gw_channel *channel = round->channel;
    if (!round->hub->fetches.engine || session->unfetched)
        return evicted;
    /* Of what was lost before it came here there is nothing to be had. */
    uint64_t before = gw_channel_losses(channel).lost;
    uint64_t gone = evicted > before ? evicted : gw_channel_history_evicted(channel);
    if (gone <= from)
        return evicted;
    const struct gw_fetch *fetch = session->fetch;
    bool here = fetch && fetch->here && from >= fetch->history.after;
    if ((!here || gone > fetch->reached) && gone > session->fetch_to)
        session->fetch_to = gone;
    if (!here)
        return 0; /* the position stays where it is until then */
    uint64_t lost = fetch->lost < gone ? fetch->lost : gone;
    return lost > before ? lost : before;
}

struct gw_message *gw_fetch_message(struct gw_round *round, uint64_t seq, uint64_t before)
{
    struct gw_fetch *fetch = round->session->fetch;
    if (!fetch || !fetch->here)
        return NULL;
    if (fetch->at && fetch->messages[fetch->at - 1]->seq > seq)
        fetch->at = 0;
    while (fetch->at < fetch->count && fetch->messages[fetch->at]->seq <= seq)
        fetch->at++;
    /* What is passed over here may be gone from its channel the next time. */
    for (size_t i = fetch->at; i < fetch->count && fetch->messages[i]->seq < before; i++) {
        struct gw_message *msg = fetch->messages[i];
        struct gw_channel *channel = gw_channel_find(round->hub, msg->channel.data, msg->channel.len, msg->hash);
        if (channel && msg->seq <= gw_channel_history_evicted(channel) &&
            !(channel->last && channel->last->seq == msg->seq) && gw_round_channel(round, channel) &&
            !round->interval_ms && gw_round_wants(round, msg->seq, false) &&
            !gw_message_is_expired(msg, round->hub->wall_ms))
            return msg;
    }
    return NULL;
}
