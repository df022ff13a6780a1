// Criterion's macros for programs that it does not fit into: under the thread sanitizer, which has
// no room for its arena. Tests run one after another in this process; the messages are left out.
#ifndef HEDDLE_TESTS_HOST_PLAIN_H
#define HEDDLE_TESTS_HOST_PLAIN_H

#ifndef __SANITIZE_THREAD__
#include <criterion/criterion.h>
#else

#include <stdio.h>
#include <stdlib.h>

static int plain_passed, plain_failed, plain_wrong;

static void plain_check(int right, const char *what, const char *file, int line) {
    if (!right)
        fprintf(stderr, "%s:%d: not %s\n", file, line, what);
    plain_wrong += !right;
}

static void plain_need(int right, const char *what, const char *file, int line) {
    plain_check(right, what, file, line);
    if (!right)
        abort();
}

#define PLAIN_CHECK(right) plain_check(right, #right, __FILE__, __LINE__)
#define PLAIN_NEED(right) plain_need(right, #right, __FILE__, __LINE__)
#define cr_expect_eq(a, b, ...) PLAIN_CHECK((a) == (b))
#define cr_expect_null(a, ...) PLAIN_CHECK((a) == NULL)
#define cr_expect_not_null(a, ...) PLAIN_CHECK((a) != NULL)
#define cr_assert_eq(a, b, ...) PLAIN_NEED((a) == (b))
#define cr_assert_gt(a, b, ...) PLAIN_NEED((a) > (b))
#define cr_assert_not_null(a, ...) PLAIN_NEED((a) != NULL)

#define Test(suite, name)                                                                          \
    static void suite##_##name(void);                                                              \
    __attribute__((constructor)) static void suite##_##name##_run(void) {                          \
        plain_wrong = 0;                                                                           \
        suite##_##name();                                                                          \
        plain_passed += !plain_wrong;                                                              \
        plain_failed += !!plain_wrong;                                                             \
    }                                                                                              \
    static void suite##_##name(void)

int main(void) {
    printf("%d passed, %d failed\n", plain_passed, plain_failed);
    return plain_failed > 0;
}

#endif
#endif
