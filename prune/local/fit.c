/* fit.c - step 3: least squares over the kept weights of each filter, by the change d of them:
 *
 *   minimise ||r - X_S d||^2 + lambda ||d||^2,   r = y - X_S a_S
 *
 *   primal   (X_S^T X_S + lambda I) d = X_S^T r            s x s, s kept weights
 *   dual     (X_S X_S^T + lambda I) z = r,  d = X_S^T z    n x n
 *
 * From moments: primal, with X_S^T r = (X^T y)_S - (X^T X)_SS a_S. From samples: the smaller.
 * Filters are independent. Neighbours that keep the same weights and see the same patches, as
 * those of a 4x1 band do, have one matrix: a team of up to four shares it and its factor. A team
 * has one thread.
 */
#include "lapack.h"
#include "reconstruct_private.h"
#include "wattle/blas.h"
#include "wattle/memory.h"

#include <math.h>
#include <omp.h>
#include <string.h>

enum { TEAM = 4 };

typedef struct fitter {
    int *kept;              /* [most] indices */
    bool solved[TEAM];      /* side is a solution */
    double *change[TEAM];   /* [most]: d */
    double *side[TEAM];     /* [max(most, rows)]: right-hand side, then the solution */
    double *slope[TEAM];    /* [most]: X_S^T r (moments) */
    double *residual[TEAM]; /* [rows] (samples) */
    double *matrix;         /* [size,size] */
    float *product;         /* [size,size] (samples) */
    float *columns;         /* [most, rows]: X_S^T (samples) */
} fitter;

enum { RAISED = 1, SINGULAR = 2, UNCHANGED = 4 };

/* What one team is solved with. Its members are told by i, 0 to count - 1. */
typedef struct problem {
    const wtl_local *l;
    fitter *f;
    int first, count, group; /* filters; their group */
    int kept;
    bool samples; /* solved from rows rather than moments */
    int size;     /* of the matrix: kept, or rows in dual form */
    double mean;  /* of diag(X_S^T X_S) */
} problem;

/* ---- the matrix: upper triangle, without ridge ---- */

static void matrix_from_moments(const problem *p)
{
    const wtl_moments *mo = p->l->moments;
    size_t m = (size_t)mo->g.width;
    const double *second = mo->second + (size_t)p->group * m * m;
    for (int a = 0; a < p->kept; a++) {
        const double *row = second + (size_t)p->f->kept[a] * m;
        double *to = p->f->matrix + (size_t)a * (size_t)p->kept;
        for (int b = a; b < p->kept; b++) {
            to[b] = row[p->f->kept[b]];
        }
    }
}

/* Sums of float products over 256 terms at a time, as in moments. */
static void matrix_from_samples(const problem *p)
{
    int rows = (int)p->l->moments->rows, size = p->size,
        inner = size == p->kept ? rows : p->kept;
    size_t count = (size_t)size * (size_t)size;
    memset(p->f->matrix, 0, count * sizeof *p->f->matrix);
    for (int begin = 0; begin < inner; begin += WTL_MOMENTS_BLOCK) {
        int block = inner - begin < WTL_MOMENTS_BLOCK ? inner - begin : (int)WTL_MOMENTS_BLOCK;
        const float *x = p->f->columns; /* [kept,rows] */
        if (size == p->kept) {
            wtl_gemm('N', 'T', size, size, block, x + begin, rows, x + begin, rows, 0.0f,
                     p->f->product, size);
        } else {
            x += (size_t)begin * (size_t)rows;
            wtl_gemm('T', 'N', size, size, block, x, rows, x, rows, 0.0f, p->f->product, size);
        }
        for (size_t i = 0; i < count; i++) {
            p->f->matrix[i] += (double)p->f->product[i];
        }
    }
}

static void make_matrix(const problem *p)
{
    if (p->samples) {
        matrix_from_samples(p);
    } else {
        matrix_from_moments(p);
    }
}

static void add_ridge(const problem *p, double lambda)
{
    for (size_t i = 0; i < (size_t)p->size; i++) {
        p->f->matrix[i * (size_t)p->size + i] += lambda;
    }
}

/* ---- the right-hand side ---- */

/* matrix (upper) times v, entry i */
static double row_times(const double *matrix, int size, int i, const double *v)
{
    double sum = 0.0;
    for (int j = 0; j < i; j++) {
        sum += matrix[(size_t)j * (size_t)size + (size_t)i] * v[j];
    }
    for (int j = i; j < size; j++) {
        sum += matrix[(size_t)i * (size_t)size + (size_t)j] * v[j];
    }
    return sum;
}

