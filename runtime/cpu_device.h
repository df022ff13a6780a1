// The processor that CPU plans run on: for hosts, `devices` and reports.
#ifndef HEDDLE_RUNTIME_CPU_DEVICE_H
#define HEDDLE_RUNTIME_CPU_DEVICE_H

struct cpu_device {
    char name[128];     // as the kernel reports it
    int threads;        // processors this process may use
    char features[256]; // vector features that heddle can use, space-separated
};

void cpu_device_query(struct cpu_device *out);

#endif
