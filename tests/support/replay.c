/* replay.c - runs a fuzz target once over every file of the folders given, so that old
 * findings stay fixed without a fuzzer. */
#define _DEFAULT_SOURCE
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static int replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        return 0;
    }
    enum { MOST_BYTES = 1 << 24 };
    uint8_t *bytes = malloc(MOST_BYTES);
    size_t length = bytes ? fread(bytes, 1, MOST_BYTES, file) : 0;
    fclose(file);
    /* An exact copy, so that a sanitizer sees a read beyond the end. */
    uint8_t *exact = malloc(length ? length : 1);
    if (bytes && exact) {
        memcpy(exact, bytes, length);
        (void)LLVMFuzzerTestOneInput(exact, length);
    }
    free(exact);
    free(bytes);
    return 1;
}

int main(int count, char **folders)
{
    int replayed = 0;
    for (int i = 1; i < count; i++) {
        DIR *folder = opendir(folders[i]);
        for (struct dirent *entry; folder && (entry = readdir(folder)) != NULL;) {
            char path[4096];
            snprintf(path, sizeof path, "%s/%s", folders[i], entry->d_name);
            replayed += entry->d_name[0] != '.' && replay(path);
        }
        if (folder) {
            closedir(folder);
        }
    }
    printf("%d files replayed\n", replayed);
    return replayed > 0 ? 0 : 1;
}
