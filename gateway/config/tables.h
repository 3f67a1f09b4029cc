/* tables.h: what the tables of keys are written with: where a value goes, and units. Thread: any. */
#ifndef GW_CONFIG_TABLES_H
#define GW_CONFIG_TABLES_H

#include <stddef.h>
#include <stdint.h>

#include "config/fields.h"

#define CFG(member) offsetof(struct gw_config, member)
#define MS(seconds) ((int64_t)(seconds)*1000)
#define KIB(n)      ((int64_t)(n) << 10)
#define MIB(n)      ((int64_t)(n) << 20)
#define DAY         MS(86400)

#endif
