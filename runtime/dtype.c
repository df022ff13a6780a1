// Element conversions, written out so that every host rounds alike: to nearest, ties to even,
// straight from double (going through float would round twice).
#include "runtime/reference.h"

#include <math.h>
#include <string.h>

struct format { // of a 16-bit float: sign, exponent, `mantissa` bits
    int mantissa;
    int least_exponent; // of a normal number
    uint16_t infinity;  // its bits; anything above is NaN
};

static const struct format half = {10, -14, 0x7c00}, brain = {7, -126, 0x7f80};

static uint16_t encode(const struct format *format, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint16_t sign = (uint16_t)(bits >> 63 << 15);
    if (isnan(value))
        return (uint16_t)(sign | format->infinity | 1u << (format->mantissa - 1));
    if (isinf(value))
        return sign | format->infinity;
    int exponent = (int)(bits >> 52 & 0x7ff) - 1023;
    if (exponent == -1023) // zero, or far below the least subnormal
        return sign;
    uint64_t significand = (bits & ((UINT64_C(1) << 52) - 1)) | UINT64_C(1) << 52;
    int shift = 52 - format->mantissa;
    if (exponent < format->least_exponent) {
        shift += format->least_exponent - exponent;
        exponent = format->least_exponent;
    }
    if (shift > 54)
        return sign;
    uint64_t kept = significand >> shift, rest = significand & ((UINT64_C(1) << shift) - 1);
    uint64_t middle = UINT64_C(1) << (shift - 1);
    kept += rest > middle || (rest == middle && (kept & 1));
    // The hidden bit of a normal number is the step to the next exponent, so this carries right.
    uint64_t out = ((uint64_t)(exponent - format->least_exponent) << format->mantissa) + kept;
    return (uint16_t)(sign | (out < format->infinity ? out : format->infinity));
}

// A normal number's bits are shifted to their places in a double: the reference does little else.
static double decode(const struct format *format, uint16_t bits) {
    uint16_t magnitude = bits & 0x7fff;
    double value;
    if (magnitude > format->infinity)
        value = NAN;
    else if (magnitude == format->infinity)
        value = INFINITY;
    else if (magnitude >> format->mantissa) {
        uint64_t biased = (uint64_t)(1023 + format->least_exponent - 1) << 52;
        uint64_t wide = biased + ((uint64_t)magnitude << (52 - format->mantissa));
        memcpy(&value, &wide, sizeof value);
    } else
        value = ldexp(magnitude, format->least_exponent - format->mantissa);
    return bits & 0x8000 ? -value : value;
}

int64_t dtype_bytes(enum heddle_dtype dtype) {
    return dtype == HEDDLE_F32 ? 4 : 2;
}

double dtype_load(enum heddle_dtype dtype, const void *data, int64_t index) {
    if (dtype == HEDDLE_F32)
        return ((const float *)data)[index];
    return decode(dtype == HEDDLE_F16 ? &half : &brain, ((const uint16_t *)data)[index]);
}

void dtype_store(enum heddle_dtype dtype, void *data, int64_t index, double value) {
    if (dtype == HEDDLE_F32)
        ((float *)data)[index] = (float)value;
    else
        ((uint16_t *)data)[index] = encode(dtype == HEDDLE_F16 ? &half : &brain, value);
}
