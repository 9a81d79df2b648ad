/* checkpoint.h - the .wtl file: one little-endian, self-describing file for a network.
 *
 * Layout
 *   offset 0   8 bytes   magic "WATTLE\r\n"
 *          8   u32       format version, 1
 *         12   u32       CRC-32 of the header text
 *         16   u64       length H of the header text in bytes, at most 2^26
 *         24   H bytes   header: one JSON object, UTF-8, padded with spaces
 *          .             zero bytes up to the next multiple of 64: the payload base
 *          .             tensors, each starting at a multiple of 64 from the file's start,
 *                        in the order of the header, zero bytes between, nothing behind
 * Header
 *   {"format":"wattle-checkpoint","version":1,
 *    "net":"<canonical net text>",            optional
 *    "classes":["T-shirt/top",...],           optional
 *    "meta":{...},                            optional; anything: training state, history
 *    "tensors":[{"name":"conv1.weight","type":"f32","shape":[20,1,5,5],
 *                "encoding":"dense","offset":4096,"bytes":2000,"crc32":305419896},...]}
 *   type      f32
 *   encoding  "dense"   count floats
 *             "bitmap"  ceil(count/8) bytes, bit i%8 of byte i/8 set if value i is kept,
 *                       zero bytes up to a multiple of 4, then the kept floats in order;
 *                       the others are +0.0
 *   crc32     of the stored bytes of the payload
 *   name      1 to 255 bytes, each name once
 *   shape     0 to 4 sizes of at least 1; [] is one value
 *   values    finite: no NaN, no infinity
 * Other keys and other values of "type" and "encoding" do not occur.
 *
 * A reader refuses what is cut, altered, oversized or unknown, with the offset.
 */
#ifndef WATTLE_CHECKPOINT_H
#define WATTLE_CHECKPOINT_H

#include "wattle/net.h"

struct json_t; /* jansson */

#ifdef __cplusplus
extern "C" {
#endif

typedef struct wtl_checkpoint wtl_checkpoint;

typedef struct wtl_tensor_view {
    const char *name;
    int rank;
    size_t dims[WTL_MAX_RANK];
    size_t count;
    const float *value; /* dense, whatever the encoding in the file */
} wtl_tensor_view;

/* ---- building and writing ---- */

/* An empty checkpoint. WTL_E_NOMEM. */
WTL_API wtl_status wtl_checkpoint_create(wtl_checkpoint **out, wtl_error *err) WTL_MUST_CHECK;
WTL_API void wtl_checkpoint_free(wtl_checkpoint *checkpoint); /* takes NULL */

/* The net text (copied). */
WTL_API wtl_status wtl_checkpoint_set_net(wtl_checkpoint *checkpoint, const wtl_netdef *def,
                                          wtl_error *err) WTL_MUST_CHECK;
/* Class names (copied). */
WTL_API wtl_status wtl_checkpoint_set_classes(wtl_checkpoint *checkpoint,
                                              const char *const *names, int count,
                                              wtl_error *err) WTL_MUST_CHECK;
/* Put `value` under meta[key]; takes over the caller's reference, even on failure. A NULL
 * value is WTL_E_NOMEM: the caller need not check what json_pack() and its like return.
 * Meta is written with sorted keys. */
WTL_API wtl_status wtl_checkpoint_set_meta(wtl_checkpoint *checkpoint, const char *key,
                                           struct json_t *value, wtl_error *err) WTL_MUST_CHECK;
/* Add a tensor of `rank` 0 to 4. The values are NOT copied: they must stay until the write.
 * Names are unique, sizes at least 1 (WTL_E_ARG). On writing, `bitmap` is chosen where it is
 * smaller; -0.0 survives it. */
WTL_API wtl_status wtl_checkpoint_add(wtl_checkpoint *checkpoint, const char *name, int rank,
                                      const size_t *dims, const float *value,
                                      wtl_error *err) WTL_MUST_CHECK;
/* Add all parameters of a net, and masks (as "NAME.mask") where present. */
WTL_API wtl_status wtl_checkpoint_add_net(wtl_checkpoint *checkpoint, wtl_net *net,
                                          wtl_error *err) WTL_MUST_CHECK;
/* Write atomically: same contents, same bytes. WTL_E_WRITE leaves an old file as it was.
 * WTL_E_NAN if a tensor has a NaN or infinity: such a network is not worth keeping over an
 * older one. WTL_E_RANGE if the header would have more than 2^26 bytes. */
WTL_API wtl_status wtl_checkpoint_write(wtl_checkpoint *checkpoint, const char *path,
                                        wtl_error *err) WTL_MUST_CHECK;

/* ---- reading ---- */

/* Read and verify the whole file. WTL_E_MISSING, WTL_E_IO, WTL_E_FORMAT (with
 * "FILE: offset N: ..."), WTL_E_NAN, WTL_E_NOMEM. */
WTL_API wtl_status wtl_checkpoint_read(wtl_checkpoint **out, const char *path,
                                       wtl_error *err) WTL_MUST_CHECK;
/* The same from memory (not kept); `name` stands for the file in messages. */
WTL_API wtl_status wtl_checkpoint_parse(wtl_checkpoint **out, const unsigned char *bytes,
                                        size_t length, const char *name,
                                        wtl_error *err) WTL_MUST_CHECK;

/* True if the bytes begin like a checkpoint. */
WTL_API bool wtl_checkpoint_sniff(const unsigned char *bytes, size_t length);

/* The definition (owned by the checkpoint), or NULL if it has no net. */
WTL_API const wtl_netdef *wtl_checkpoint_net(const wtl_checkpoint *checkpoint);
WTL_API int wtl_checkpoint_class_count(const wtl_checkpoint *checkpoint);
WTL_API const char *wtl_checkpoint_class(const wtl_checkpoint *checkpoint, int index);
/* meta[key] (borrowed), or NULL. */
WTL_API struct json_t *wtl_checkpoint_meta(const wtl_checkpoint *checkpoint, const char *key);
WTL_API int wtl_checkpoint_tensor_count(const wtl_checkpoint *checkpoint);
WTL_API wtl_tensor_view wtl_checkpoint_tensor(const wtl_checkpoint *checkpoint, int index);
/* False if there is none of that name. */
WTL_API bool wtl_checkpoint_find(const wtl_checkpoint *checkpoint, const char *name,
                                 wtl_tensor_view *view);

/* Fill a net's parameters and masks from the checkpoint; a parameter without a mask there
 * has none afterwards. Tensors that the net has no parameter for (auxiliary heads in an
 * inference net, optimiser state) are passed over. On failure the net is as it was:
 *   WTL_E_MISSING, WTL_E_SHAPE  names the tensor
 *   WTL_E_RANGE                 a mask has a value other than 0 and 1
 *   WTL_E_NOMEM */
WTL_API wtl_status wtl_checkpoint_fill_net(const wtl_checkpoint *checkpoint, wtl_net *net,
                                           wtl_error *err) WTL_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
