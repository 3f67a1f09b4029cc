/* disk_options.c: `storage:` of the configuration, the options of engine `disk`. */
#include "engine/disk_options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/alloc.h"

#define DISK(member) offsetof(struct gw_disk_options, member)

/* docs/decisions/0007-durable-history.md */
#define DISK_BLOCK (UINT64_C(1) << 30)

static const struct gw_field disk_fields[] = {
    {.key = "path",
     .type = GW_FIELD_STRING,
     .offset = DISK(path),
     .required = true,
     .doc = "Database file of this gateway alone; made if there is none. Its folder must exist and be writable."},
    {.key = "flush",
     .type = GW_FIELD_DURATION,
     .offset = DISK(flush_ms),
     .min = 10,
     .max = 3600000,
     .def = "1s",
     .doc =
         "How often changes are written; what came since is lost if the gateway is killed, and clients get a gap."},
    {.key = "queue",
     .type = GW_FIELD_SIZE,
     .offset = DISK(queue_bytes),
     .min = 64 << 10,
     .max = INT64_C(4096) << 20,
     .def = "64MiB",
     .doc = "Bytes that wait for the disk; beyond it messages are not stored, which is counted"
            " (`sluice_storage_dropped_total`) and told by a gap after the next restart."},
    {.key = "series",
     .type = GW_FIELD_INT,
     .offset = DISK(series),
     .min = 0,
     .max = 1000000,
     .def = "10000",
     .doc = "Fields of channels that are rolled up (`history.rollup`); those beyond it are not, which is logged and"
            " counted (`sluice_storage_series_refused_total`)."},
    {.key = NULL},
};

/* Can the database be there? Whether it is sound is seen when it is opened. */
static void disk_check(void *options, const struct gw_config *config, struct gw_report *report)
{
    (void)config;
    struct gw_disk_options *own = options;
    struct stat info;
    const char *path = own->path, *slash = strrchr(path, '/');
    char *folder = !slash          ? gw_strdup(".")
                   : slash == path ? gw_strdup("/")
                                   : gw_strndup(path, (size_t)(slash - path));
    if (slash && !slash[1])
        gw_report_error(report, "path", "'%s' is a folder (a file's name in it expected)", path);
    else if (stat(folder, &info) || access(folder, W_OK | X_OK))
        gw_report_error(report, "path", "can't write in '%s': %s (a writable folder expected)", folder,
                        strerror(errno));
    else if (!S_ISDIR(info.st_mode))
        gw_report_error(report, "path", "'%s' is no folder (a writable folder expected)", folder);
    else if (!stat(path, &info) && (!S_ISREG(info.st_mode) || access(path, R_OK | W_OK)))
        gw_report_error(report, "path", "can't use '%s': %s (a writable file expected)", path,
                        S_ISREG(info.st_mode) ? strerror(errno) : "it is no plain file");
    free(folder);
    own->block = DISK_BLOCK;
}

const struct gw_options gw_disk_options = {
    .key = "storage",
    .doc = "Where the history of routes with `store: disk`, and the place in the sequence, outlive the process.",
    .size = sizeof(struct gw_disk_options),
    .fields = disk_fields,
    .check = disk_check,
};
