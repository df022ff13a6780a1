#include "compiler/select/softmax.h"

// exp(x) for x <= 0, to about two units in the last place: 2^n * 2^f with |f| <= 1/2, the second by
// a polynomial (the first terms of its series, at degree 6 off by 2e-8 there).
static float exp_falling(float x) {
    union {
        float real;
        int32_t bits;
    } power;
    float y = x * 1.44269504f;
    if (!(y > -126.0f))
        return y == y ? 0.0f : y;
    int32_t n = (int32_t)(y - 0.5f);
    float f = (x - (float)n * 0.693145752f) - (float)n * 1.42860677e-6f;
    float sum = 1.0f / 720;
    sum = sum * f + 1.0f / 120;
    sum = sum * f + 1.0f / 24;
    sum = sum * f + 1.0f / 6;
    sum = sum * f + 0.5f;
    sum = sum * f + 1.0f;
    sum = sum * f + 1.0f;
    power.bits = (n + 127) << 23;
    return sum * power.real;
}

void softmax_row(float *x, int64_t count) {
    const float nothing = -__builtin_inff();
    float most = nothing;
    double sum = 0.0;
    for (int64_t i = 0; i < count; i++)
        most = x[i] > most || x[i] != x[i] ? x[i] : most;
    for (int64_t i = 0; i < count; i++) {
        x[i] = most == nothing ? 0.0f : exp_falling(x[i] - most);
        sum += (double)x[i];
    }
    float scale = most == nothing ? 0.0f : (float)(1.0 / sum);
    for (int64_t i = 0; i < count; i++)
        x[i] *= scale;
}
