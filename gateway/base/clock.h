/* It is public now: include "gateway/clock.h". */
#include "gateway/clock.h"
