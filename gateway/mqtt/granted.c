#include "mqtt/granted.h"

#include <mqtt_protocol.h>
#include <stdbool.h>
#include <string.h>

#include "gateway/topic.h"

/* Bounds of the report's text: filters that are named, bytes after which no other one is, routes named for each. */
#define FILTERS_MAX 20
#define BYTES_MAX   8192
#define ROUTES_MAX  5

static const struct {
    int answer;
    const char *reason;
} granted_reasons[] = {
    /* The first two have a row in /metrics from the start. */
    {MQTT_RC_NOT_AUTHORIZED, "not_authorized"},
    {GW_SUB_LEFT_OUT, "connection_closed"},
    {MQTT_RC_UNSPECIFIED, "unspecified"},
    {MQTT_RC_IMPLEMENTATION_SPECIFIC, "implementation_specific"},
    {MQTT_RC_TOPIC_FILTER_INVALID, "topic_filter_invalid"},
    {MQTT_RC_PACKET_ID_IN_USE, "packet_identifier_in_use"},
    {MQTT_RC_QUOTA_EXCEEDED, "quota_exceeded"},
    {MQTT_RC_SHARED_SUBS_NOT_SUPPORTED, "shared_subscriptions_not_supported"},
    {MQTT_RC_SUBSCRIPTION_IDS_NOT_SUPPORTED, "subscription_identifiers_not_supported"},
    {MQTT_RC_WILDCARD_SUBS_NOT_SUPPORTED, "wildcards_not_supported"},
    {GW_SUB_FAILED, "not_sent"},
    {GW_SUB_REFUSED, "other"},
};
_Static_assert(sizeof granted_reasons / sizeof *granted_reasons == GW_GRANTED_REASONS, "a row for each reason");

static size_t granted_row(int answer)
{
    size_t row = 0;
    while (row + 1 < GW_GRANTED_REASONS && granted_reasons[row].answer != answer)
        row++;
    return row;
}

const char *gw_granted_reason(int answer)
{
    return granted_reasons[granted_row(answer)].reason;
}

void gw_granted_init(struct gw_granted *granted)
{
    *granted = (struct gw_granted){.wanted = 0};
}

void gw_granted_fini(struct gw_granted *granted)
{
    gw_buf_fini(&granted->json);
}

static void granted_add_text(struct gw_buf *out, const char *name, const char *text)
{
    gw_buf_printf(out, "\"%s\":", name);
    gw_buf_add_json_string(out, text, strlen(text));
}

/* The routes that get nothing, or less, because of this filter. */
static void granted_add_routes(struct gw_buf *out, const char *filter, const struct gw_routes *routes)
{
    const struct gw_cfg_route *route;
    unsigned named = 0;
    gw_buf_adds(out, ",\"routes\":[");
    for (uint32_t i = 0; (route = gw_routes_get(routes, i)) && named < ROUTES_MAX; i++) {
        const char *own = gw_routes_filter(routes, i);
        if (!gw_topic_filter_covers(filter, strlen(filter), own, strlen(own)))
            continue;
        gw_buf_adds(out, named++ ? "," : "");
        gw_buf_add_json_string(out, route->topic, strlen(route->topic));
    }
    gw_buf_adds(out, "]}");
}

static bool granted_is_lowered(const struct gw_sub_entry *entry)
{
    return gw_sub_is_granted(entry) && entry->answer < gw_sub_qos(entry);
}

/* The filters that are refused, or those that are lowered; returns how many were left out. */
static size_t granted_add_filters(struct gw_buf *out, const struct gw_subscriptions *subs,
                                  const struct gw_routes *routes, bool lowered)
{
    size_t named = 0, left_out = 0;
    gw_buf_printf(out, ",\"%s\":[", lowered ? "lowered" : "refused");
    for (size_t i = 0; i < subs->count; i++) {
        const struct gw_sub_entry *entry = &subs->items[i];
        if (lowered ? !granted_is_lowered(entry) : !gw_sub_is_refused(entry))
            continue;
        if (named == FILTERS_MAX || out->len > BYTES_MAX) {
            left_out++;
            continue;
        }
        gw_buf_adds(out, named++ ? ",{" : "{");
        granted_add_text(out, "filter", entry->filter);
        gw_buf_addc(out, ',');
        if (lowered) {
            gw_buf_printf(out, "\"qos\":%d,\"wanted\":%d", entry->answer, gw_sub_qos(entry));
        } else {
            granted_add_text(out, "reason", gw_granted_reason(entry->answer));
            if (entry->answer < GW_SUB_REFUSED)
                gw_buf_printf(out, ",\"code\":%d", entry->answer);
        }
        granted_add_routes(out, entry->filter, routes);
    }
    gw_buf_addc(out, ']');
    return left_out;
}

void gw_granted_read(struct gw_granted *granted, const struct gw_subscriptions *subs, const struct gw_routes *routes)
{
    struct gw_buf *out = &granted->json;
    granted->wanted = subs->count;
    granted->granted = granted->lowered = 0;
    for (size_t i = 0; i < GW_GRANTED_REASONS; i++) {
        granted->refused[i].reason = granted_reasons[i].reason;
        granted->refused[i].count = 0;
    }
    for (size_t i = 0; i < subs->count; i++) {
        const struct gw_sub_entry *entry = &subs->items[i];
        granted->granted += gw_sub_is_granted(entry);
        granted->lowered += granted_is_lowered(entry);
        if (gw_sub_is_refused(entry))
            granted->refused[granted_row(entry->answer)].count++;
    }
    gw_buf_clear(out);
    gw_buf_printf(out, "\"granted\":%zu,\"wanted\":%zu", granted->granted, granted->wanted);
    size_t left_out = granted_add_filters(out, subs, routes, false);
    left_out += granted_add_filters(out, subs, routes, true);
    if (left_out)
        gw_buf_printf(out, ",\"more\":%zu", left_out);
}