static float *weights_of(const problem *p, int i)
{
    return p->l->weights + (size_t)(p->first + i) * (size_t)p->l->moments->g.width;
}

/* side := X_S^T r by moments; the matrix is there. */
static void side_from_moments(const problem *p, int i)
{
    const wtl_moments *mo = p->l->moments;
    const double *cross = mo->cross + (size_t)(p->first + i) * (size_t)mo->g.width;
    double *change = p->f->change[i];
    for (int j = 0; j < p->kept; j++) {
        change[j] = (double)weights_of(p, i)[p->f->kept[j]];
    }
    for (int j = 0; j < p->kept; j++) {
        p->f->side[i][j] = cross[p->f->kept[j]] - row_times(p->f->matrix, p->kept, j, change);
        p->f->slope[i][j] = p->f->side[i][j];
    }
}

/* residual [rows] -= X_S v */
static void subtract_outputs(const problem *p, const double *v, double *residual)
{
    size_t rows = p->l->moments->rows;
    for (int j = 0; j < p->kept; j++) {
        const float *x = p->f->columns + (size_t)j * rows;
        for (size_t t = 0; t < rows; t++) {
            residual[t] -= (double)x[t] * v[j];
        }
    }
}

/* out [kept] := X_S^T v */
static void project(const problem *p, const double *v, double *out)
{
    size_t rows = p->l->moments->rows;
    for (int j = 0; j < p->kept; j++) {
        const float *x = p->f->columns + (size_t)j * rows;
        double sum = 0.0;
        for (size_t t = 0; t < rows; t++) {
            sum += (double)x[t] * v[t];
        }
        out[j] = sum;
    }
}

static void gather_columns(const problem *p)
{
    const wtl_moments *mo = p->l->moments;
    for (int j = 0; j < p->kept; j++) {
        size_t row = (size_t)p->group * (size_t)mo->g.width + (size_t)p->f->kept[j];
        memcpy(p->f->columns + (size_t)j * mo->rows, mo->samples + row * mo->capacity,
               mo->rows * sizeof(float));
    }
}

static void gather_residual(const problem *p, int i)
{
    const wtl_moments *mo = p->l->moments;
    const float *target = mo->targets + (size_t)(p->first + i) * mo->capacity;
    for (int j = 0; j < p->kept; j++) {
        p->f->change[i][j] = (double)weights_of(p, i)[p->f->kept[j]];
    }
    for (size_t t = 0; t < mo->rows; t++) {
        p->f->residual[i][t] = (double)target[t];
    }
    subtract_outputs(p, p->f->change[i], p->f->residual[i]);
}

static void make_side(const problem *p, int i)
{
    double *side = p->f->side[i];
    if (!p->samples) {
        side_from_moments(p, i);
    } else if (p->size == p->kept) {
        project(p, p->f->residual[i], side);
    } else {
        memcpy(side, p->f->residual[i], p->l->moments->rows * sizeof *side);
    }
}

/* ---- solving ---- */

static wtl_status solve_singular(const problem *p)
{
    for (int i = 0; i < p->count; i++) {
        make_matrix(p);
        make_side(p, i);
        wtl_status status = wtl_lapack_svd(p->size, p->f->matrix, p->f->side[i]);
        if (status == WTL_E_NOMEM) {
            return status;
        }
        p->f->solved[i] = status == WTL_OK;
    }
    return WTL_OK;
}

/* solved[i] := whether side[i] is the solution. WTL_E_NOMEM. */
static wtl_status solve(const problem *p, unsigned char *flag)
{
    const wtl_reconstruct_options *o = &p->l->options;
    double ridge = o->ridge;
    if (ridge == 0.0) {
        ridge = p->l->moments->rows < 5 * (size_t)p->kept ? 1e-2 : 1e-4;
    }
    ridge = ridge < 0.0 ? 0.0 : ridge;
    for (int attempt = 0; attempt <= o->ridge_raises; attempt++) {
        *flag |= attempt > 0 ? RAISED : 0;
        make_matrix(p);
        for (int i = 0; i < p->count; i++) {
            make_side(p, i); /* by the matrix without its ridge */
        }
        add_ridge(p, ridge * p->mean);
        if (wtl_lapack_cholesky(p->size, p->f->matrix)) {
            for (int i = 0; i < p->count; i++) {
                wtl_lapack_solve(p->size, p->f->matrix, p->f->side[i]);
                p->f->solved[i] = true;
            }
            return WTL_OK;
        }
        ridge = ridge > 0.0 ? ridge * 10.0 : 1e-6;
    }
    *flag |= SINGULAR;
    return o->singular == WTL_SINGULAR_KEEP ? WTL_OK : solve_singular(p);
}

