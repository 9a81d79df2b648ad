/* file.h - whole files in, atomically replaced files out, and CRC-32.
 *
 * Everything wattle writes goes to a temporary file beside the target, is flushed to disk,
 * and is renamed over the target only when complete: a reader sees the old file or the new
 * one, never half of one, whatever kills the process.
 */
#ifndef WATTLE_FILE_H
#define WATTLE_FILE_H

#include "wattle/status.h"

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Read all of `path`; plain or gzip is told by the content, not the name. *bytes gets one
 * NUL after the end (not counted), so text can be scanned. Freed by wtl_free().
 *   WTL_E_MISSING  no such file
 *   WTL_E_IO       cannot be read, is a folder, or the gzip stream is damaged
 *   WTL_E_RANGE    larger (unpacked) than `most_bytes`
 *   WTL_E_NOMEM    out of memory */
WTL_API wtl_status wtl_file_read(const char *path, size_t most_bytes, unsigned char **bytes,
                                 size_t *length, wtl_error *err) WTL_MUST_CHECK;

/* The same for formats that are never packed: gzip is refused (WTL_E_FORMAT) rather than
 * unpacked, so the memory taken is the file's size. */
WTL_API wtl_status wtl_file_read_plain(const char *path, size_t most_bytes,
                                       unsigned char **bytes, size_t *length,
                                       wtl_error *err) WTL_MUST_CHECK;

typedef struct wtl_writer wtl_writer;

/* Begin to replace `path`, or what it is a symbolic link to. The temporary file is
 * PATH.tmp: a leftover of a killed run is replaced, and two writers of one path at a time
 * are a mistake. Devices and pipes (/dev/null) are written to as they are. WTL_E_WRITE when
 * the path is a folder or the folder cannot be written. */
WTL_API wtl_status wtl_writer_open(wtl_writer **out, const char *path,
                                   wtl_error *err) WTL_MUST_CHECK;

/* Errors are kept and reported by wtl_writer_commit(). */
WTL_API void wtl_writer_put(wtl_writer *writer, const void *bytes, size_t length);
WTL_API void wtl_writer_printf(wtl_writer *writer, const char *format, ...) WTL_PRINTF(2, 3);
WTL_API uint64_t wtl_writer_position(const wtl_writer *writer);

/* Flush, sync, rename; frees the writer in every case. WTL_E_WRITE leaves the old file. */
WTL_API wtl_status wtl_writer_commit(wtl_writer *writer, wtl_error *err) WTL_MUST_CHECK;

/* Drop what was written; the old file stays. Takes NULL. */
WTL_API void wtl_writer_abort(wtl_writer *writer);

/* Write `length` bytes to `path` in one go. */
WTL_API wtl_status wtl_file_write(const char *path, const void *bytes, size_t length,
                                  wtl_error *err) WTL_MUST_CHECK;

/* Make the folder and its parents; fine if it is there. */
WTL_API wtl_status wtl_make_folder(const char *path, wtl_error *err) WTL_MUST_CHECK;

WTL_API bool wtl_file_exists(const char *path);
WTL_API bool wtl_folder_exists(const char *path);

/* "folder/name", or "name" when folder is "" or name is absolute. Freed by wtl_free(). */
WTL_API char *wtl_path_join(const char *folder, const char *name) WTL_MUST_CHECK;

/* CRC-32 as in zlib and PNG; start with crc = 0. */
WTL_API uint32_t wtl_crc32(uint32_t crc, const void *bytes, size_t length);

#ifdef __cplusplus
}
#endif
#endif
