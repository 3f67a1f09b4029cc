/* disk_steps.h: since when a series has windows of each length, and the work that a changed configuration leaves.
 *
 * A length that is new, a field that is new and a longer `keep` are filled from the messages that are still there,
 * the newest first, so that at any moment everything since `since` is in the windows. Windows that nobody wants any
 * more are deleted. Both is done in slices, each a transaction of its own, so that neither messages nor charts wait.
 * Thread: the writer's. */
#ifndef GW_ENGINE_DISK_STEPS_H
#define GW_ENGINE_DISK_STEPS_H

#include "engine/disk_db.h"
#include "gateway/series.h"

struct gw_disk_series;

/* Inside a transaction. A new series: the message before `seq` is the newest that is not in it. `since`: as in
 * gw_disk_step_since(); 0: nothing is missing. */
bool gw_disk_steps_begin(struct gw_disk_db *db, int64_t series, const struct gw_rollup *rollup, uint64_t seq,
                         int64_t since);
/* Inside a transaction. The series has lengths from before; from now on it has those of `rollup`. */
bool gw_disk_steps_settle(struct gw_disk_db *db, const struct gw_disk_series *series, const struct gw_rollup *rollup);
/* Inside a transaction. The series is not wanted any more. */
bool gw_disk_steps_leave(struct gw_disk_db *db, int64_t series);
/* From when on its windows have everything, ms since 1970. False: there are none of this length. */
bool gw_disk_step_since(struct gw_disk_db *db, int64_t series, int64_t every_ms, int64_t *since);

/* A slice of what is to be done; a transaction. False: it failed, and was rolled back. `more`: call it again. */
GW_MUST_CHECK bool gw_disk_steps_work(struct gw_disk_db *db, bool *more);

#endif
