/* file.c - reading whole files (plain or gzip), replacing files atomically, CRC-32.
 * The only file that sees <zlib.h>. */
#define _GNU_SOURCE
#include "wattle/file.h"

#include "wattle/memory.h"
#include "wattle/text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

struct wtl_writer {
    char *path;
    char *temporary;
    FILE *file;
    bool in_place; /* a device or pipe: no temporary file, no renaming */
    uint64_t position;
    int error; /* errno of the first failure, 0 while all is well */
};

bool wtl_file_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && !S_ISDIR(info.st_mode);
}

bool wtl_folder_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

char *wtl_path_join(const char *folder, const char *name)
{
    if (folder[0] == '\0' || name[0] == '/') {
        return wtl_strdup(name);
    }
    size_t length = strlen(folder);
    return wtl_format("%s%s%s", folder, folder[length - 1] == '/' ? "" : "/", name);
}

uint32_t wtl_crc32(uint32_t crc, const void *bytes, size_t length)
{
    return (uint32_t)crc32_z(crc, bytes, length);
}

static const char *why_not_read(gzFile stream, const char *path)
{
    int code;
    const char *why = gzerror(stream, &code);
    size_t length = strlen(path);
    if (code == Z_ERRNO) {
        return strerror(errno);
    }
    /* zlib puts the path before the reason, and so does our message. */
    bool prefixed = strncmp(why, path, length) == 0 && strncmp(why + length, ": ", 2) == 0;
    return prefixed ? why + length + 2 : why;
}

/* Reads through zlib, which passes plain files through unchanged. */
static wtl_status read_stream(gzFile stream, const char *path, size_t most_bytes,
                              size_t size_hint, unsigned char **bytes, size_t *length,
                              wtl_error *err)
{
    size_t capacity = size_hint < most_bytes ? size_hint : most_bytes;
    unsigned char *buffer = wtl_alloc(capacity + 2, 1);
    size_t used = 0;
    if (!buffer) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory (%zu bytes)", path, capacity);
    }
    for (;;) {
        /* One byte more than allowed is asked for, to tell "at the limit" from "over". */
        size_t want = capacity + 1 - used;
        int got = gzread(stream, buffer + used, want > 1 << 30 ? 1 << 30 : (unsigned)want);
        if (got < 0) {
            const char *why = why_not_read(stream, path);
            wtl_free(buffer);
            return wtl_fail(err, WTL_E_IO, "%s: cannot be read: %s", path, why);
        }
        used += (size_t)got;
        if (got == 0) {
            break;
        }
        if (used > most_bytes) {
            wtl_free(buffer);
            return wtl_fail(err, WTL_E_RANGE, "%s: larger than the %zu bytes allowed here",
                            path, most_bytes);
        }
        if (used > capacity) {
            size_t larger = capacity > most_bytes / 2 ? most_bytes : capacity * 2;
            if (wtl_grow((void **)&buffer, used, larger + 2, 1) != WTL_OK) {
                wtl_free(buffer);
                return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory (%zu bytes)", path,
                                larger);
            }
            capacity = larger;
        }
    }
    int code;
    (void)gzerror(stream, &code);
    if (code == Z_BUF_ERROR) { /* the gzip stream ends before its end mark */
        wtl_free(buffer);
        return wtl_fail(err, WTL_E_IO, "%s: the gzip data is cut short", path);
    }
    buffer[used] = '\0';
    *bytes = buffer;
    *length = used;
    return WTL_OK;
}

static wtl_status read_path(const char *path, bool plain, size_t most_bytes,
                            unsigned char **bytes, size_t *length, wtl_error *err)
{
    *bytes = NULL;
    *length = 0;
    struct stat info;
    if (stat(path, &info) != 0) {
        return wtl_fail(err, errno == ENOENT || errno == ENOTDIR ? WTL_E_MISSING : WTL_E_IO,
                        "%s: %s", path, strerror(errno));
    }
    if (S_ISDIR(info.st_mode)) {
        return wtl_fail(err, WTL_E_IO, "%s: is a folder, a file was expected", path);
    }
    errno = 0;
    gzFile stream = gzopen(path, "rbe");
    if (!stream) {
        return wtl_fail(err, WTL_E_IO, "%s: cannot be opened: %s", path,
                        errno ? strerror(errno) : "out of memory");
    }
    wtl_status status;
    (void)gzbuffer(stream, 1 << 17);
    if (plain && !gzdirect(stream)) {
        status = wtl_fail(err, WTL_E_FORMAT,
                          "%s: offset 0: is packed with gzip: unpack it first", path);
    } else {
        size_t hint = info.st_size > 0 ? (size_t)info.st_size : 4096;
        status = read_stream(stream, path, most_bytes, hint, bytes, length, err);
    }
    (void)gzclose_r(stream);
    return status;
}

wtl_status wtl_file_read(const char *path, size_t most_bytes, unsigned char **bytes,
                         size_t *length, wtl_error *err)
{
    return read_path(path, false, most_bytes, bytes, length, err);
}

wtl_status wtl_file_read_plain(const char *path, size_t most_bytes, unsigned char **bytes,
                               size_t *length, wtl_error *err)
{
    return read_path(path, true, most_bytes, bytes, length, err);
}

/* Where the bytes shall end up: behind a symbolic link, the file it leads to. */
static char *resolve(const char *path)
{
    struct stat info;
    char resolved[PATH_MAX];
    bool link = lstat(path, &info) == 0 && S_ISLNK(info.st_mode);
    return wtl_strdup(link && realpath(path, resolved) ? resolved : path);
}

