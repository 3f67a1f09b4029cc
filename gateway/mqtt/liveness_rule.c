/* liveness_rule.c: see docs/decisions/0022-the-state-of-a-channel.md. */
#include "mqtt/liveness_rule.h"

#define DOUBLE_MS 1000 /* messages that come closer together count as one */
#define LIMIT     4    /* intervals */
#define MEMORY    8    /* a shorter interval is believed over this many */

/* Times are far from the ends of int64_t but for the two names. */
static int64_t rule_after(int64_t since_ms, int64_t limit_ms)
{
    return since_ms == GW_NEVER_MS ? GW_NEVER_MS : since_ms == GW_NOT_MS ? GW_NOT_MS : since_ms + limit_ms;
}

static enum gw_state rule_silence(const struct gw_liveness_facts *facts, int64_t *until_ms)
{
    const struct gw_listening *listening = &facts->listening;
    int64_t silent_ms = rule_after(facts->seen_ms, facts->limit_ms);
    int64_t heard_ms = rule_after(listening->since_ms, facts->limit_ms);
    if (facts->now_ms < silent_ms) {
        *until_ms = silent_ms;
        return GW_STATE_LIVE;
    }
    *until_ms = GW_NOT_MS;
    if (facts->now_ms >= heard_ms || (facts->seen_ms != GW_NEVER_MS && facts->seen_ms >= listening->since_ms))
        return GW_STATE_STALE;
    *until_ms = heard_ms;
    return GW_STATE_UNKNOWN;
}

/* With nothing but its availability. */
static enum gw_state rule_word(const struct gw_liveness_facts *facts, int64_t *until_ms)
{
    const struct gw_listening *listening = &facts->listening;
    bool away = listening->since_ms == GW_NOT_MS, online = facts->word == GW_WORD_ONLINE;
    *until_ms = GW_NOT_MS;
    if (!away && (facts->seen_ms >= listening->since_ms || (online && facts->word_ms >= listening->since_ms)))
        return GW_STATE_LIVE;
    int64_t settled_ms = listening->away_ms + GW_LIVENESS_AWAY_MS;
    if (!away)
        settled_ms = listening->since_ms < settled_ms ? listening->since_ms + GW_LIVENESS_SETTLE_MS : GW_NEVER_MS;
    if ((facts->seen_ms == GW_NEVER_MS && !online) || facts->now_ms >= settled_ms)
        return GW_STATE_UNKNOWN;
    *until_ms = settled_ms;
    return GW_STATE_LIVE;
}

enum gw_state gw_liveness_rule(const struct gw_liveness_facts *facts, int64_t *until_ms)
{
    *until_ms = GW_NOT_MS;
    if (facts->word == GW_WORD_OFFLINE)
        return GW_STATE_OFFLINE;
    return facts->limit_ms ? rule_silence(facts, until_ms) : rule_word(facts, until_ms);
}

void gw_rhythm_note(struct gw_rhythm *rhythm, const struct gw_listening *listening, int64_t now_ms)
{
    bool broken = rhythm->at_ms == GW_NEVER_MS || rhythm->at_ms < listening->since_ms;
    if (broken) {
        rhythm->at_ms = now_ms;
        return;
    }
    int64_t gap = now_ms - rhythm->at_ms, interval = rhythm->interval_ms;
    if (gap < DOUBLE_MS)
        return;
    rhythm->at_ms = now_ms;
    if (gap > GW_RHYTHM_MAX_MS)
        gap = GW_RHYTHM_MAX_MS;
    bool learning = rhythm->gaps < GW_RHYTHM_GAPS;
    int64_t most = 2 * interval > GW_RHYTHM_MIN_MS ? 2 * interval : GW_RHYTHM_MIN_MS;
    if (gap >= interval)
        interval = learning || gap < most ? gap : most;
    else
        interval -= (interval - gap) * gap / (MEMORY * interval);
    rhythm->interval_ms = (uint32_t)interval;
    rhythm->gaps += learning;
}

int64_t gw_rhythm_limit(const struct gw_rhythm *rhythm)
{
    int64_t limit = (int64_t)rhythm->interval_ms * LIMIT;
    if (rhythm->gaps < GW_RHYTHM_GAPS || limit > GW_RHYTHM_MAX_MS)
        return GW_RHYTHM_MAX_MS;
    return limit < GW_RHYTHM_MIN_MS ? GW_RHYTHM_MIN_MS : limit;
}
