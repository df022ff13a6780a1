// Compiled code on disk: entries and their damage, files that are none, folders that cannot be
// written, eviction, and one making of a key over threads and processes, whatever dies.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "compiler/cache/cache.h"
#include "compiler/cache/entry.h"
#include "compiler/cache/folder.h"
#include "compiler/cache/lock.h"
#include "tests/support/scratch.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { NOBODY = 65534, LARGE = 200000 };
static char base[SCRATCH_ROOM], folder[96];

static void setup(void) {
    scratch_cache("cache", base);
    snprintf(folder, sizeof folder, "%s/code", base);
}

static void teardown(void) {
    scratch_remove(base);
}

TestSuite(cache, .init = setup, .fini = teardown);

// ---- code whose text says which it is -----------------------------------------------------------

struct job {
    int number;
    size_t bytes;
    int made;        // how often
    int delay_ms;    // of making
    const char *log; // a byte for each making, over all processes; or NULL
    bool hangs, fails;
};

static char byte_of(int number, size_t at) {
    return (char)((unsigned)number * 131u + at * 7u + (at >> 8));
}

static void log_making(const struct job *job) {
    int descriptor = open(job->log, O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (descriptor < 0 || write(descriptor, "x", 1) != 1)
        abort();
    close(descriptor);
}

static enum heddle_status make(void *context, struct strbuf *out, int64_t *out_number,
                               struct error *error) {
    struct job *job = context;
    job->made++;
    if (job->log)
        log_making(job);
    while (job->hangs)
        pause();
    if (job->fails)
        return error_set(error, HEDDLE_LIMIT, "as asked");
    nanosleep(&(struct timespec){0, job->delay_ms * 1000000L}, NULL);
    for (size_t i = 0; i < job->bytes; i++)
        strbuf_add(out, &(char){byte_of(job->number, i)}, 1);
    *out_number = 1000 + job->number;
    return HEDDLE_OK;
}

static void set_key(struct cache_key *key, int number) {
    *key = (struct cache_key){0};
    strbuf_printf(&key->bytes, "kind test\nnumber %d\n", number);
    strbuf_add(&key->bytes, "a\0b", 3); // keys are bytes
    strbuf_printf(&key->label, "test %d", number);
}

static bool is_right(const struct cache_value *value, const struct job *job) {
    bool right = value->length == job->bytes && value->number == 1000 + job->number;
    for (size_t i = 0; right && i < job->bytes; i++)
        right = value->code[i] == byte_of(job->number, i);
    return right && value->code[job->bytes] == '\0';
}

// 1: found, 0: made, -1: wrong.
static int get_in(struct cache *cache, struct job *job) {
    struct cache_key key;
    struct cache_value value;
    struct error error = {0};
    bool found = false;
    set_key(&key, job->number);
    enum heddle_status status = cache_get(cache, &key, make, job, &value, &found, &error);
    bool right = status == HEDDLE_OK && is_right(&value, job);
    cache_value_finish(&value);
    cache_key_finish(&key);
    error_finish(&error);
    return right ? found : -1;
}

static int get(struct job *job) {
    struct cache cache;
    cache_open(&cache);
    int outcome = get_in(&cache, job);
    cache_close(&cache);
    return outcome;
}

static struct job job_of(int number) {
    return (struct job){.number = number, .bytes = 1000};
}

static int get_number(int number) {
    struct job job = job_of(number);
    return get(&job);
}

static void path_of(int number, char path[160]) {
    struct cache_key key;
    char name[ENTRY_NAME_ROOM];
    set_key(&key, number);
    entry_name(key.bytes.text, key.bytes.length, name);
    snprintf(path, 160, "%s/%s", folder, name);
    cache_key_finish(&key);
}

static int file_count(void) {
    struct folder_files files;
    folder_list(folder, &files);
    int count = files.count;
    folder_files_finish(&files);
    return count;
}

// ---- entries ------------------------------------------------------------------------------------

static struct strbuf some_entry(void) {
    struct entry entry = {.label = {"kind x", 6},
                          .key = {"k\0ey", 4},
                          .code = {"machine code", 12},
                          .number = -5,
                          .made_us = UINT64_C(1) << 40};
    struct strbuf out = {0};
    entry_write(&entry, &out);
    cr_assert(!out.failed);
    return out;
}

Test(cache, entry_round_trip) {
    struct strbuf bytes = some_entry();
    struct entry entry;
    cr_assert(entry_read(bytes.text, bytes.length, &entry));
    cr_assert(entry.label.length == 6 && memcmp(entry.label.bytes, "kind x", 6) == 0);
    cr_assert(entry.key.length == 4 && memcmp(entry.key.bytes, "k\0ey", 4) == 0);
    cr_assert(entry.code.length == 12 && memcmp(entry.code.bytes, "machine code", 12) == 0);
    cr_assert(entry.number == -5 && entry.made_us == UINT64_C(1) << 40);
    strbuf_finish(&bytes);
}

Test(cache, entry_that_is_damaged) {
    struct strbuf bytes = some_entry();
    struct entry entry;
    for (size_t length = 0; length < bytes.length; length++)
        cr_assert(!entry_read(bytes.text, length, &entry), "cut to %zu", length);
    for (size_t at = 0; at < bytes.length; at++)
        for (int bit = 0; bit < 8; bit++) {
            bytes.text[at] = (char)(bytes.text[at] ^ 1 << bit);
            cr_assert(!entry_read(bytes.text, bytes.length, &entry), "byte %zu, bit %d", at, bit);
            bytes.text[at] = (char)(bytes.text[at] ^ 1 << bit);
        }
    strbuf_add(&bytes, "x", 1);
    cr_assert(!entry_read(bytes.text, bytes.length, &entry));
    strbuf_finish(&bytes);
}

Test(cache, limits_as_text) {
    static const struct {
        const char *text;
        int64_t bytes; // -1: none
    } cases[] = {{"0", 0},
                 {"17", 17},
                 {"3K", 3072},
                 {"512M", 512 << 20},
                 {"20G", INT64_C(20) << 30},
                 {"9223372036854775790", INT64_MAX - 17},
                 {"9223372036854775808", -1},
                 {"", -1},
                 {"K", -1},
                 {"-1", -1},
                 {"5k", -1},
                 {"5KB", -1},
                 {"99999999999G", -1},
                 {" 5", -1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t bytes = -1;
        bool is = cache_parse_bytes(cases[i].text, &bytes);
        cr_assert_eq(is, cases[i].bytes >= 0, "'%s'", cases[i].text);
        cr_assert_eq(is ? bytes : -1, cases[i].bytes, "'%s'", cases[i].text);
    }
}

// ---- found and made -----------------------------------------------------------------------------

Test(cache, made_once) {
    struct stat found;
    cr_assert_eq(get_number(1), 0);
    cr_assert_eq(get_number(1), 1);
    cr_assert_eq(get_number(2), 0);
    cr_assert_eq(get_number(2), 1);
    cr_assert_eq(file_count(), 2);
    cr_assert(stat(folder, &found) == 0 && (found.st_mode & 0777) == 0700);
}

Test(cache, counts) {
    struct cache cache;
    struct job job = job_of(1), other = job_of(2);
    cache_open(&cache);
    cr_assert(get_in(&cache, &job) == 0 && get_in(&cache, &job) == 1 &&
              get_in(&cache, &other) == 0);
    cr_assert(cache.made == 2 && cache.found == 1);
    cache_close(&cache);
}

Test(cache, what_cannot_be_made_is_not_kept) {
    struct job job = job_of(1);
    job.fails = true;
    cr_assert_eq(get(&job), -1);
    cr_assert_eq(file_count(), 0);
    cr_assert_eq(get_number(1), 0);
}

Test(cache, turned_off) {
    setenv("HEDDLE_DEBUG", "trace,no-cache", 1);
    cr_assert(get_number(1) == 0 && get_number(1) == 0);
    setenv("HEDDLE_DEBUG", "no-cache-at-all", 1);
    setenv("HEDDLE_CACHE_LIMIT", "0", 1);
    cr_assert(get_number(1) == 0 && get_number(1) == 0);
    cr_assert(access(folder, F_OK) != 0);
    unsetenv("HEDDLE_CACHE_LIMIT");
    cr_assert(get_number(1) == 0 && get_number(1) == 1);
}

// ---- files that are no entry --------------------------------------------------------------------

// A miss, then the right entry is there again.
static void check_miss(const char *what) {
    cr_assert_eq(get_number(1), 0, "%s", what);
    cr_assert_eq(get_number(1), 1, "after %s", what);
}

Test(cache, damaged_files) {
    char path[160];
    path_of(1, path);
    cr_assert_eq(get_number(1), 0);
    struct stat whole;
    cr_assert_eq(stat(path, &whole), 0);
    for (off_t length = 0; length < whole.st_size; length += 97) {
        cr_assert_eq(truncate(path, length), 0);
        check_miss("a truncated file");
    }
    for (off_t at = 0; at < whole.st_size; at += 53) {
        int descriptor = open(path, O_RDWR);
        char byte;
        cr_assert(descriptor >= 0 && pread(descriptor, &byte, 1, at) == 1);
        byte ^= 4;
        cr_assert(pwrite(descriptor, &byte, 1, at) == 1);
        close(descriptor);
        check_miss("a changed byte");
    }
}

Test(cache, file_of_another_key) {
    char from[160], to[160];
    path_of(2, from);
    path_of(1, to);
    cr_assert(get_number(1) == 0 && get_number(2) == 0);
    cr_assert_eq(rename(from, to), 0); // as if both keys had one hash
    check_miss("another key's file");
}

Test(cache, what_is_no_file) {
    char path[160], aside[200];
    path_of(1, path);
    snprintf(aside, sizeof aside, "%s-aside", path);
    cr_assert_eq(get_number(1), 0);
    cr_assert(rename(path, aside) == 0 && symlink(aside, path) == 0);
    check_miss("a link");
    cr_assert(unlink(path) == 0 && mkfifo(path, 0600) == 0); // opening it must not wait
    check_miss("a pipe");
    cr_assert(unlink(path) == 0 && mkdir(path, 0700) == 0);
    cr_assert(get_number(1) == 0 && get_number(1) == 0); // nothing can stand there
    cr_assert(rmdir(path) == 0);
    check_miss("a folder");
}

Test(cache, files_of_others) {
    char path[160];
    path_of(1, path);
    cr_assert(get_number(1) == 0 && chmod(path, 0620) == 0);
    check_miss("a file that others may write");
    if (geteuid() != 0)
        return; // only root gives files away
    cr_assert_eq(chown(path, NOBODY, NOBODY), 0);
    check_miss("another user's file");
}

// ---- folders that cannot be written -------------------------------------------------------------

// In a process of its own, which root's rights are taken from: 0 where `body` returns true.
static int as_anybody(bool (*body)(void)) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        bool plain = geteuid() != 0 || (setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
        _exit(plain && body() ? 0 : 1);
    }
    int status;
    cr_assert(waitpid(child, &status, 0) == child);
    return status;
}

static bool use_read_only(void) {
    return get_number(1) == 0 && get_number(1) == 1 && chmod(folder, 0500) == 0 &&
           get_number(1) == 1 && get_number(2) == 0 && get_number(2) == 0 && file_count() == 1;
}

Test(cache, folder_for_reading) {
    cr_assert_eq(chmod(base, 0777), 0);
    cr_assert_eq(as_anybody(use_read_only), 0);
}

static bool use_none(void) {
    return get_number(1) == 0 && get_number(1) == 0;
}

Test(cache, folders_that_cannot_be_made) {
    cr_assert_eq(chmod(base, 0555), 0);
    cr_assert_eq(as_anybody(use_none), 0);
    setenv("HEDDLE_CACHE_DIR", "/dev/null", 1);
    cr_assert(use_none());
    unsetenv("HEDDLE_CACHE_DIR");
    unsetenv("XDG_CACHE_HOME");
    setenv("HOME", "/proc/nobody/home", 1);
    cr_assert(use_none());
    unsetenv("HOME");
    cr_assert(use_none());
    char path[160]; // a file where the folder should be
    snprintf(path, sizeof path, "%s/file", base);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    setenv("HEDDLE_CACHE_DIR", path, 1);
    cr_assert(use_none());
}

// A full disk, by the limit on the sizes of files, which comes with a signal besides.
static bool use_full(void) {
    const struct rlimit little = {500, 500};
    if (setrlimit(RLIMIT_FSIZE, &little) != 0)
        return false;
    struct job small = {.number = 3, .bytes = 100};
    return get_number(1) == 0 && get_number(1) == 0 && file_count() == 0 && get(&small) == 0 &&
           get(&small) == 1;
}

Test(cache, full_disk) {
    cr_assert_eq(chmod(base, 0777), 0);
    cr_assert_eq(as_anybody(use_full), 0);
}

// A disk that is full in truth: a small one of this process alone. Only root mounts, and not
// everywhere.
static bool use_small_disk(void) {
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", base, "tmpfs", 0, "size=64k") != 0)
        return true;
    struct job large = {.number = 3, .bytes = LARGE};
    return get_number(1) == 0 && get_number(1) == 1 && get(&large) == 0 && get(&large) == 0 &&
           file_count() == 1 && get_number(1) == 1;
}

Test(cache, small_disk) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        _exit(use_small_disk() ? 0 : 1);
    int status;
    cr_assert(waitpid(child, &status, 0) == child && status == 0);
}

