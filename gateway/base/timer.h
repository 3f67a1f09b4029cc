/* It is public now: include "gateway/timer.h". */
#include "gateway/timer.h"
