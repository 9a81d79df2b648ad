/* bench_throughput.c - images per second of whole networks, beside a plain sgemm of the
 * same work in the same run. Prints a Markdown table.
 *
 *   inference  a forward pass
 *   training   forward, loss, backward and an SGD step with momentum
 *
 * Inputs are random and in memory: no decoding. A floating-point operation is half a
 * multiply-accumulate of the convolutions and dense layers; what else a network does takes
 * time but is not counted. The plain sgemm does exactly the counted work, as one product a
 * layer over the whole batch, with its operands ready in memory (no im2col):
 *
 *   forward   [K, CRS] * [CRS, pixels*N]          K filters, N images
 *   data      [CRS, K] * [K, pixels*N]            not for the first layer
 *   weights   [K, pixels*N] * [pixels*N, CRS]
 *
 * once per group. Each distinct product is timed apart; products of more than MOST_COLUMNS
 * columns are timed on that many and scaled up, which is what they would take.
 */
#define _POSIX_C_SOURCE 200809L
#include "wattle/blas.h"
#include "wattle/loss.h"
#include "wattle/memory.h"
#include "wattle/optimizer.h"
#include "wattle/rng.h"
#include "wattle/text.h"
#include "wattle/threads.h"
#include "wattle/zoo.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    MOST_ITEMS = 32,      /* nets or batch sizes in a list */
    MOST_COLUMNS = 65536, /* of a plain product that is timed whole */
    MOST_REPEATS = 100,
    MOST_PRODUCTS = 4096
};

typedef struct options {
    const char *nets[MOST_ITEMS];
    int net_count;
    int batches[MOST_ITEMS];
    int batch_count;
    bool inference, training;
    int threads, repeats;
    double most_seconds; /* of repeats of one measurement, three repeats apart */
} options;

