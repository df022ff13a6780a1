// A profiler's library that writes down what it is told: "(name" where a range begins, ")" where it
// ends. It is given NVTX's tables as a real one is; where the headers of NVTX are, they say how.
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define FAKE __attribute__((visibility("default")))

#if __has_include(<nvtx3/nvToolsExt.h>)
#include <nvtx3/nvToolsExt.h>
#else
enum { NVTX_ETID_CALLBACKS = 1, NVTX_ETID_VERSIONINFO = 3 };
enum { NVTX_CBID_CORE_RangePushA = 9, NVTX_CBID_CORE_RangePop = 11, NVTX_CBID_CORE_SIZE = 16 };
typedef enum NvtxCallbackModule {
    NVTX_CB_MODULE_CORE = 1,
    NVTX_CB_MODULE_CORE2 = 5
} NvtxCallbackModule;
typedef void (*NvtxFunctionPointer)(void);
typedef NvtxFunctionPointer **NvtxFunctionTable;
typedef const void *(*NvtxGetExportTableFunc_t)(uint32_t number);
typedef struct {
    size_t struct_size;
    int (*GetModuleFunctionTable)(NvtxCallbackModule, NvtxFunctionTable *, unsigned *);
} NvtxExportTableCallbacks;
typedef struct {
    size_t struct_size;
    uint32_t version, reserved0;
    void (*SetInjectionNvtxVersion)(uint32_t version);
} NvtxExportTableVersionInfo;
#endif

int InitializeInjectionNvtx2(NvtxGetExportTableFunc_t get);
const char *fake_nvtx_text(void);

static char text[1 << 14];

static int push(const char *name) {
    size_t length = strlen(text);
    snprintf(text + length, sizeof text - length, "(%s", name);
    return 0;
}

static int pop(void) {
    size_t length = strlen(text);
    snprintf(text + length, sizeof text - length, ")");
    return 0;
}

FAKE int InitializeInjectionNvtx2(NvtxGetExportTableFunc_t get) {
    const NvtxExportTableCallbacks *callbacks = get(NVTX_ETID_CALLBACKS);
    const NvtxExportTableVersionInfo *version = get(NVTX_ETID_VERSIONINFO);
    NvtxFunctionTable table, domains;
    unsigned count = 0;
    if (!callbacks || callbacks->struct_size != sizeof *callbacks || !version ||
        version->struct_size != sizeof *version || version->version != 3 ||
        !callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE, &table, &count) ||
        count != NVTX_CBID_CORE_SIZE || table[count] ||
        !callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE2, &domains, &count))
        return 0;
    version->SetInjectionNvtxVersion(3);
    *table[NVTX_CBID_CORE_RangePushA] = (NvtxFunctionPointer)push;
    *table[NVTX_CBID_CORE_RangePop] = (NvtxFunctionPointer)pop;
    return 1;
}

// All since the last call.
FAKE const char *fake_nvtx_text(void) {
    static char taken[sizeof text];
    memcpy(taken, text, sizeof text);
    text[0] = '\0';
    return taken;
}