static void open_temporary(wtl_writer *writer)
{
    /* O_EXCL: a link that someone planted under this name is not followed. */
    (void)unlink(writer->temporary);
    int descriptor =
        open(writer->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    writer->file = descriptor >= 0 ? fdopen(descriptor, "wb") : NULL;
    if (descriptor >= 0 && !writer->file) {
        close(descriptor);
        (void)unlink(writer->temporary);
    }
}

/* Sets writer->file, or errno. */
static void open_target(wtl_writer *writer)
{
    struct stat info;
    bool there = stat(writer->path, &info) == 0;
    writer->in_place = there && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode);
    if (there && S_ISDIR(info.st_mode)) {
        errno = EISDIR;
    } else if (writer->in_place) {
        writer->file = fopen(writer->path, "wbe");
    } else {
        open_temporary(writer);
    }
}

wtl_status wtl_writer_open(wtl_writer **out, const char *path, wtl_error *err)
{
    *out = NULL;
    wtl_writer *writer = wtl_alloc(1, sizeof *writer);
    char *target = resolve(path);
    /* The name must not depend on the process: a killed run's leftover is overwritten. */
    char *temporary = target ? wtl_format("%s.tmp", target) : NULL;
    if (!writer || !temporary) {
        wtl_free(writer);
        wtl_free(target);
        wtl_free(temporary);
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", path);
    }
    writer->path = target;
    writer->temporary = temporary;
    open_target(writer);
    if (!writer->file) {
        wtl_status status =
            wtl_fail(err, WTL_E_WRITE, "%s: cannot be written: %s", path, strerror(errno));
        wtl_writer_abort(writer);
        return status;
    }
    *out = writer;
    return WTL_OK;
}

void wtl_writer_put(wtl_writer *writer, const void *bytes, size_t length)
{
    errno = 0;
    if (writer->error == 0 && length > 0 && fwrite(bytes, 1, length, writer->file) != length) {
        writer->error = errno ? errno : EIO;
    }
    writer->position += length;
}

void wtl_writer_printf(wtl_writer *writer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    errno = 0;
    int put = vfprintf(writer->file, format, arguments);
    va_end(arguments);
    if (put < 0 && writer->error == 0) {
        writer->error = errno ? errno : EIO;
    }
    writer->position += put > 0 ? (uint64_t)put : 0;
}

uint64_t wtl_writer_position(const wtl_writer *writer)
{
    return writer->position;
}

/* Makes the rename last. Cuts `path` down to its folder: nothing is allocated here, where
 * nothing may fail any more. */
static void sync_folder_of(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash) {
        slash[slash == path ? 1 : 0] = '\0';
    }
    int descriptor = open(slash ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor >= 0) {
        (void)fsync(descriptor); /* some file systems refuse; the rename stands anyway */
        close(descriptor);
    }
}

wtl_status wtl_writer_commit(wtl_writer *writer, wtl_error *err)
{
    int error = writer->error;
    if (fflush(writer->file) != 0 && error == 0) {
        error = errno;
    }
    if (error == 0 && fsync(fileno(writer->file)) != 0 && errno != EINVAL) {
        error = errno;
    }
    if (fclose(writer->file) != 0 && error == 0) {
        error = errno;
    }
    writer->file = NULL;
    if (error == 0 && !writer->in_place && rename(writer->temporary, writer->path) != 0) {
        error = errno;
    }
    wtl_status status = WTL_OK;
    if (error != 0) {
        status = wtl_fail(err, WTL_E_WRITE, "%s: cannot be written: %s", writer->path,
                          strerror(error));
    }
    if (!writer->in_place) {
        if (error != 0) {
            (void)unlink(writer->temporary);
        } else {
            sync_folder_of(writer->temporary);
        }
    }
    wtl_writer_abort(writer);
    return status;
}

void wtl_writer_abort(wtl_writer *writer)
{
    if (!writer) {
        return;
    }
    if (writer->file) {
        (void)fclose(writer->file);
        if (!writer->in_place) {
            (void)unlink(writer->temporary);
        }
    }
    wtl_free(writer->path);
    wtl_free(writer->temporary);
    wtl_free(writer);
}

wtl_status wtl_file_write(const char *path, const void *bytes, size_t length, wtl_error *err)
{
    wtl_writer *writer;
    wtl_status status = wtl_writer_open(&writer, path, err);
    if (status != WTL_OK) {
        return status;
    }
    wtl_writer_put(writer, bytes, length);
    return wtl_writer_commit(writer, err);
}

wtl_status wtl_make_folder(const char *path, wtl_error *err)
{
    char *partial = wtl_strdup(path);
    if (!partial) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", path);
    }
    wtl_status status = WTL_OK;
    for (char *end = partial; status == WTL_OK && *end;) {
        end += strspn(end, "/");
        end += strcspn(end, "/");
        char kept = *end;
        *end = '\0';
        if (mkdir(partial, 0777) != 0 && errno != EEXIST) {
            status = wtl_fail(err, WTL_E_WRITE, "%s: cannot make the folder: %s", path,
                              strerror(errno));
        }
        *end = kept;
    }
    wtl_free(partial);
    if (status == WTL_OK && !wtl_folder_exists(path)) {
        status = wtl_fail(err, WTL_E_WRITE, "%s: is in the way: a folder was expected", path);
    }
    return status;
}
