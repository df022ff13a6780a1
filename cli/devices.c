// heddle devices: what this machine offers.
#include "cli/command.h"
#include "cli/device.h"
#include "cli/json.h"
#include "cli/options.h"

#include <stdio.h>

struct devices_args {
    bool json;
};

static const struct option_row devices_options[] = {
    {"json", 0, OPTION_FLAG, offsetof(struct devices_args, json), "", "as one JSON object", NULL},
};

static void print(bool as_json) {
    struct cpu_device device;
    cpu_device_query(&device);
    if (!as_json) {
        printf("cpu  %s, %d threads, %s\n", device.name, device.threads, device.features);
        return;
    }
    struct json json;
    json_open(&json, stdout);
    json_text(&json, "target", "cpu");
    json_text(&json, "device", device.name);
    json_int(&json, "threads", device.threads);
    json_text(&json, "features", device.features);
    json_close(&json);
}

int command_devices(int argc, char **argv) {
    struct devices_args args = {0};
    const struct option_set sets[] = {OPTION_SET(devices_options, &args)};
    const struct option_use use = {"devices", "Lists what heddle can run on here: the CPU.", sets,
                                   1};
    struct text_list operands = {0};
    enum parse_outcome outcome = options_parse(&use, argc, argv, &operands);
    int status = outcome == PARSE_WRONG ? EXIT_USAGE : EXIT_DONE;
    if (outcome == PARSE_GO && operands.count)
        status = usage_error("devices takes no operand");
    else if (outcome == PARSE_GO)
        print(args.json);
    text_list_finish(&operands);
    return status;
}
