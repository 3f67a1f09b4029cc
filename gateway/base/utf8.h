/* It is public now: include "gateway/utf8.h". */
#include "gateway/utf8.h"
