/* sparse_dense.h - kernels of fully connected layers most of whose weights are 0
 * (../sparse_dense.h): only those that are not are read. Each takes the groups begin..end of a
 * panel of columns.
 *
 * A group is one filter, or a quad: four consecutive ones that share positions. An entry of
 * group g, starts[g] .. starts[g+1]-1, has the column index[e] of the panel and one or four
 * values.
 */
#ifndef WTL_NATIVE_SPARSE_DENSE_H
#define WTL_NATIVE_SPARSE_DENSE_H

#include "wattle/net.h"

#include <stdbool.h>
#include <stdint.h>

enum { WTL_SPARSE_DENSE_QUAD = 4 };

typedef struct wtl_sparse_dense_panel {
    bool quads;
    long begin, end;        /* groups */
    const uint32_t *starts; /* [groups + 1] */
    const uint16_t *index;
    const float *value;
    bool fresh; /* sums are overwritten, not added to */
} wtl_sparse_dense_panel;

typedef struct wtl_sparse_dense_kernels {
    int lanes;     /* floats of a vector */
    int most_rows; /* vectors of images that many() takes at a time */
    int most_quads;

    /* One image: sums[f] (+)= sum over the entries of filter f of value * x[index]. */
    void (*one)(const wtl_sparse_dense_panel *p, const float *x, float *sums);
    /* Images side by side, `vecs` vectors of them: sums[f][i] (+)= sum of value * x[index][i],
     * x and sums have rows of vecs * lanes floats. */
    void (*many)(const wtl_sparse_dense_panel *p, int vecs, const float *x, float *sums);
    /* Images of x [N,D] side by side: panel [tiles, D, images of a tile] of at most `most`
     * vectors a tile, for the columns begin..end. */
    void (*turn)(int n, int most, long d, long begin, long end, const float *x, long x_step,
                 float *panel);
    /* sums [filters, width] of the images of a tile to y[n][f] = activation(sum + bias[f]). */
    void (*finish)(int images, int filters, long width, const float *sums, const float *bias,
                   wtl_activation activation, float *y, long y_step);
} wtl_sparse_dense_kernels;

#endif