// ---- eviction -----------------------------------------------------------------------------------

static void set_age(const char *path, long seconds) {
    struct timespec times[2];
    clock_gettime(CLOCK_REALTIME, &times[1]);
    times[1].tv_sec -= seconds;
    times[0] = times[1];
    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

Test(cache, least_recently_used_goes) {
    char path[160];
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(get_number(i), 0);
        path_of(i, path);
        set_age(path, 10000 - i); // 0 is the oldest
    }
    cr_assert_eq(get_number(0), 1);          // and now the one used last
    setenv("HEDDLE_CACHE_LIMIT", "5600", 1); // five of about 1100 bytes
    cr_assert_eq(get_number(10), 0);
    cr_assert_eq(file_count(), 5);
    cr_assert(get_number(0) == 1 && get_number(10) == 1 && get_number(9) == 1);
    for (int i = 1; i < 7; i++) {
        path_of(i, path);
        cr_assert(access(path, F_OK) != 0, "%d", i);
    }
}

Test(cache, larger_than_the_limit) {
    cr_assert_eq(get_number(1), 0);
    setenv("HEDDLE_CACHE_LIMIT", "2K", 1);
    struct job large = {.number = 2, .bytes = LARGE};
    cr_assert(get(&large) == 0 && get(&large) == 0);
    cr_assert_eq(get_number(1), 1); // nothing went for it
}