/* change := the solution, rounded to what float weights can take. */
static void take_solution(const problem *p, int i)
{
    double *change = p->f->change[i];
    if (p->size == p->kept) {
        memcpy(change, p->f->side[i], (size_t)p->kept * sizeof *change);
    } else {
        project(p, p->f->side[i], change);
    }
    for (int j = 0; j < p->kept; j++) {
        double old = (double)weights_of(p, i)[p->f->kept[j]];
        change[j] = (double)(float)(old + change[j]) - old;
    }
}

/* ||r - X d||^2 - ||r||^2 by moments: d^T (H d - 2 X^T r); the matrix is there. */
static double gain_by_moments(const problem *p, int i)
{
    const double *d = p->f->change[i];
    double sum = 0.0;
    for (int j = 0; j < p->kept; j++) {
        sum += d[j] * (row_times(p->f->matrix, p->kept, j, d) - 2.0 * p->f->slope[i][j]);
    }
    return sum;
}

static double gain_by_samples(const problem *p, int i)
{
    size_t rows = p->l->moments->rows;
    double before = 0.0, after = 0.0, *residual = p->f->residual[i];
    for (size_t t = 0; t < rows; t++) {
        before += residual[t] * residual[t];
    }
    subtract_outputs(p, p->f->change[i], residual);
    for (size_t t = 0; t < rows; t++) {
        after += residual[t] * residual[t];
    }
    return after - before;
}

static double mean_square(const problem *p)
{
    const wtl_moments *mo = p->l->moments;
    size_t m = (size_t)mo->g.width;
    double sum = 0.0;
    for (int i = 0; i < p->kept; i++) {
        size_t j = (size_t)p->f->kept[i];
        sum += p->samples ? wtl_norm_2_squared(p->f->columns + (size_t)i * mo->rows, mo->rows)
                          : mo->second[((size_t)p->group * m + j) * m + j];
    }
    return sum / p->kept;
}

static int list_kept(const wtl_local *l, int filter, int *kept)
{
    int count = 0;
    const float *mask = l->mask + (size_t)filter * (size_t)l->moments->g.width;
    for (int i = 0; i < l->moments->g.width; i++) {
        if (mask[i] != 0.0f) {
            kept[count++] = i;
        }
    }
    return count;
}

/* The solutions that lower their filter's squared error become weights. */
static void take_solutions(const problem *p, unsigned char *flags)
{
    if (!p->samples) {
        make_matrix(p); /* solving used it up */
    }
    for (int i = 0; i < p->count; i++) {
        if (!p->f->solved[i]) {
            continue;
        }
        take_solution(p, i);
        if ((p->samples ? gain_by_samples(p, i) : gain_by_moments(p, i)) < 0.0) {
            flags[i] &= (unsigned char)~UNCHANGED;
            for (int j = 0; j < p->kept; j++) {
                weights_of(p, i)[p->f->kept[j]] += (float)p->f->change[i][j];
            }
        }
    }
}

static void gather_samples(const problem *p)
{
    gather_columns(p);
    for (int i = 0; i < p->count; i++) {
        gather_residual(p, i);
    }
}

/* flags [count] */
static wtl_status fit_team(const wtl_local *l, fitter *f, int first, int count,
                           unsigned char *flags)
{
    problem p = {
        .l = l, .f = f, .first = first, .count = count, .group = first / l->moments->g.filters};
    p.kept = list_kept(l, first, f->kept);
    p.samples = !l->moments->second;
    p.size = p.samples && l->moments->rows < (size_t)p.kept ? (int)l->moments->rows : p.kept;
    memset(flags, UNCHANGED, (size_t)count);
    memset(f->solved, 0, sizeof f->solved);
    if (p.kept == 0) {
        return WTL_OK;
    }
    if (p.samples) {
        gather_samples(&p);
    }
    p.mean = mean_square(&p);
    if (!(p.mean > 0.0)) {
        return WTL_OK; /* its inputs are all 0: any weights are as good */
    }
    wtl_status status = solve(&p, &flags[0]);
    memset(flags, flags[0], (size_t)count);
    if (status == WTL_OK) {
        take_solutions(&p, flags);
    }
    return status;
}

/* ---- all filters ---- */

static bool prepare_member(fitter *f, int i, size_t most, size_t rows)
{
    f->change[i] = wtl_alloc(most, sizeof *f->change[i]);
    f->slope[i] = wtl_alloc(most, sizeof *f->slope[i]);
    f->side[i] = wtl_alloc(most > rows ? most : rows, sizeof *f->side[i]);
    f->residual[i] = rows ? wtl_alloc(rows, sizeof *f->residual[i]) : NULL;
    return f->change[i] && f->slope[i] && f->side[i] && (f->residual[i] || !rows);
}

