/* The configuration reader: any bytes give problems or a configuration, never anything else. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "gateway/config.h"
#include "route/routes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char file[64];
    if (!file[0])
        snprintf(file, sizeof file, "/tmp/sluice-fuzz-%d.yaml", (int)getpid());
    FILE *out = fopen(file, "we");
    if (!out)
        abort();
    fwrite(data, 1, size, out);
    fclose(out);
    struct gw_config *config;
    struct gw_buf problems = {0};
    if (gw_config_load(file, &config, &problems) == GW_OK) {
        struct gw_routes *routes = gw_routes_build(config);
        struct gw_buf text = {0};
        gw_routes_explain_topic(routes, "a/b/c", &text);
        gw_routes_explain_channel(routes, "a/b/c", &text);
        gw_buf_fini(&text);
        gw_routes_unref(routes);
        gw_config_unref(config);
    } else if (!problems.len) {
        abort(); /* refused without a word */
    }
    gw_buf_fini(&problems);
    unlink(file);
    return 0;
}
