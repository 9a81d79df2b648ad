/* fit.c - step 3: least squares over the kept weights of each filter, by the change d of them:
 *
 *   minimise ||r - X_S d||^2 + lambda ||d||^2,   r = y - X_S a_S
 *
 *   primal   (X_S^T X_S + lambda I) d = X_S^T r            s x s, s kept weights
 *   dual     (X_S X_S^T + lambda I) z = r,  d = X_S^T z    n x n
 *
 * From moments: primal, with X_S^T r = (X^T y)_S - (X^T X)_SS a_S. From samples: the smaller.
 * Filters are independent; each has one thread.
 */
#include "lapack.h"
#include "reconstruct_private.h"
#include "wattle/blas.h"
#include "wattle/memory.h"

#include <math.h>
#include <omp.h>
#include <string.h>

typedef struct fitter {
    int *kept;        /* [most] indices */
    double *change;   /* [most]: d */
    double *side;     /* [max(most, rows)]: right-hand side, then the solution */
    double *slope;    /* [most]: X_S^T r (moments) */
    double *residual; /* [rows] (samples) */
    double *matrix;   /* [size,size] */
    float *product;   /* [size,size] (samples) */
    float *columns;   /* [most, rows]: X_S^T (samples) */
} fitter;

enum { RAISED = 1, SINGULAR = 2, UNCHANGED = 4 };

