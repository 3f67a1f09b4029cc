#include "mqtt/redelivery.h"

void gw_redelivery_connected(struct gw_redelivery *redelivery, bool session_present)
{
    if (!session_present)
        redelivery->count = 0;
    redelivery->to = redelivery->count;
    redelivery->from = redelivery->count > GW_REDELIVERY_MAX ? redelivery->count - GW_REDELIVERY_MAX : 0;
}

static uint64_t redelivery_hash(uint64_t hash, const void *data, size_t len) /* FNV-1a */
{
    const unsigned char *at = data;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ at[i]) * 0x100000001b3u;
    return hash;
}

uint64_t gw_redelivery_hash(const struct gw_packet *packet)
{
    uint64_t hash = redelivery_hash(0xcbf29ce484222325u, packet->topic, packet->topic_len);
    hash = redelivery_hash(hash, "", 1); /* no topic has this byte, so it ends there */
    return redelivery_hash(hash, packet->payload, packet->payload_len);
}

bool gw_redelivery_is_double(struct gw_redelivery *redelivery, const struct gw_packet *packet)
{
    uint64_t hash = gw_redelivery_hash(packet);
    for (uint64_t i = redelivery->from; i < redelivery->to; i++) {
        const struct gw_redelivery_entry *entry = &redelivery->ring[i % GW_REDELIVERY_MAX];
        if (entry->mid == packet->mid && entry->hash == hash) {
            redelivery->from = i + 1; /* they keep their order */
            return true;
        }
    }
    redelivery->from = redelivery->to; /* something new: no more come again */
    redelivery->ring[redelivery->count++ % GW_REDELIVERY_MAX] = (struct gw_redelivery_entry){hash, packet->mid};
    return false;
}