static void stop(const char *what, const wtl_error *err)
{
    fprintf(stderr, "bench_throughput: %s: %s\n", what, err->text);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median seconds of run(context), after one run that does not count. */
static double median_seconds(const options *o, void (*run)(void *context), void *context)
{
    double seconds[MOST_REPEATS], begin = now();
    int count = 0;
    run(context);
    while (count < o->repeats && (count < 3 || now() - begin < o->most_seconds)) {
        double start = now();
        run(context);
        seconds[count++] = now() - start;
    }
    qsort(seconds, (size_t)count, sizeof *seconds, by_value);
    return count % 2 ? seconds[count / 2] : 0.5 * (seconds[count / 2 - 1] + seconds[count / 2]);
}

/* ---- the plain products ---- */

/* C [m,n] = op(A) [m,k] * op(B) [k,n], row-major, as wtl_gemm takes it. */
typedef struct product {
    char op_a, op_b;
    long m, n, k;
    double times; /* how often it occurs, shares of a larger product included */
    double seconds;
} product;

typedef struct products {
    product list[MOST_PRODUCTS];
    int count;
    double macs;
} products;

static void add_product(products *all, char op_a, char op_b, long m, long n, long k,
                        double times)
{
    all->macs += times * (double)m * (double)n * (double)k;
    long *longest = op_b == 'T' ? &k : &n; /* pixels*N is k in the weights' product */
    if (*longest > MOST_COLUMNS) {
        times *= (double)*longest / MOST_COLUMNS;
        *longest = MOST_COLUMNS;
    }
    for (int i = 0; i < all->count; i++) {
        product *p = &all->list[i];
        if (p->op_a == op_a && p->op_b == op_b && p->m == m && p->n == n && p->k == k) {
            p->times += times;
            return;
        }
    }
    if (all->count < MOST_PRODUCTS) {
        all->list[all->count++] = (product){op_a, op_b, m, n, k, times, 0.0};
    }
}

/* The sizes of one layer's forward product; false for a layer without one. */
static bool layer_product(const wtl_layer_def *layer, wtl_shape in, wtl_shape out, long *k,
                          long *crs, long *pixels, long *groups)
{
    const wtl_conv_options *conv = &layer->as.conv;
    *groups = 1;
    switch (layer->kind) {
    case WTL_LAYER_CONV:
    case WTL_LAYER_DEPTHWISE:
        *groups = layer->kind == WTL_LAYER_CONV ? conv->groups : in.c;
        *k = out.c / *groups;
        *crs = (long)(in.c / *groups) * conv->kernel[0] * conv->kernel[1];
        *pixels = (long)out.h * out.w;
        return true;
    case WTL_LAYER_DECONV:
        *k = (long)out.c * conv->kernel[0] * conv->kernel[1];
        *crs = in.c;
        *pixels = (long)in.h * in.w;
        return true;
    case WTL_LAYER_DENSE:
        *k = out.c;
        *crs = (long)wtl_shape_count(in);
        *pixels = 1;
        return true;
    default:
        return false;
    }
}

static void list_products(products *all, const wtl_netdef *def, int batch, bool training)
{
    wtl_error err = {0};
    wtl_shape *shapes = wtl_alloc((size_t)def->layer_count, sizeof *shapes);
    bool *keep = wtl_alloc((size_t)def->layer_count, sizeof *keep);
    all->count = 0;
    all->macs = 0.0;
    if (!shapes || !keep || wtl_netdef_shapes(def, shapes, &err) != WTL_OK) {
        stop(def->name, &err);
    }
    (void)wtl_netdef_inference_layers(def, keep);
    for (int i = 1; i < def->layer_count; i++) {
        const wtl_layer_def *layer = &def->layers[i];
        long k, crs, pixels, groups, n;
        if ((!training && !keep[i]) || !layer_product(layer, shapes[layer->inputs[0]],
                                                      shapes[i], &k, &crs, &pixels, &groups)) {
            continue;
        }
        n = pixels * batch;
        add_product(all, 'N', 'N', k, n, crs, (double)groups);
        if (training) {
            add_product(all, 'N', 'T', k, crs, n, (double)groups);
            if (layer->inputs[0] != 0) {
                add_product(all, 'T', 'N', crs, n, k, (double)groups);
            }
        }
    }
    wtl_free(keep);
    wtl_free(shapes);
}

typedef struct product_run {
    const product *p;
    float *a, *b, *c;
    int threads, loops;
} product_run;

static void run_product(void *context)
{
    const product_run *r = context;
    const product *p = r->p;
    int lda = (int)(p->op_a == 'T' ? p->m : p->k), ldb = (int)(p->op_b == 'T' ? p->k : p->n);
    for (int i = 0; i < r->loops; i++) {
        wtl_gemm_threads(r->threads, p->op_a, p->op_b, (int)p->m, (int)p->n, (int)p->k, r->a,
                         lda, r->b, ldb, 0.0f, r->c, (int)p->n);
    }
}

static float *operand(size_t floats)
{
    float *values = wtl_alloc_pages(floats * sizeof *values);
    if (!values) {
        stop("operands of the plain products", &(wtl_error){.text = "out of memory"});
    }
    for (size_t i = 0; i < floats; i++) {
        values[i] = (float)(i % 251) / 251.0f - 0.5f;
    }
    return values;
}

static double products_seconds(const options *o, products *all)
{
    enum { LEAST_MACS = 20 * 1000 * 1000 }; /* a measurement: some tenths of a millisecond */
    size_t a = 0, b = 0, c = 0;
    for (int i = 0; i < all->count; i++) {
        const product *p = &all->list[i];
        size_t sizes[3] = {(size_t)p->m * (size_t)p->k, (size_t)p->k * (size_t)p->n,
                           (size_t)p->m * (size_t)p->n};
        a = sizes[0] > a ? sizes[0] : a;
        b = sizes[1] > b ? sizes[1] : b;
        c = sizes[2] > c ? sizes[2] : c;
    }
    product_run run = {
        .a = operand(a), .b = operand(b), .c = operand(c), .threads = o->threads};
    double seconds = 0.0;
    for (int i = 0; i < all->count; i++) {
        product *p = &all->list[i];
        double macs = (double)p->m * (double)p->n * (double)p->k;
        run.p = p;
        run.loops = macs < LEAST_MACS ? (int)(LEAST_MACS / macs) + 1 : 1;
        p->seconds = median_seconds(o, run_product, &run) / run.loops;
        seconds += p->times * p->seconds;
    }
    wtl_free_pages(run.a, a * sizeof(float));
    wtl_free_pages(run.b, b * sizeof(float));
    wtl_free_pages(run.c, c * sizeof(float));
    return seconds;
}

/* ---- the networks ---- */

typedef struct net_run {
    wtl_net *net;
    wtl_optimizer *optimizer; /* NULL: inference */
    int batch;
    int *labels;
    uint64_t step;
} net_run;

static void run_net(void *context)
{
    net_run *r = context;
    if (!r->optimizer) {
        wtl_net_forward(r->net, r->batch, WTL_RUN_INFERENCE, 0);
        return;
    }
    wtl_net_forward(r->net, r->batch, WTL_RUN_TRAINING, r->step++);
    (void)wtl_net_loss(r->net, r->batch, r->labels, 0.0f, NULL);
    wtl_net_backward(r->net, r->batch);
    (void)wtl_optimizer_step(r->optimizer, 1e-6);
}

/* Bytes that can be used without swapping; SIZE_MAX if the system does not say. */
static size_t available_bytes(void)
{
    char line[256];
    unsigned long kib = 0;
    FILE *file = fopen("/proc/meminfo", "r");
    while (file && fgets(line, sizeof line, file) && strncmp(line, "MemAvailable:", 13) != 0) {}
    if (file) {
        kib = strtoul(line + 13, NULL, 10);
        (void)fclose(file);
    }
    return kib ? (size_t)kib * 1024 : SIZE_MAX;
}

static void fill_inputs(net_run *r, const wtl_netdef *def)
{
    wtl_rng rng = wtl_rng_make(1, WTL_RNG_SAMPLE, 0, 0);
    size_t floats = (size_t)r->batch * wtl_shape_count(def->input);
    float *images = wtl_net_input(r->net);
    for (size_t i = 0; i < floats; i++) {
        images[i] = 2.0f * wtl_rng_uniform(&rng) - 1.0f;
    }
    for (int i = 0; i < r->batch; i++) {
        uint32_t classes = (uint32_t)wtl_net_main_head(r->net)->classes;
        r->labels[i] = (int)wtl_rng_below(&rng, classes);
    }
}

/* Median seconds of a pass over a batch; negative when it does not fit into memory. */
static double net_seconds(const options *o, const wtl_netdef *def, int batch, bool training)
{
    wtl_error err = {0};
    net_run run = {.batch = batch, .labels = wtl_alloc((size_t)batch, sizeof(int))};
    const wtl_net_options plan = {
        .batch = batch, .threads = o->threads, .training = training, .seed = 1};
    const wtl_optimizer_options sgd = {.kind = WTL_OPTIMIZER_SGD,
                                       .momentum = 0.9,
                                       .weight_decay = 5e-4,
                                       .threads = o->threads};
    double seconds = -1.0;
    if (!run.labels || wtl_net_create(&run.net, def, &plan, &err) != WTL_OK) {
        stop(def->name, &err);
    }
    wtl_net_memory memory = wtl_net_memory_of(run.net);
    if (memory.activations + 2 * memory.parameters + 2 * memory.gradients < available_bytes()) {
        wtl_net_init(run.net, 1);
        if (training && wtl_optimizer_create(&run.optimizer, run.net, &sgd, &err) != WTL_OK) {
            stop(def->name, &err);
        }
        fill_inputs(&run, def);
        seconds = median_seconds(o, run_net, &run);
    }
    wtl_optimizer_free(run.optimizer);
    wtl_net_free(run.net);
    wtl_free(run.labels);
    return seconds;
}

static void bench(const options *o, const wtl_netdef *def, int batch, bool training)
{
    static products all;
    const char *mode = training ? "training" : "inference";
    fprintf(stderr, "%s, %s, batch %d\n", def->name, mode, batch);
    double seconds = net_seconds(o, def, batch, training);
    if (seconds < 0.0) {
        printf("| %s | %s | %d | does not fit into memory | | | |\n", def->name, mode, batch);
        return;
    }
    list_products(&all, def, batch, training);
    double plain = products_seconds(o, &all), gflop = 2e-9 * all.macs;
    printf("| %s | %s | %d | %.1f | %.1f | %.1f | %.0f %% |\n", def->name, mode, batch,
           batch / seconds, gflop / seconds, gflop / plain, 100.0 * plain / seconds);
    (void)fflush(stdout);
}

/* ---- the machine and the options ---- */

static void print_heading(const options *o)
{
    char line[512], blas[256], *name = NULL;
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, "model name", 10) == 0 && (name = strchr(line, ':')) != NULL) {
            name[strcspn(name, "\n")] = '\0';
            break;
        }
    }
    if (file) {
        (void)fclose(file);
    }
    wtl_blas_describe(blas, sizeof blas);
    printf("wattle %s; %d threads of %d;%s; %s; medians of up to %d repeats\n\n", WTL_VERSION,
           o->threads, wtl_threads_available(), name ? name + 1 : " processor unknown", blas,
           o->repeats);
    printf("| net | pass | batch | images/s | GFLOP/s | plain sgemm GFLOP/s | of sgemm |\n");
    printf("|---|---|--:|--:|--:|--:|--:|\n");
}