/* What one filter is solved with. */
typedef struct problem {
    const wtl_local *l;
    fitter *f;
    int filter, group;
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

static const float *weights_of(const problem *p)
{
    return p->l->weights + (size_t)p->filter * (size_t)p->l->moments->g.width;
}

/* side := X_S^T r by moments; the matrix is there. */
static void side_from_moments(const problem *p, double *side)
{
    const wtl_moments *mo = p->l->moments;
    const double *cross = mo->cross + (size_t)p->filter * (size_t)mo->g.width;
    for (int i = 0; i < p->kept; i++) {
        p->f->change[i] = (double)weights_of(p)[p->f->kept[i]];
    }
    for (int i = 0; i < p->kept; i++) {
        side[i] = cross[p->f->kept[i]] - row_times(p->f->matrix, p->kept, i, p->f->change);
        p->f->slope[i] = side[i];
    }
}

/* residual [rows] -= X_S v */
static void subtract_outputs(const problem *p, const double *v, double *residual)
{
    size_t rows = p->l->moments->rows;
    for (int i = 0; i < p->kept; i++) {
        const float *x = p->f->columns + (size_t)i * rows;
        for (size_t t = 0; t < rows; t++) {
            residual[t] -= (double)x[t] * v[i];
        }
    }
}

/* out [kept] := X_S^T v */
static void project(const problem *p, const double *v, double *out)
{
    size_t rows = p->l->moments->rows;
    for (int i = 0; i < p->kept; i++) {
        const float *x = p->f->columns + (size_t)i * rows;
        double sum = 0.0;
        for (size_t t = 0; t < rows; t++) {
            sum += (double)x[t] * v[t];
        }
        out[i] = sum;
    }
}

static void gather_samples(const problem *p)
{
    const wtl_moments *mo = p->l->moments;
    for (int i = 0; i < p->kept; i++) {
        size_t row = (size_t)p->group * (size_t)mo->g.width + (size_t)p->f->kept[i];
        memcpy(p->f->columns + (size_t)i * mo->rows, mo->samples + row * mo->capacity,
               mo->rows * sizeof(float));
        p->f->change[i] = (double)weights_of(p)[p->f->kept[i]];
    }
    const float *target = mo->targets + (size_t)p->filter * mo->capacity;
    for (size_t t = 0; t < mo->rows; t++) {
        p->f->residual[t] = (double)target[t];
    }
    subtract_outputs(p, p->f->change, p->f->residual);
}

static void make_side(const problem *p, double *side)
{
    if (!p->samples) {
        side_from_moments(p, side);
    } else if (p->size == p->kept) {
        project(p, p->f->residual, side);
    } else {
        memcpy(side, p->f->residual, p->l->moments->rows * sizeof *side);
    }
}

/* ---- solving ---- */

static wtl_status solve(const problem *p, unsigned char *flags)
{
    const wtl_reconstruct_options *o = &p->l->options;
    double ridge = o->ridge;
    if (ridge == 0.0) {
        ridge = p->l->moments->rows < 5 * (size_t)p->kept ? 1e-2 : 1e-4;
    }
    ridge = ridge < 0.0 ? 0.0 : ridge;
    for (int attempt = 0; attempt <= o->ridge_raises; attempt++) {
        *flags |= attempt > 0 ? RAISED : 0;
        make_matrix(p);
        make_side(p, p->f->side);
        add_ridge(p, ridge * p->mean);
        if (wtl_lapack_cholesky(p->size, p->f->matrix, p->f->side)) {
            return WTL_OK;
        }
        ridge = ridge > 0.0 ? ridge * 10.0 : 1e-6;
    }
    *flags |= SINGULAR;
    if (o->singular == WTL_SINGULAR_KEEP) {
        return WTL_E_FIT;
    }
    make_matrix(p);
    make_side(p, p->f->side);
    return wtl_lapack_svd(p->size, p->f->matrix, p->f->side);
}

/* change := the solution, rounded to what float weights can take. */
static void take_solution(const problem *p)
{
    if (p->size == p->kept) {
        memcpy(p->f->change, p->f->side, (size_t)p->kept * sizeof *p->f->change);
    } else {
        project(p, p->f->side, p->f->change);
    }
    for (int i = 0; i < p->kept; i++) {
        double old = (double)weights_of(p)[p->f->kept[i]];
        p->f->change[i] = (double)(float)(old + p->f->change[i]) - old;
    }
}

/* ||r - X d||^2 - ||r||^2 by moments: d^T (H d - 2 X^T r). */
static double gain_by_moments(const problem *p)
{
    const double *d = p->f->change;
    double sum = 0.0;
    make_matrix(p);
    for (int i = 0; i < p->kept; i++) {
        sum += d[i] * (row_times(p->f->matrix, p->kept, i, d) - 2.0 * p->f->slope[i]);
    }
    return sum;
}

static double gain_by_samples(const problem *p)
{
    size_t rows = p->l->moments->rows;
    double before = 0.0, after = 0.0;
    for (size_t t = 0; t < rows; t++) {
        before += p->f->residual[t] * p->f->residual[t];
    }
    subtract_outputs(p, p->f->change, p->f->residual);
    for (size_t t = 0; t < rows; t++) {
        after += p->f->residual[t] * p->f->residual[t];
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

static wtl_status fit_filter(const wtl_local *l, fitter *f, int filter, unsigned char *flags)
{
    problem p = {.l = l, .f = f, .filter = filter, .group = filter / l->moments->g.filters};
    p.kept = list_kept(l, filter, f->kept);
    p.samples = !l->moments->second;
    p.size = p.samples && l->moments->rows < (size_t)p.kept ? (int)l->moments->rows : p.kept;
    *flags = UNCHANGED;
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
    wtl_status status = solve(&p, flags);
    if (status != WTL_OK) {
        return status == WTL_E_NOMEM ? status : WTL_OK;
    }
    take_solution(&p);
    if ((p.samples ? gain_by_samples(&p) : gain_by_moments(&p)) < 0.0) {
        *flags &= (unsigned char)~UNCHANGED;
        float *w = l->weights + (size_t)filter * (size_t)l->moments->g.width;
        for (int i = 0; i < p.kept; i++) {
            w[f->kept[i]] += (float)f->change[i];
        }
    }
    return WTL_OK;
}

/* ---- all filters ---- */

static bool prepare(const wtl_local *l, fitter *f, size_t most)
{
    bool samples = !l->moments->second;
    size_t rows = samples ? l->moments->rows : 0;
    size_t size = samples && rows < most ? rows : most;
    f->kept = wtl_alloc((size_t)l->moments->g.width, sizeof *f->kept);
    f->change = wtl_alloc(most, sizeof *f->change);
    f->slope = wtl_alloc(most, sizeof *f->slope);
    f->side = wtl_alloc(most > rows ? most : rows, sizeof *f->side);
    f->matrix = wtl_alloc(size * size, sizeof *f->matrix);
    if (samples) {
        f->residual = wtl_alloc(rows, sizeof *f->residual);
        f->product = wtl_alloc(size * size, sizeof *f->product);
        f->columns = wtl_alloc(most * rows, sizeof *f->columns);
    }
    return f->kept && f->change && f->slope && f->side && f->matrix &&
           (!samples || (f->residual && f->product && f->columns));
}

static void dismiss(fitter *f)
{
    wtl_free(f->kept);
    wtl_free(f->change);
    wtl_free(f->slope);
    wtl_free(f->side);
    wtl_free(f->residual);
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

static wtl_status fit_all(const wtl_local *l, fitter *fitters, unsigned char *flags)
{
    bool short_of_memory = false;
#pragma omp parallel for num_threads(l->options.threads) schedule(dynamic, 1)                  \
    reduction(||                                                                               \
              : short_of_memory)
    for (int k = 0; k < l->moments->g.k; k++) {
        wtl_status status = fit_filter(l, &fitters[omp_get_thread_num()], k, &flags[k]);
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
