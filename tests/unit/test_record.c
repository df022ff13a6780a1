// Records on disk: round trips, damage, keys of one name, folders that cannot be written, writers
// at the same time.
#include "compiler/base/files.h"
#include "runtime/record.h"
#include "tests/support/scratch.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char key[] = "pattern window\nsizes 64\n", other_key[] = "pattern window\nsizes 65\n";
static const char text[] = "basis i\nquery_tile 1 1 64\n";
static char base[SCRATCH_ROOM], folder[128];

static void setup(void) {
    scratch_make("record", base);
    snprintf(folder, sizeof folder, "%s/cache/records", base); // two levels are to be made
}

static void teardown(void) {
    scratch_remove(base);
}

TestSuite(record, .init = setup, .fini = teardown);

static void write_text(const char *of_key, const char *value) {
    struct error error = {0};
    cr_assert_eq(record_write(folder, of_key, value, &error), HEDDLE_OK, "%s", error_text(&error));
}

static void check_text(const char *of_key, const char *expected) {
    struct strbuf found = {0};
    bool there = record_read(folder, of_key, &found);
    cr_assert_eq(there, expected != NULL);
    if (expected)
        cr_assert_str_eq(found.text, expected);
    cr_assert(expected || found.length == 0);
    strbuf_finish(&found);
}

static struct strbuf path_of(const char *of_key) {
    struct strbuf path = {0};
    cr_assert(record_path(folder, of_key, &path));
    return path;
}

static struct strbuf read_all(const char *path) {
    struct strbuf out = {0};
    FILE *file = fopen(path, "rb");
    cr_assert(file);
    for (int c; (c = fgetc(file)) != EOF;)
        strbuf_add(&out, &(char){(char)c}, 1);
    fclose(file);
    return out;
}

static void write_all(const char *path, const char *bytes, size_t length) {
    FILE *file = fopen(path, "wb");
    cr_assert(file && fwrite(bytes, 1, length, file) == length);
    fclose(file);
}

static int files_in_folder(void) {
    int count = 0;
    DIR *listing = opendir(folder);
    cr_assert(listing);
    for (struct dirent *one; (one = readdir(listing));)
        count += one->d_name[0] != '.';
    closedir(listing);
    return count;
}

Test(record, round_trip) {
    check_text(key, NULL);
    write_text(key, text);
    check_text(key, text);
    check_text(other_key, NULL);
    write_text(other_key, "");
    check_text(other_key, "");
    check_text(key, text);
}

Test(record, newer_replaces_older) {
    write_text(key, text);
    write_text(key, "something shorter");
    check_text(key, "something shorter");
    cr_assert_eq(files_in_folder(), 1);
}

Test(record, every_truncation_is_a_miss) {
    write_text(key, text);
    struct strbuf path = path_of(key), whole = read_all(path.text);
    for (size_t length = 0; length < whole.length; length++) {
        write_all(path.text, whole.text, length);
        check_text(key, NULL);
    }
    write_all(path.text, whole.text, whole.length);
    check_text(key, text);
    strbuf_finish(&path);
    strbuf_finish(&whole);
}

Test(record, every_changed_byte_is_a_miss) {
    write_text(key, text);
    struct strbuf path = path_of(key), whole = read_all(path.text);
    for (size_t at = 0; at < whole.length; at++) {
        whole.text[at] ^= 1;
        write_all(path.text, whole.text, whole.length);
        check_text(key, NULL);
        whole.text[at] ^= 1;
    }
    strbuf_add(&whole, "more", 4);
    write_all(path.text, whole.text, whole.length);
    check_text(key, NULL);
    strbuf_finish(&path);
    strbuf_finish(&whole);
}

Test(record, file_of_another_key_is_a_miss) {
    write_text(other_key, text);
    struct strbuf from = path_of(other_key), to = path_of(key);
    cr_assert_eq(rename(from.text, to.text), 0); // as if both keys had one hash
    check_text(key, NULL);
    strbuf_finish(&from);
    strbuf_finish(&to);
}