static bool prepare(const wtl_local *l, fitter *f, size_t most)
{
    bool samples = !l->moments->second, ready = true;
    size_t rows = samples ? l->moments->rows : 0;
    size_t size = samples && rows < most ? rows : most;
    for (int i = 0; i < TEAM; i++) {
        ready = prepare_member(f, i, most, rows) && ready;
    }
    f->kept = wtl_alloc((size_t)l->moments->g.width, sizeof *f->kept);
    f->matrix = wtl_alloc(size * size, sizeof *f->matrix);
    if (samples) {
        f->product = wtl_alloc(size * size, sizeof *f->product);
        f->columns = wtl_alloc(most * rows, sizeof *f->columns);
    }
    return ready && f->kept && f->matrix && (!samples || (f->product && f->columns));
}

static void dismiss(fitter *f)
{
    for (int i = 0; i < TEAM; i++) {
        wtl_free(f->change[i]);
        wtl_free(f->slope[i]);
        wtl_free(f->side[i]);
        wtl_free(f->residual[i]);
    }
    wtl_free(f->kept);
    wtl_free(f->matrix);
    wtl_free(f->product);
    wtl_free(f->columns);
}

static size_t most_kept(const wtl_local *l)
{
    size_t most = 0, m = (size_t)l->moments->g.width;
    for (size_t k = 0; k < (size_t)l->moments->g.k; k++) {
        size_t kept = 0;
        for (size_t i = 0; i < m; i++) {
            kept += l->mask[k * m + i] != 0.0f;
        }
        most = kept > most ? kept : most;
    }
    return most;
}

/* How many filters from `first` on, before `end`, have its group and its mask. */
static int team_at(const wtl_local *l, int first, int end)
{
    const wtl_patch_geometry *g = &l->moments->g;
    size_t m = (size_t)g->width;
    const float *mask = l->mask + (size_t)first * m;
    int count = 1;
    while (first + count < end && (first + count) / g->filters == first / g->filters &&
           memcmp(mask, mask + (size_t)count * m, m * sizeof *mask) == 0) {
        count++;
    }
    return count;
}

static wtl_status fit_band(const wtl_local *l, fitter *f, wtl_band band, unsigned char *flags)
{
    int end = band.first + band.count, count = 0;
    wtl_status status = WTL_OK;
    for (int k = band.first; k < end && status == WTL_OK; k += count) {
        count = team_at(l, k, end);
        status = fit_team(l, f, k, count, flags + k);
    }
    return status;
}

static wtl_status fit_all(const wtl_local *l, fitter *fitters, unsigned char *flags)
{
    const wtl_patch_geometry *g = &l->moments->g;
    const wtl_blocks blocks =
        wtl_blocks_make(WTL_GRANULARITY_4X1, g->k, g->groups, (size_t)g->width);
    bool short_of_memory = false;
#pragma omp parallel for num_threads(l->options.threads) schedule(dynamic, 1)                  \
    reduction(||                                                                               \
              : short_of_memory)
    for (int b = 0; b < wtl_blocks_bands(&blocks); b++) {
        wtl_status status =
            fit_band(l, &fitters[omp_get_thread_num()], wtl_blocks_band(&blocks, b), flags);
        short_of_memory = short_of_memory || status == WTL_E_NOMEM;
    }
    return short_of_memory ? WTL_E_NOMEM : WTL_OK;
}

wtl_status wtl_fit(wtl_local *l, wtl_reconstruct_report *report, wtl_error *err)
{
    size_t threads = (size_t)l->options.threads, filters = (size_t)l->moments->g.k;
    fitter *fitters = wtl_alloc(threads, sizeof *fitters);
    unsigned char *flags = wtl_alloc(filters, 1);
    bool ready = fitters && flags;
    size_t most = most_kept(l);
    for (size_t t = 0; ready && t < threads; t++) {
        ready = prepare(l, &fitters[t], most);
    }
    wtl_status status = ready ? fit_all(l, fitters, flags) : WTL_E_NOMEM;
    if (status != WTL_OK) {
        status = wtl_fail(err, status, "reconstruct: out of memory for systems of %zu weights",
                          most);
    }
    for (size_t k = 0; flags && k < filters; k++) {
        report->filters_raised += (flags[k] & RAISED) != 0;
        report->filters_singular += (flags[k] & SINGULAR) != 0;
        report->filters_unchanged += (flags[k] & UNCHANGED) != 0;
    }
    for (size_t t = 0; fitters && t < threads; t++) {
        dismiss(&fitters[t]);
    }
    wtl_free(fitters);
    wtl_free(flags);
    return status;
}