static void usage(FILE *to)
{
    fprintf(to, "usage: bench_throughput [OPTION...]\n"
                "  --nets A,B,...     zoo names or files (alexnet-bvlc,googlenet-bvlc,\n"
                "                     squeezenet-1.1,resnet-20)\n"
                "  --batches N,...    images in a batch (1,32,64,128)\n"
                "  --passes P,...     inference,training (both)\n"
                "  --threads N        (all processors)\n"
                "  --repeats N        most repeats of a measurement, 3..100 (5)\n"
                "  --seconds S        stop repeating after S seconds and 3 repeats (10)\n");
}

static void misused(const char *option, const char *value)
{
    fprintf(stderr, "bench_throughput: --%s does not take \"%s\"\n", option, value);
    usage(stderr);
    exit(64);
}

static int split(char *list, const char **items)
{
    int count = 0;
    char *rest = NULL;
    for (char *item = strtok_r(list, ",", &rest); item && count < MOST_ITEMS;
         item = strtok_r(NULL, ",", &rest)) {
        items[count++] = item;
    }
    return count;
}

static void set_option(options *o, const char *name, char *value)
{
    const char *items[MOST_ITEMS] = {0};
    bool good = true;
    if (strcmp(name, "nets") == 0) {
        o->net_count = split(value, o->nets);
    } else if (strcmp(name, "batches") == 0) {
        o->batch_count = split(value, items);
        for (int i = 0; i < o->batch_count; i++) {
            good = good && wtl_parse_int(items[i], 1, 65536, &o->batches[i]);
        }
    } else if (strcmp(name, "passes") == 0) {
        int count = split(value, items);
        o->inference = o->training = false;
        for (int i = 0; i < count; i++) {
            bool inference = strcmp(items[i], "inference") == 0;
            good = good && (inference || strcmp(items[i], "training") == 0);
            o->inference = o->inference || inference;
            o->training = o->training || !inference;
        }
    } else if (strcmp(name, "threads") == 0) {
        good = wtl_parse_int(value, 1, 1024, &o->threads);
    } else if (strcmp(name, "repeats") == 0) {
        good = wtl_parse_int(value, 3, MOST_REPEATS, &o->repeats);
    } else {
        good = wtl_parse_double(value, 0.0, 1e6, &o->most_seconds);
    }
    if (!good) {
        misused(name, value);
    }
}

