/* admission.h: the bounds on connections, in all and per address, shared by the workers. Thread: any. */
#ifndef GW_NET_ADMISSION_H
#define GW_NET_ADMISSION_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "gateway/config.h"

struct gw_admission;

struct gw_admission *gw_admission_create(void);
/* NULL is fine. */
void gw_admission_destroy(struct gw_admission *admission);

enum gw_admit { GW_ADMIT, GW_ADMIT_FULL, GW_ADMIT_ADDRESS_FULL, GW_ADMIT_RATE, GW_ADMIT_MEMORY };
/* Counts a new connection, or says which bound is reached. in6addr_any: only the bounds in all hold for it. */
enum gw_admit gw_admission_enter(struct gw_admission *admission, const struct in6_addr *address,
                                 const struct gw_cfg_limits *limits);
/* One that was counted as in6addr_any belongs to this address. */
enum gw_admit gw_admission_name(struct gw_admission *admission, const struct in6_addr *address,
                                const struct gw_cfg_limits *limits);
void gw_admission_leave(struct gw_admission *admission, const struct in6_addr *address);

/* One more publish by POST (limits.publish_rate). */
bool gw_admission_may_publish(struct gw_admission *admission, const struct in6_addr *address, uint32_t per_second);

#endif