Test(cache, what_writers_left_behind) {
    char path[160], old[200], now[200], other[200];
    path_of(1, path);
    cr_assert_eq(get_number(2), 0);
    snprintf(old, sizeof old, "%s.abcdef", path);
    snprintf(now, sizeof now, "%s.ABCDEF", path);
    snprintf(other, sizeof other, "%s/notes", folder);
    close(open(old, O_CREAT | O_WRONLY, 0600));
    close(open(now, O_CREAT | O_WRONLY, 0600));
    close(open(other, O_CREAT | O_WRONLY, 0600));
    set_age(old, 7200);
    set_age(other, 7200);
    cr_assert_eq(get_number(1), 0);
    cr_assert(access(old, F_OK) != 0 && access(now, F_OK) == 0 && access(other, F_OK) == 0);
}

// ---- one making ---------------------------------------------------------------------------------

enum { RACERS = 8 };

static void *race(void *context) {
    struct job *job = context;
    return (void *)(intptr_t)get(job);
}

Test(cache, threads_make_once) {
    pthread_t threads[RACERS];
    struct job jobs[RACERS];
    int made = 0, found = 0;
    for (int i = 0; i < RACERS; i++) {
        jobs[i] = (struct job){.number = 7, .bytes = LARGE, .delay_ms = 100};
        cr_assert_eq(pthread_create(&threads[i], NULL, race, &jobs[i]), 0);
    }
    for (int i = 0; i < RACERS; i++) {
        void *outcome;
        pthread_join(threads[i], &outcome);
        cr_assert_geq((intptr_t)outcome, 0);
        found += (int)(intptr_t)outcome;
        made += jobs[i].made;
    }
    cr_assert_eq(made, 1);
    cr_assert_eq(found, RACERS - 1);
}

