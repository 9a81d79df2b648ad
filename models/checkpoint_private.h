/* checkpoint_private.h - what the parts of the checkpoint share. */
#ifndef WTL_CHECKPOINT_PRIVATE_H
#define WTL_CHECKPOINT_PRIVATE_H

#include "wattle/checkpoint.h"

#include <jansson.h>
#include <stdint.h>

#define WTL_CHECKPOINT_MAGIC  "WATTLE\r\n" /* text-mode copies change the line end */
#define WTL_CHECKPOINT_FORMAT "wattle-checkpoint"

enum {
    WTL_CHECKPOINT_VERSION = 1,
    WTL_CHECKPOINT_MAGIC_SIZE = 8,
    WTL_CHECKPOINT_PREFIX = 24,           /* bytes before the header text */
    WTL_CHECKPOINT_ALIGNMENT = 64,        /* of payloads, from the file's start */
    WTL_CHECKPOINT_MOST_HEADER = 1 << 26, /* bytes: bounds what a hostile header costs */
    WTL_CHECKPOINT_LONGEST_NAME = 255     /* bytes of a tensor's name */
};

typedef struct wtl_checkpoint_entry {
    char *name;
    int rank;
    size_t dims[WTL_MAX_RANK];
    size_t count;
    const float *value;
    float *unpacked; /* value, where it was stored as a bitmap; else NULL */
    /* as stored in the file */
    bool bitmap;
    size_t offset, bytes;
    uint32_t crc;
} wtl_checkpoint_entry;

struct wtl_checkpoint {
    wtl_netdef *net; /* or NULL */
    char **classes;
    int class_count;
    json_t *meta; /* object, or NULL while empty */
    wtl_checkpoint_entry *entries;
    int entry_count, entry_capacity;
    unsigned char *file; /* of a read checkpoint: dense values point into it */
};

/* x rounded up to a multiple of `unit`; callers keep x far from SIZE_MAX. */
static inline size_t wtl_checkpoint_round_up(size_t x, size_t unit)
{
    return (x + unit - 1) / unit * unit;
}

/* Bytes before the kept floats of a bitmap of `count` values. */
static inline size_t wtl_checkpoint_bitmap_bytes(size_t count)
{
    return wtl_checkpoint_round_up(count / 8 + (count % 8 != 0), 4);
}

static inline uint32_t wtl_load_le32(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

static inline void wtl_store_le32(unsigned char *bytes, uint32_t word)
{
    for (int i = 0; i < 4; i++) {
        bytes[i] = (unsigned char)(word >> 8 * i);
    }
}

/* NaN and infinity alike: the exponent is all ones. */
static inline bool wtl_bits_are_finite(uint32_t bits)
{
    return (bits & 0x7f800000u) != 0x7f800000u;
}

/* *count = the product of dims, or false when one is 0 or the bytes would overflow. */
bool wtl_checkpoint_count(int rank, const size_t *dims, size_t *count);

#endif
