// Random numbers of the fuzzers: xorshift, repeatable by its seed.
#ifndef HEDDLE_TESTS_FUZZ_RANDOM_H
#define HEDDLE_TESTS_FUZZ_RANDOM_H

#include <stdint.h>
#include <stdlib.h>

static uint64_t fuzz_state; // not 0

static inline void fuzz_seed(const char *number) {
    fuzz_state = strtoull(number, NULL, 10) * 2654435761u + 88172645463325252u;
}

static inline uint32_t random_below(uint32_t bound) {
    fuzz_state ^= fuzz_state << 13;
    fuzz_state ^= fuzz_state >> 7;
    fuzz_state ^= fuzz_state << 17;
    return bound ? (uint32_t)(fuzz_state >> 20) % bound : 0;
}

#endif