Test(record, what_is_no_file_is_a_miss) {
    write_text(key, text);
    struct strbuf path = path_of(key);
    cr_assert(unlink(path.text) == 0 && mkdir(path.text, 0700) == 0);
    check_text(key, NULL);
    // And nothing that was begun stays behind where it cannot be put in place.
    struct error error = {0};
    cr_assert_eq(record_write(folder, key, text, &error), HEDDLE_IO_ERROR);
    cr_assert_eq(files_in_folder(), 1);
    error_finish(&error);
    strbuf_finish(&path);
}

Test(record, folder_that_cannot_be_made) {
    struct error error = {0};
    struct strbuf found = {0};
    write_all(strcat(strcpy(folder, base), "/file"), "", 0);
    strcat(folder, "/records");
    cr_assert_eq(record_write(folder, key, text, &error), HEDDLE_IO_ERROR);
    cr_assert(strstr(error_text(&error), base), "%s", error_text(&error));
    cr_assert_not(record_read(folder, key, &found));
    error_finish(&error);
}

// ---- writers at the same time -------------------------------------------------------------------

enum { WRITERS = 8, ROUNDS = 200, LONG_BYTES = 20000 };

static void fill(char *out, int writer) { // a text that is only right as a whole
    memset(out, 'a' + writer, LONG_BYTES);
    out[LONG_BYTES] = '\0';
}

static void *keep_writing(void *number) {
    static _Thread_local char own[LONG_BYTES + 1];
    struct error error = {0};
    fill(own, *(int *)number);
    for (int i = 0; i < ROUNDS; i++)
        if (record_write(folder, key, own, &error) != HEDDLE_OK)
            return "a write failed";
    return NULL;
}

static void check_some_writers_text(void) {
    static char expected[LONG_BYTES + 1];
    struct strbuf found = {0};
    cr_assert(record_read(folder, key, &found));
    fill(expected, found.text[0] - 'a');
    cr_assert_str_eq(found.text, expected);
    strbuf_finish(&found);
}

Test(record, writers_at_the_same_time) {
    pthread_t threads[WRITERS];
    int numbers[WRITERS];
    static char first[LONG_BYTES + 1];
    fill(first, 0);
    write_text(key, first);
    for (int i = 0; i < WRITERS; i++) {
        numbers[i] = i;
        cr_assert_eq(pthread_create(&threads[i], NULL, keep_writing, &numbers[i]), 0);
    }
    for (int i = 0; i < ROUNDS; i++)
        check_some_writers_text();
    for (int i = 0; i < WRITERS; i++) {
        void *complaint;
        pthread_join(threads[i], &complaint);
        cr_assert_null(complaint);
    }
    check_some_writers_text();
    cr_assert_eq(files_in_folder(), 1);
}

// ---- where --------------------------------------------------------------------------------------

static void check_folder(const char *own, const char *cache, const char *home,
                         const char *expected) {
    const char *const names[] = {"HEDDLE_CACHE_DIR", "XDG_CACHE_HOME", "HOME"};
    const char *const values[] = {own, cache, home};
    struct strbuf found = {0};
    for (int i = 0; i < 3; i++)
        cr_assert_eq(values[i] ? setenv(names[i], values[i], 1) : unsetenv(names[i]), 0);
    cr_assert_eq(files_user_folder("tuned", &found), expected != NULL);
    if (expected)
        cr_assert_str_eq(found.text, expected);
    strbuf_finish(&found);
}

Test(record, folders) {
    check_folder("/own", "/cache", "/home/me", "/own/tuned");
    check_folder("own", NULL, NULL, "own/tuned");
    check_folder(NULL, "/cache", "/home/me", "/cache/heddle/tuned");
    check_folder("", "cache", "/home/me", "/home/me/.cache/heddle/tuned");
    check_folder(NULL, NULL, "/home/me", "/home/me/.cache/heddle/tuned");
    check_folder(NULL, "", "", NULL);
    check_folder(NULL, NULL, NULL, NULL);
}
