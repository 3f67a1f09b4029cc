/* history.c: a channel's history: its instance, and the channel that needs none yet. */
#include "hub/channel/history.h"

#include "hub/hub_private.h"
#include "hub/keep.h"
#include "route/routes.h"

/* Can a history with these bounds do without an instance while it holds this message alone? */
static bool history_needs_none(const struct gw_cfg_route *policy, const struct gw_message *msg)
{
    return !policy->history_engine->kept && policy->history.count && !policy->history.age_ms &&
           (!msg || (!msg->clear && gw_message_size(msg) <= policy->history.bytes));
}

/* With what it holds: the last value, if there is one and it is not too old. */
static void history_open(struct gw_hub *hub, struct gw_channel *channel, const struct gw_cfg_route *policy)
{
    hub->channels.history_bytes -= gw_channel_history_bytes(channel);
    channel->engine = policy->history_engine;
    channel->history = channel->engine->open(&policy->history, 0);
    if (channel->last) {
        channel->engine->append(channel->history, channel->last, hub->wall_ms);
        channel->engine->expire(channel->history, hub->wall_ms);
    }
    hub->channels.history_bytes += channel->engine->bytes(channel->history);
}

void gw_channel_history_begin(struct gw_channel *channel, const struct gw_cfg_route *policy, uint64_t evicted)
{
    channel->engine = policy->history_engine;
    if (evicted || !history_needs_none(policy, NULL))
        channel->history = channel->engine->open(&policy->history, evicted);
}

struct move {
    struct gw_hub *hub;
    struct gw_channel *channel; /* with its new history */
};

static bool history_move(void *context, struct gw_message *msg)
{
    const struct move *move = context;
    move->channel->engine->append(move->channel->history, msg, move->hub->wall_ms);
    return true;
}

/* A reload: what the old engine has goes into the new one. */
static void history_change_engine(struct gw_hub *hub, struct gw_channel *channel, const struct gw_cfg_route *policy)
{
    const struct gw_history_engine *old_engine = channel->engine;
    struct gw_history *old = channel->history;
    gw_channel_keep_no_more(hub, channel, false);
    channel->engine = policy->history_engine;
    channel->history = channel->engine->open(&policy->history, old_engine->evicted(old));
    struct move move = {hub, channel};
    old_engine->read(old, 0, history_move, &move);
    channel->engine->expire(channel->history, hub->wall_ms); /* its newest message may be too old, too */
    hub->channels.history_bytes += channel->engine->bytes(channel->history) - old_engine->bytes(old);
    old_engine->close(old);
    gw_channel_keep_all(hub, channel);
}

void gw_channel_history_limit(struct gw_hub *hub, struct gw_channel *channel, const struct gw_cfg_route *policy)
{
    if (!channel->history) {
        bool other = channel->engine != policy->history_engine;
        channel->engine = policy->history_engine;
        if (history_needs_none(policy, channel->last))
            return;
        history_open(hub, channel, policy);
        if (other)
            gw_channel_keep_all(hub, channel);
        return;
    }
    if (channel->engine != policy->history_engine) {
        history_change_engine(hub, channel, policy);
        return;
    }
    size_t before = channel->engine->bytes(channel->history);
    channel->engine->limit(channel->history, &policy->history, hub->wall_ms);
    hub->channels.history_bytes += channel->engine->bytes(channel->history) - before;
    gw_channel_keep_bounds(hub, channel);
}

void gw_channel_history_append(struct gw_hub *hub, struct gw_channel *channel, struct gw_message *msg)
{
    if (!channel->history) { /* its route is of the table in force, or no message would have come */
        const struct gw_cfg_route *policy = gw_routes_get(hub->routes, channel->route);
        if (!channel->last_seq && history_needs_none(policy, msg)) {
            hub->channels.history_bytes += gw_message_size(msg);
            return;
        }
        history_open(hub, channel, policy);
    }
    size_t before = channel->engine->bytes(channel->history);
    channel->engine->append(channel->history, msg, hub->wall_ms);
    hub->channels.history_bytes += channel->engine->bytes(channel->history) - before;
}

void gw_channel_history_expire(struct gw_hub *hub, struct gw_channel *channel)
{
    if (!channel->history)
        return; /* nothing of it expires */
    size_t before = channel->engine->bytes(channel->history);
    channel->engine->expire(channel->history, hub->wall_ms);
    hub->channels.history_bytes += channel->engine->bytes(channel->history) - before;
}

void gw_channel_history_drop(struct gw_hub *hub, struct gw_channel *channel)
{
    if (!channel->history) { /* so its history is its last value */
        /* One whose route is gone gets no more messages; one that has yet to meet a reload gets its bounds then. */
        static const struct gw_history_limits none;
        bool current = channel->route != GW_ROUTE_BY_NAME && channel->policy_at == hub->channels.policy_at;
        const struct gw_history_limits *limits =
            current ? &gw_routes_get(hub->routes, channel->route)->history : &none;
        hub->channels.history_bytes -= gw_channel_history_bytes(channel);
        /* Not last_seq: what the engine lost since is reported as lost, and is not to be had from anywhere. */
        channel->history = channel->engine->open(limits, channel->last->seq);
        return;
    }
    hub->channels.history_bytes -= channel->engine->bytes(channel->history);
    channel->engine->drop(channel->history);
}

void gw_channel_history_read(const struct gw_channel *channel, uint64_t after, gw_history_visit visit, void *context)
{
    if (channel->history)
        channel->engine->read(channel->history, after, visit, context);
    else if (channel->last && channel->last->seq > after)
        visit(context, channel->last);
}

size_t gw_channel_history_count(const struct gw_channel *channel)
{
    return channel->history ? channel->engine->count(channel->history) : channel->last != NULL;
}

size_t gw_channel_history_bytes(const struct gw_channel *channel)
{
    if (channel->history)
        return channel->engine->bytes(channel->history);
    return channel->last ? gw_message_size(channel->last) : 0;
}
