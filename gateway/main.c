/* main.c: see command.c for what the words mean, app.c for how the gateway is put together. */
#include "app/app.h"
#include "app/builtins.h"
#include "app/command.h"
#include "app/sandbox.h"

int main(int argc, char **argv)
{
    gw_sandbox_hide();
    gw_builtins_use();
    return gw_command(argc, argv, gw_app_run);
}
