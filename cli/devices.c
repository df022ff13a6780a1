// heddle devices: what this machine offers.
#include "cli/command.h"
#include "cli/json.h"
#include "cli/options.h"
#include "runtime/cpu_device.h"
#include "runtime/cuda/device.h"

#include <stdio.h>

struct devices_args {
    bool json;
};

static const struct option_row devices_options[] = {
    {"json", 0, OPTION_FLAG, offsetof(struct devices_args, json), "", "one JSON object a device",
     NULL},
};

static void print_cpu(bool as_json) {
    struct cpu_device device;
    cpu_device_query(&device);
    if (!as_json) {
        printf("cpu   %s, %d threads, %s\n", device.name, device.threads, device.features);
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

static void print_gpu(bool as_json, int number, const struct cuda_device *device,
                      const char *obstacle) {
    double gib = (double)device->memory_bytes / 1073741824.0;
    if (!as_json) {
        printf(
            "cuda  %s, %d multiprocessors, %.0f GiB, compute capability %d.%d, driver for CUDA "
            "%d.%d%s%s\n",
            device->name, device->processors, gib, device->major, device->minor,
            device->driver / 1000, device->driver % 1000 / 10, obstacle ? ": not used: " : "",
            obstacle ? obstacle : "");
        return;
    }
    struct json json;
    json_open(&json, stdout);
    json_text(&json, "target", "cuda");
    json_text(&json, "device", device->name);
    json_int(&json, "number", number);
    json_int(&json, "processors", device->processors);
    json_int(&json, "memory_bytes", (int64_t)device->memory_bytes);
    json_int(&json, "capability", 10 * device->major + device->minor);
    json_int(&json, "driver", device->driver);
    json_bool(&json, "usable", !obstacle);
    json_close(&json);
}

// One line (or one object) a device: the CPU, then GPUs. That there is no GPU is no failure.
static void print(bool as_json) {
    struct error error = {0};
    print_cpu(as_json);
    int count = cuda_device_count(&error);
    if (!count && !as_json)
        printf("cuda  none: %s\n", error_text(&error));
    for (int i = 0; i < count; i++) {
        struct cuda_device device;
        bool known = cuda_device_query(i, &device, &error) == HEDDLE_OK;
        bool fits = known && cuda_device_check(&device, &error) == HEDDLE_OK;
        if (known)
            print_gpu(as_json, i, &device, fits ? NULL : error_text(&error));
    }
    error_finish(&error);
}

int command_devices(int argc, char **argv) {
    struct devices_args args = {0};
    const struct option_set sets[] = {OPTION_SET(devices_options, &args)};
    const struct option_use use = {"devices", "Lists what heddle can run on here.", sets, 1};
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
