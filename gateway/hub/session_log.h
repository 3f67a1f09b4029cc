/* It is public now: include "gateway/session_log.h". */
#include "gateway/session_log.h"
