/* It is public now: include "gateway/alloc.h". */
#include "gateway/alloc.h"
