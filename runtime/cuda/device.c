#include "runtime/cuda/device.h"

#include <string.h>

int cuda_device_count(struct error *error) {
    const struct cuda_api *api;
    int count = 0;
    if (cuda_api_open(NULL, &api, error) != HEDDLE_OK ||
        cuda_status(api, api->DeviceGetCount(&count), "counting GPUs", error) != HEDDLE_OK)
        return 0;
    if (count == 0)
        error_set(error, HEDDLE_DEVICE_ERROR, "the NVIDIA driver sees no GPU");
    return count;
}

enum heddle_status cuda_device_query(int number, struct cuda_device *out, struct error *error) {
    *out = (struct cuda_device){0};
    enum heddle_status status = cuda_api_open(NULL, &out->api, error);
    if (status != HEDDLE_OK)
        return status;
    const struct cuda_api *api = out->api;
    static const CUdevice_attribute attributes[] = {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                                                    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
                                                    CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT};
    int *values[] = {&out->major, &out->minor, &out->processors};
    CUresult result = api->DeviceGet(&out->device, number);
    if (result == CUDA_SUCCESS)
        result = api->DeviceGetName(out->name, (int)sizeof out->name, out->device);
    if (result == CUDA_SUCCESS)
        result = api->DeviceTotalMem(&out->memory_bytes, out->device);
    for (int i = 0; i < 3 && result == CUDA_SUCCESS; i++)
        result = api->DeviceGetAttribute(values[i], attributes[i], out->device);
    if (result == CUDA_SUCCESS)
        result = api->DriverGetVersion(&out->driver);
    return cuda_status(api, result, "asking about a GPU", error);
}

// Code for sm_90a runs on compute capability 9.0 and on no other, older or newer.
enum heddle_status cuda_device_check(const struct cuda_device *device, struct error *error) {
    enum { OLDEST_DRIVER = 12030 };
    if (device->major != 9 || device->minor != 0)
        return error_set(error, HEDDLE_DEVICE_ERROR,
                         "%s has compute capability %d.%d; heddle's GPU kernels are for 9.0 "
                         "(H100, H200)",
                         device->name, device->major, device->minor);
    if (device->driver < OLDEST_DRIVER)
        return error_set(error, HEDDLE_DEVICE_ERROR,
                         "the NVIDIA driver is for CUDA %d.%d; heddle needs one for 12.3 or later",
                         device->driver / 1000, device->driver % 1000 / 10);
    return HEDDLE_OK;
}

static enum heddle_status open_number(int number, struct cuda_device *out, struct error *error) {
    enum heddle_status status = cuda_device_query(number, out, error);
    if (status == HEDDLE_OK)
        status = cuda_device_check(out, error);
    if (status == HEDDLE_OK)
        status = cuda_status(out->api, out->api->PrimaryCtxRetain(&out->context, out->device),
                             out->name, error);
    if (status != HEDDLE_OK)
        *out = (struct cuda_device){0};
    return status;
}

// Of the CUDA context that is current in this thread; *out -1 where there is none.
static enum heddle_status current_number(int count, int *out, struct error *error) {
    const struct cuda_api *api;
    CUcontext context = NULL;
    CUdevice current, device;
    CUresult result;
    *out = -1;
    enum heddle_status status = cuda_api_open(NULL, &api, error);
    if (status != HEDDLE_OK || api->CtxGetCurrent(&context) != CUDA_SUCCESS || !context)
        return status;
    result = api->CtxGetDevice(&current);
    for (int i = 0; i < count && *out < 0 && result == CUDA_SUCCESS; i++) {
        result = api->DeviceGet(&device, i);
        if (result == CUDA_SUCCESS && device == current)
            *out = i;
    }
    return cuda_status(api, result, "asking about a GPU", error);
}

enum heddle_status cuda_device_open(struct cuda_device *out, struct error *error) {
    int count = cuda_device_count(error);
    enum heddle_status status = HEDDLE_DEVICE_ERROR;
    *out = (struct cuda_device){0};
    if (count == 0)
        return status;
    int current;
    if (current_number(count, &current, error) != HEDDLE_OK)
        return error->status;
    if (current >= 0)
        return open_number(current, out, error);
    for (int i = 0; i < count && status != HEDDLE_OK; i++)
        status = open_number(i, out, error);
    return status;
}

void cuda_device_close(struct cuda_device *device) {
    if (device->context)
        device->api->PrimaryCtxRelease(device->device);
    *device = (struct cuda_device){0};
}

enum heddle_status cuda_device_enter(const struct cuda_device *device, struct error *error) {
    return cuda_status(device->api, device->api->CtxPushCurrent(device->context),
                       "entering the GPU's context", error);
}

void cuda_device_leave(const struct cuda_device *device) {
    CUcontext popped;
    device->api->CtxPopCurrent(&popped);
}