static int log_length(const char *path) {
    struct stat found;
    return stat(path, &found) == 0 ? (int)found.st_size : 0;
}

Test(cache, processes_make_once) {
    char log[128];
    pid_t children[RACERS];
    snprintf(log, sizeof log, "%s/log", base);
    struct job job = {.number = 7, .bytes = LARGE, .delay_ms = 100, .log = log};
    fflush(NULL);
    for (int i = 0; i < RACERS; i++)
        if ((children[i] = fork()) == 0)
            _exit(get(&job) < 0);
    for (int i = 0; i < RACERS; i++) {
        int status;
        cr_assert(waitpid(children[i], &status, 0) == children[i] && status == 0);
    }
    cr_assert_eq(log_length(log), 1);
}

// A child that is making code and does not come to an end.
static pid_t hang(const char *log) {
    struct job job = {.number = 7, .bytes = 10, .log = log, .hangs = true};
    int before = log_length(log);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); // also where the test fails before it ends this
        _exit(get(&job));
    }
    while (log_length(log) == before)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    return child;
}

static double seconds_of(struct job *job, int most_wait_ms, int expected) {
    struct timespec begin, end;
    struct cache cache;
    cache_open(&cache);
    cache.most_wait_ms = most_wait_ms;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    cr_assert_eq(get_in(&cache, job), expected);
    clock_gettime(CLOCK_MONOTONIC, &end);
    cache_close(&cache);
    return difftime(end.tv_sec, begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) * 1e-9;
}

