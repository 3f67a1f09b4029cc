/* It is public now: include "gateway/log.h". */
#include "gateway/log.h"
