/* builtins.c: every unit test and fuzz target has what is built in, as the gateway itself has it from main() on. */
#include "app/builtins.h"

__attribute__((constructor)) static void builtins(void)
{
    gw_builtins_use();
}
