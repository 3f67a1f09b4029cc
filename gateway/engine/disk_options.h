/* disk_options.h: `storage:` of the configuration, the options of engine `disk`. Thread: any. */
#ifndef GW_ENGINE_DISK_OPTIONS_H
#define GW_ENGINE_DISK_OPTIONS_H

#include "gateway/options.h"

struct gw_disk_options {
    char *path;         /* of the database; made if there is none */
    int64_t flush_ms;   /* a change is on the disk at the latest so much later, as long as the disk takes it */
    size_t queue_bytes; /* of messages that wait to be written; beyond it they are given up, and `lost` says so */
    uint32_t series;    /* fields of channels that may be rolled up */
    uint64_t block;     /* sequence numbers reserved at a time; no key */
};

extern const struct gw_options gw_disk_options;

#endif
