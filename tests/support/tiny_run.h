/* tiny_run.h - data and checkpoints small enough for whole runs within a unit test. */
#ifndef WTL_TINY_RUN_H
#define WTL_TINY_RUN_H

#include "wattle/prune.h"

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

/* ---- pruning ---- */

/* wtl_test_path(run/file) */
const char *wtl_tiny_path(const char *run, const char *file);

/* Train the net of `text` on wtl_tiny_data("data") for 20 epochs into wtl_test_path(name), so that
 * statistics and zeros of activations are those of a trained net. */
void wtl_tiny_train(const char *name, const char *text);

/* Quick runs on the data "data", from the checkpoint that wtl_tiny_train("dense", ...) left. */
wtl_prune_options wtl_tiny_prune_options(const char *method);

/* The floor as a share of dense, and `share` of the way from there to dense. */
double wtl_tiny_floor(const wtl_prune_options *options);
double wtl_tiny_above_floor(const wtl_prune_options *options, double share);

/* The file is the same in both runs, byte for byte. */
void wtl_tiny_assert_same_file(const char *a, const char *b, const char *file);

#endif