static void end_child(pid_t child) {
    int status;
    kill(child, SIGKILL);
    cr_assert_eq(waitpid(child, &status, 0), child);
}

Test(cache, locks_die_with_their_process) {
    char log[128];
    struct job job = {.number = 7, .bytes = 10};
    snprintf(log, sizeof log, "%s/log", base);
    end_child(hang(log));
    cr_assert_lt(seconds_of(&job, 60000, 0), 5.0);
}

Test(cache, nobody_waits_for_ever) {
    char log[128];
    struct job job = {.number = 7, .bytes = 10};
    snprintf(log, sizeof log, "%s/log", base);
    pid_t child = hang(log);
    double waited = seconds_of(&job, 200, 0);
    cr_assert(waited >= 0.2 && waited < 10.0, "%g s", waited);
    cr_assert_lt(seconds_of(&job, 60000, 1), 5.0); // what was made is kept all the same
    end_child(child);
}

// Whoever was forked while a lock was held has the same open file.
Test(cache, forked_children_hold_no_lock) {
    struct lock lock, again;
    cr_assert_eq(mkdir(folder, 0700), 0);
    cr_assert(lock_open(&lock, folder, 5) && lock_try(&lock) == LOCK_HELD);
    cr_assert(lock_open(&again, folder, 5) && lock_try(&again) == LOCK_BUSY);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    lock_close(&lock);
    cr_assert_eq(lock_try(&again), LOCK_HELD);
    lock_close(&again);
    end_child(child);
}

// ---- kill -9 ------------------------------------------------------------------------------------

enum { KILLS = 200, KEYS = 6 };

static void keep_using(uint64_t seed) {
    for (;; seed++) {
        struct job job = {.number = (int)(seed % KEYS), .bytes = LARGE};
        char path[160];
        if (get(&job) < 0)
            _exit(1);
        path_of(job.number, path);
        unlink(path); // to be made, and written, again
    }
}

Test(cache, killed_at_any_point, .timeout = 120) {
    for (int i = 0; i < KILLS; i++) {
        fflush(NULL);
        pid_t child = fork();
        if (child == 0)
            keep_using((uint64_t)i);
        nanosleep(&(struct timespec){0, (long)(i * 7919 % 20011) * 1000}, NULL);
        int status;
        kill(child, SIGKILL);
        cr_assert(waitpid(child, &status, 0) == child && WIFSIGNALED(status), "run %d", i);
    }
    for (int i = 0; i < KEYS; i++) { // each is right, found or made
        struct job job = {.number = i, .bytes = LARGE};
        cr_assert_geq(get(&job), 0);
        cr_assert_eq(get(&job), 1);
    }
}
