/* tiny_run.h - data and checkpoints small enough for whole runs within a unit test. */
#ifndef WTL_TINY_RUN_H
#define WTL_TINY_RUN_H

#include <stddef.h>
#include <stdint.h>

/* 60 noisy pictures of 6x6 in 4 classes, a row of which is bright; 15 of them held out by the
 * split of the checkpoints: the other 45 are 3 batches of 16. */
enum { WTL_TINY_SIDE = 6, WTL_TINY_IMAGES = 60, WTL_TINY_VAL = 15, WTL_TINY_BATCHES = 3 };

/* Write wtl_test_path(folder), for `idx:FOLDER`: a training part alone. */
void wtl_tiny_data(const char *folder);

/* A net with running statistics and dropout: 270 prunable weights in two layers. */
extern const char wtl_tiny_net[];

/* Write wtl_test_path(name): the net of `text`, at random weights; `keep` of its prunable ones,
 * 0: all. */
void wtl_tiny_checkpoint(const char *name, const char *text, uint64_t seed, size_t keep);

#endif
