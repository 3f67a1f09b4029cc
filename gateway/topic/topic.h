/* It is public now: include "gateway/topic.h". */
#include "gateway/topic.h"
