/* compare_judge.c - what a finished net costs and how good it is: energy on validation images,
 * accuracy on validation and test images. */
#include "compare_private.h"

#include "wattle/checkpoint.h"
#include "wattle/evaluate.h"
#include "wattle/memory.h"
#include "wattle/split.h"

enum { JUDGE_BATCH = 64 };

typedef struct judge {
    wtl_hardware hw;
    wtl_net *net; /* inference, filled anew for each checkpoint */
    wtl_pricing *pricing;
    wtl_sample sample; /* validation images */
    wtl_dataset *val, *test;
    double *nonzeros;
    uint64_t seed;
    int workers;
} judge;

static void close_judge(void *opened)
{
    judge *j = opened;
    if (j) {
        wtl_free(j->nonzeros);
        wtl_dataset_free(j->test);
        wtl_dataset_free(j->val);
        wtl_sample_clear(&j->sample);
        wtl_pricing_free(j->pricing);
        wtl_net_free(j->net);
        wtl_free(j);
    }
}

/* ---- opening ---- */

static wtl_status open_data(judge *j, const wtl_checkpoint *checkpoint, const char *data,
                            wtl_error *err)
{
    wtl_dataset_options split = wtl_split_of(checkpoint);
    wtl_status status = wtl_dataset_open(&j->val, data, &split, err);
    if (status == WTL_OK) {
        split.part = WTL_DATA_TEST;
        status = wtl_dataset_open(&j->test, data, &split, err);
    }
    return status;
}

static wtl_status open_net(judge *j, const wtl_netdef *def, const wtl_prune_options *o,
                           wtl_error *err)
{
    const wtl_net_options plan = {
        .batch = JUDGE_BATCH, .threads = o->threads, .keep_outputs = true};
    wtl_status status = wtl_hardware_load(&j->hw, o->hardware, err);
    if (status == WTL_OK) {
        status = wtl_net_create(&j->net, def, &plan, err);
    }
    if (status == WTL_OK) {
        status = wtl_pricing_create(&j->pricing, j->net, &j->hw, &o->pricing, err);
    }
    if (status != WTL_OK) {
        return status;
    }
    j->nonzeros = wtl_alloc((size_t)wtl_pricing_count(j->pricing), sizeof *j->nonzeros);
    return j->nonzeros ? WTL_OK
                       : wtl_fail(err, WTL_E_NOMEM, "out of memory for the layers of a net");
}

static wtl_status open_all(judge *j, const wtl_prune_options *o, wtl_error *err)
{
    wtl_checkpoint *checkpoint = NULL;
    wtl_status status = wtl_checkpoint_read(&checkpoint, o->checkpoint, err);
    const wtl_netdef *def = status == WTL_OK ? wtl_checkpoint_net(checkpoint) : NULL;
    if (status == WTL_OK && !def) {
        status = wtl_fail(err, WTL_E_FORMAT, "%s: has no network", o->checkpoint);
    }
    if (status == WTL_OK) {
        status = open_data(j, checkpoint, o->data, err);
    }
    if (status == WTL_OK) {
        status = open_net(j, def, o, err);
    }
    if (status == WTL_OK) {
        status = wtl_sample_draw(&j->sample, j->val, def, o->search_images, o->seed, err);
    }
    wtl_checkpoint_free(checkpoint);
    return status;
}

static wtl_status open_judge(void **opened, const wtl_prune_options *options, long *test_images,
                             wtl_error *err)
{
    judge *j = wtl_alloc(1, sizeof *j);
    *opened = NULL;
    if (!j) {
        return wtl_fail(err, WTL_E_NOMEM, "out of memory");
    }
    j->seed = options->seed;
    j->workers = options->workers;
    wtl_status status = open_all(j, options, err);
    if (status != WTL_OK) {
        close_judge(j);
        return status;
    }
    *test_images = (long)wtl_dataset_count(j->test);
    *opened = j;
    return WTL_OK;
}

/* ---- judging ---- */

static wtl_status load(judge *j, const char *path, wtl_error *err)
{
    wtl_checkpoint *checkpoint = NULL;
    wtl_status status = wtl_checkpoint_read(&checkpoint, path, err);
    if (status == WTL_OK) {
        status = wtl_checkpoint_fill_net(checkpoint, j->net, err);
    }
    wtl_checkpoint_free(checkpoint);
    return status;
}

static wtl_status measure(judge *j, const wtl_prune_hooks *hooks, wtl_error *err)
{
    wtl_status status =
        wtl_pricing_measure(j->pricing, &j->sample, hooks->stop, hooks->context, err);
    if (status == WTL_OK) {
        wtl_pricing_nonzeros(j->pricing, j->net, j->nonzeros);
    }
    return status;
}

static bool go_on(void *context, long done, long total)
{
    const wtl_prune_hooks *const *hooks = context;
    (void)done;
    (void)total;
    return !(*hooks)->stop || !(*hooks)->stop((*hooks)->context);
}

static wtl_status evaluate(const judge *j, const wtl_dataset *dataset,
                           const wtl_prune_hooks *hooks, double *top1, double *top5,
                           wtl_error *err)
{
    wtl_evaluation result = {.confusion = NULL};
    const wtl_evaluate_options how = {
        .seed = j->seed, .workers = j->workers, .progress = go_on, .context = &hooks};
    wtl_status status = wtl_evaluate(&result, j->net, dataset, &how, err);
    if (status == WTL_OK) {
        *top1 = wtl_percent(result.scores.top1, result.scores.images);
        *top5 = wtl_percent(result.scores.top5, result.scores.images);
    }
    wtl_evaluation_clear(&result);
    return status;
}

static void count(const judge *j, wtl_compare_point *point)
{
    point->energy_absolute = wtl_pricing_total(j->pricing, j->nonzeros);
    point->weights = point->macs = 0;
    for (int i = 0; i < wtl_pricing_count(j->pricing); i++) {
        point->weights += j->nonzeros[i];
        point->macs += wtl_pricing_macs(j->pricing, i, j->nonzeros[i], true);
    }
    wtl_mask_count masks = wtl_mask_count_net(j->net);
    point->density = masks.weights > 0 ? (double)masks.kept / (double)masks.weights : 1.0;
}

static wtl_status estimate(const judge *j, wtl_energy_report *report, wtl_error *err)
{
    wtl_workload work = {.layers = NULL};
    wtl_status status = wtl_pricing_workload(j->pricing, j->nonzeros, &work, err);
    if (status == WTL_OK) {
        status = wtl_energy_estimate(report, &j->hw, &work, NULL, err);
    }
    wtl_workload_clear(&work);
    return status;
}

static wtl_status judge_net(void *opened, const char *checkpoint, const wtl_prune_hooks *hooks,
                            wtl_compare_point *point, wtl_energy_report *report, wtl_error *err)
{
    judge *j = opened;
    double val_top5;
    wtl_status status = load(j, checkpoint, err);
    if (status == WTL_OK) {
        status = measure(j, hooks, err);
    }
    if (status == WTL_OK && report) {
        status = estimate(j, report, err);
    }
    if (status != WTL_OK || !point) {
        return status;
    }
    count(j, point);
    status = evaluate(j, j->val, hooks, &point->val_top1, &val_top5, err);
    return status == WTL_OK ? evaluate(j, j->test, hooks, &point->top1, &point->top5, err)
                            : status;
}

const wtl_compare_engine wtl_compare_judging = {
    .open = open_judge, .judge = judge_net, .close = close_judge};