static void read_options(options *o, int count, char **arguments)
{
    static const struct option known[] = {
        {"nets", required_argument, NULL, 'o'},    {"batches", required_argument, NULL, 'o'},
        {"passes", required_argument, NULL, 'o'},  {"threads", required_argument, NULL, 'o'},
        {"repeats", required_argument, NULL, 'o'}, {"seconds", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};
    int found, index = 0;
    while ((found = getopt_long(count, arguments, "h", known, &index)) != -1) {
        if (found == 'o') {
            set_option(o, known[index].name, optarg);
        } else {
            usage(found == 'h' ? stdout : stderr);
            exit(found == 'h' ? 0 : 64);
        }
    }
}

int main(int count, char **arguments)
{
    options o = {.nets = {"alexnet-bvlc", "googlenet-bvlc", "squeezenet-1.1", "resnet-20"},
                 .net_count = 4,
                 .batches = {1, 32, 64, 128},
                 .batch_count = 4,
                 .inference = true,
                 .training = true,
                 .threads = wtl_threads_available(),
                 .repeats = 5,
                 .most_seconds = 10.0};
    read_options(&o, count, arguments);
    wtl_blas_prepare();
    wtl_threads_prepare(o.threads);
    print_heading(&o);
    for (int i = 0; i < o.net_count; i++) {
        wtl_error err = {0};
        wtl_netdef *def;
        if (wtl_netdef_load(&def, o.nets[i], 0, &err) != WTL_OK) {
            stop(o.nets[i], &err);
        }
        for (int pass = 0; pass < 2; pass++) {
            for (int b = 0; b < o.batch_count && (pass ? o.training : o.inference); b++) {
                bench(&o, def, o.batches[b], pass == 1);
            }
        }
        wtl_netdef_free(def);
    }
    return 0;
}
