// Runs of every shipped pattern on a GPU through heddle.h: random problems and layouts, on streams
// and the default one, again and again on other tensors of one plan. Results are compared with the
// CPU's of the same bits and with the double-precision reference; runs among each other bit by bit,
// also where keys that a row drops are NaN or infinite.
//
//   test_device [--cases N] [--seed N] [--pattern NAME] [--case N] [--patterns FOLDER] [--quick]
//   [--cpu]
//
// Without a GPU that heddle can use: one line, exit status 77. A failure prints what brings it
// back.
// --cpu: the same on this processor, which needs no GPU (and tests the tests).
#include "tests/gpu/special.h"
#include "tests/gpu/spoil.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SKIPPED = 77, PRINTED_TEXT = 4096 };

struct args {
    int64_t cases, seed, one_case; // one_case -1: all
    const char *pattern, *patterns;
    bool cpu;
};

struct tally {
    int passed, failed;
};

static void count(struct tally *tally, const char *name, const struct verdict *verdict) {
    tally->passed += !verdict->failed;
    tally->failed += verdict->failed;
    if (verdict->failed)
        printf("FAILED %s\n    %s\n", name, verdict->text);
    fflush(stdout);
}

// ---- random cases -------------------------------------------------------------------------------

static uint64_t case_seed(const struct args *args, int pattern, int64_t number) {
    struct random_source mixer = {(uint64_t)args->seed * 1000003 + (uint64_t)pattern * 7919 +
                                  (uint64_t)number};
    return random_next(&mixer);
}

// The first run on the default stream, then others in other layouts, in turns on two streams; then
// with NaN and infinities where they must not matter.
static void run_case(const struct machine *machine, const struct device_problem *problem,
                     struct random_source *random, struct verdict *verdict) {
    struct rig rig;
    if (rig_make(&rig, machine, problem, random, verdict) && rig_try(&rig, NULL, random, verdict)) {
        CUstream stream = machine_stream(machine);
        for (int run = 0; run < 3 && !verdict->failed; run++)
            rig_try(&rig, run % 2 ? NULL : stream, random, verdict);
        for (int run = 0; run < 2 && !verdict->failed; run++)
            spoil_try(&rig, run % 2 ? NULL : stream, random, verdict);
        machine_stream_destroy(machine, stream);
    }
    rig_free(&rig);
}

static void random_case(const struct machine *machine, const struct args *args, int pattern,
                        int64_t number, struct tally *tally) {
    static const int64_t tokens[] = {60, 300, 700, 1500};
    struct random_source random = {case_seed(args, pattern, number)};
    struct device_problem problem;
    struct verdict verdict = {0};
    char text[TEXT_ROOM], name[PRINTED_TEXT];
    problem_random(&problem, pattern, tokens[random_in(&random, 0, 3)], args->cpu, &random);
    problem_text(&problem, text);
    run_case(machine, &problem, &random, &verdict);
    snprintf(name, sizeof name, "--pattern %s --case %lld --seed %lld%s\n    %s",
             pattern_name(pattern), (long long)number, (long long)args->seed,
             args->cpu ? " --cpu" : "", text);
    count(tally, name, &verdict);
    problem_finish(&problem);
}

static void random_cases(const struct machine *machine, const struct args *args,
                         struct tally *tally) {
    for (int p = 0; p < pattern_count(); p++) {
        if (args->pattern && strcmp(args->pattern, pattern_name(p)) != 0)
            continue;
        int64_t first = args->one_case >= 0 ? args->one_case : 0;
        int64_t end = args->one_case >= 0 ? args->one_case + 1 : args->cases;
        for (int64_t i = first; i < end; i++)
            random_case(machine, args, p, i, tally);
    }
}

// ---- the rest -----------------------------------------------------------------------------------

static void special_cases(const struct machine *machine, const struct args *args,
                          struct tally *tally) {
    for (int i = 0; i < SPECIAL_COUNT; i++) {
        struct verdict verdict = {0};
        if (args->pattern || args->one_case >= 0 || (SPECIALS[i].gpu_only && args->cpu))
            continue;
        SPECIALS[i].run(machine, case_seed(args, 1000, i), &verdict);
        count(tally, SPECIALS[i].name, &verdict);
    }
}

// Those that select from q and k: on the CPU only, and tested by tests/oracle/test_selection.py and
// test_pooled_selection.py.
static bool selects(const char *pattern) {
    static const char *const names[] = {"vertical_slash_select", "block_topk", "quest",
                                        "flex_prefill",          "key_topk",   "sparsed",
                                        "two_level_topk",        "llsa",       "pyramid_select",
                                        "pooled_branch"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], pattern) == 0)
            return true;
    return false;
}

// Has a shipped pattern no random problems yet?
static void find_untested(const char *folder, struct tally *tally) {
    DIR *dir = opendir(folder);
    struct verdict verdict = {0};
    if (!dir)
        verdict_fail(&verdict, "cannot read the folder");
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        char *end = strstr(entry->d_name, ".heddle");
        int number = 0;
        if (!end || strcmp(end, ".heddle") != 0)
            continue;
        *end = '\0';
        while (number < pattern_count() && strcmp(pattern_name(number), entry->d_name) != 0)
            number++;
        if (number == pattern_count() && !selects(entry->d_name))
            verdict_fail(&verdict, "%s has no random problems in problems.c", entry->d_name);
    }
    if (dir)
        closedir(dir);
    count(tally, folder, &verdict);
}

static int usage(void) {
    fprintf(stderr,
            "usage: test_device [--cases N] [--seed N] [--pattern NAME] [--case N] "
            "[--patterns FOLDER] [--quick] [--cpu]\n");
    return 2;
}

static bool parse(int argc, char **argv, struct args *args) {
    *args = (struct args){.cases = 6, .seed = 1, .one_case = -1, .patterns = HEDDLE_TEST_PATTERNS};
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (strcmp(argv[i], "--quick") == 0)
            args->cases = 2;
        else if (strcmp(argv[i], "--cpu") == 0)
            args->cpu = true;
        else if (strcmp(argv[i], "--cases") == 0 && more)
            args->cases = atoll(argv[++i]);
        else if (strcmp(argv[i], "--seed") == 0 && more)
            args->seed = atoll(argv[++i]);
        else if (strcmp(argv[i], "--case") == 0 && more)
            args->one_case = atoll(argv[++i]);
        else if (strcmp(argv[i], "--pattern") == 0 && more)
            args->pattern = argv[++i];
        else if (strcmp(argv[i], "--patterns") == 0 && more)
            args->patterns = argv[++i];
        else
            return false;
    }
    return true;
}

int main(int argc, char **argv) {
    struct args args;
    struct machine machine;
    struct tally tally = {0, 0};
    if (!parse(argc, argv, &args))
        return usage();
    if (!machine_open(&machine, !args.cpu)) {
        printf("test_device: skipped, %s\n", machine.reason);
        return SKIPPED;
    }
    printf("test_device: %s, %lld cases a pattern, seed %lld\n",
           heddle_context_device_name(machine.context), (long long)args.cases,
           (long long)args.seed);
    rig_set_patterns(args.patterns);
    find_untested(args.patterns, &tally);
    special_cases(&machine, &args, &tally);
    random_cases(&machine, &args, &tally);
    machine_close(&machine);
    printf("%d passed, %d failed\n", tally.passed, tally.failed);
    return tally.failed ? 1 : 0;
}
