/* dataset.h - labelled pictures by index, whatever they are stored as.
 *
 * DATA as users write it:
 *   fashion-mnist          the Debian package dataset-fashion-mnist
 *   idx:DIR                train-images-idx3-ubyte[.gz] and the other three files
 *   cifar10:DIR            data_batch_*.bin and test_batch.bin (or any .bin files named
 *                          *train* / *test*): 1 label byte, 3072 pixel bytes a record
 *   cifar100:DIR           train.bin and test.bin: coarse, fine label, 3072 pixel bytes
 *   folder:DIR             DIR/train/CLASS/picture and DIR/{val,test}/CLASS/picture, or
 *                          DIR/CLASS/picture; classes in alphabetical order
 *   list:FILE              lines "path label" (Caffe), paths relative to the file
 * each optionally with @train, @val (held out of train by seed) or @test.
 * A folder with only one of val/ and test/ has it as @test; one with both has its own @val,
 * and nothing is held out. Where a folder has no test part, @test is refused. A list is one
 * part by itself: @test is all of it, @train and @val share it.
 */
#ifndef WATTLE_DATASET_H
#define WATTLE_DATASET_H

#include "wattle/status.h"

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A decoded picture: interleaved bytes, rows top to bottom, RGB order. */
typedef struct wtl_image {
    int width, height, channels; /* 1 or 3 */
    size_t capacity;             /* bytes in pixels */
    unsigned char *pixels;       /* owned; start from {0} and wtl_image_clear() at the end */
} wtl_image;

/* Make room; WTL_E_NOMEM keeps the old content. */
WTL_API wtl_status wtl_image_resize(wtl_image *image, int width, int height,
                                    int channels) WTL_MUST_CHECK;
WTL_API void wtl_image_clear(wtl_image *image);

/* Decode a PNG or JPEG, told apart by content. 16-bit, palette and alpha PNGs and CMYK /
 * YCCK JPEGs become 8-bit RGB, gray stays gray, alpha is dropped. Reuses *image, whose
 * content is undefined after a failure. `name` is for messages.
 *   WTL_E_FORMAT  neither PNG nor JPEG, or damaged
 *   WTL_E_RANGE   a side over 16384 or more than 2^26 pixels
 *   WTL_E_NOMEM */
WTL_API wtl_status wtl_image_decode(wtl_image *image, const unsigned char *bytes, size_t length,
                                    const char *name, wtl_error *err) WTL_MUST_CHECK;
/* Read and decode a file. */
WTL_API wtl_status wtl_image_load(wtl_image *image, const char *path,
                                  wtl_error *err) WTL_MUST_CHECK;

typedef enum wtl_data_part { WTL_DATA_TRAIN, WTL_DATA_VAL, WTL_DATA_TEST } wtl_data_part;

typedef struct wtl_dataset_options {
    wtl_data_part part;  /* used when the DATA text has no @part */
    uint64_t split_seed; /* which images are held out */
    double val_share;    /* of train that is held out as val; 0 means 0.1. The same images
                            for the same seed and share, stratified by nothing, chosen by
                            a permutation keyed by the seed alone */
    bool whole_train;    /* @train is all of train: nothing is held out, @val is refused */
} wtl_dataset_options;

typedef struct wtl_dataset wtl_dataset;

/* Open DATA. options may be NULL.
 *   WTL_E_ARG      the text is not a DATA, with what was expected
 *   WTL_E_MISSING  files are not there; names the package or the files looked for
 *   WTL_E_FORMAT   a file is malformed: "FILE: offset N: ..."
 *   WTL_E_IO, WTL_E_NOMEM */
WTL_API wtl_status wtl_dataset_open(wtl_dataset **out, const char *data,
                                    const wtl_dataset_options *options,
                                    wtl_error *err) WTL_MUST_CHECK;
WTL_API void wtl_dataset_free(wtl_dataset *dataset); /* takes NULL */

WTL_API const char *wtl_dataset_name(const wtl_dataset *dataset); /* the DATA text with @part */
WTL_API size_t wtl_dataset_count(const wtl_dataset *dataset);
WTL_API int wtl_dataset_classes(const wtl_dataset *dataset);
/* NULL if the data set has no names. */
WTL_API const char *wtl_dataset_class_name(const wtl_dataset *dataset, int label);
/* Size of every picture, or zeros where sizes differ or are known only after decoding. */
WTL_API void wtl_dataset_shape(const wtl_dataset *dataset, int *channels, int *height,
                               int *width);
WTL_API int wtl_dataset_label(const wtl_dataset *dataset, size_t index);
/* For messages: a path, or "fashion-mnist train image 17". */
WTL_API void wtl_dataset_describe(const wtl_dataset *dataset, size_t index, char *text,
                                  size_t size);
/* The picture; callable from several threads at once with different images. */
WTL_API wtl_status wtl_dataset_image(const wtl_dataset *dataset, size_t index, wtl_image *image,
                                     wtl_error *err) WTL_MUST_CHECK;
/* CRC-32 over the part's content (or over its paths and labels, for picture files): tells
 * whether two runs saw the same data. */
WTL_API uint32_t wtl_dataset_hash(const wtl_dataset *dataset);

#ifdef __cplusplus
}
#endif
#endif
