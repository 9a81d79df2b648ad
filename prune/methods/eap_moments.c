/* eap_moments.c - the sample through the nets, into the moments of one or more layers. */
#include "eap.h"
#include "wattle/memory.h"

#include <string.h>

/* ---- views ---- */

/* A quarter of the images judges. */
static int fit_images(const wtl_eap_round *round, bool judge)
{
    return round->images - (judge ? round->images / 4 : 0);
}

/* Where X^T X is too large, rows are kept instead. */
static wtl_status open_moments(const wtl_eap_round *round, const wtl_eap_view *view, int images,
                               wtl_moments_form form, wtl_moments **out, wtl_error *err)
{
    wtl_moments_options options = {.images = (size_t)images,
                                   .positions = round->options.positions,
                                   .form = form,
                                   .keep_samples = true,
                                   .seed = round->context->seed,
                                   .layer = (uint32_t)view->layer->layer,
                                   .threads = round->threads};
    wtl_status status = wtl_moments_create(out, view->def, view->layer->in, &options, err);
    if (status == WTL_E_FIT && form == WTL_MOMENTS_AUTO) {
        options.form = WTL_MOMENTS_DUAL;
        status = wtl_moments_create(out, view->def, view->layer->in, &options, err);
    }
    return status;
}

wtl_status wtl_eap_view_open(const wtl_eap_round *round, wtl_eap_view *view, bool judge,
                             wtl_error *err)
{
    int fit = fit_images(round, judge), rest = round->images - fit;
    wtl_status status = open_moments(round, view, fit, WTL_MOMENTS_AUTO, &view->fit, err);
    if (status == WTL_OK && rest > 0) {
        status = open_moments(round, view, rest, WTL_MOMENTS_DUAL, &view->judge, err);
    }
    return status;
}

void wtl_eap_view_close(wtl_eap_view *view)
{
    wtl_moments_free(view->fit);
    wtl_moments_free(view->judge);
    view->fit = view->judge = NULL;
}

/* ---- running ---- */

wtl_status wtl_eap_check_stop(const wtl_eap_round *round, wtl_error *err)
{
    const wtl_method_context *context = round->context;
    return context->stop && context->stop(context->context)
               ? wtl_fail(err, WTL_E_STOPPED, "energy-aware: stopped")
               : WTL_OK;
}

void wtl_eap_progress(wtl_eap_round *round, int more)
{
    round->done += more;
    if (round->context->progress) {
        round->context->progress(round->context->context, round->done, round->total);
    }
}

static int batch_of(const wtl_eap_round *round)
{
    int inputs = wtl_net_options_of(round->inputs)->batch;
    int targets = wtl_net_options_of(round->targets)->batch;
    return inputs < targets ? inputs : targets;
}

static void run_net(wtl_net *net, const wtl_sample *sample, int first, int n)
{
    size_t values = wtl_shape_count(sample->shape);
    memcpy(wtl_net_input(net), sample->images + (size_t)first * values,
           (size_t)n * values * sizeof(float));
    wtl_net_forward(net, n, WTL_RUN_INFERENCE, 0);
}

static wtl_status add_batch(const wtl_eap_round *round, const wtl_eap_view *view, bool judge,
                            int n, wtl_error *err)
{
    wtl_shape shape;
    int input = view->layer->def->inputs[0];
    const float *x = wtl_net_layer_output(round->inputs, input, &shape);
    const float *original = wtl_net_layer_output(round->targets, input, &shape);
    return wtl_moments_add_inputs(judge ? view->judge : view->fit, n, x, original,
                                  view->targets, err);
}

static wtl_status run_images(const wtl_eap_round *round, const wtl_eap_view *views, int count,
                             bool judge, int begin, int end, wtl_error *err)
{
    int batch = batch_of(round);
    wtl_status status = WTL_OK;
    for (int first = begin; first < end && status == WTL_OK; first += batch) {
        int n = end - first < batch ? end - first : batch;
        run_net(round->inputs, round->context->sample, first, n);
        if (round->targets != round->inputs) {
            run_net(round->targets, round->context->sample, first, n);
        }
        for (int i = 0; i < count && status == WTL_OK; i++) {
            status = add_batch(round, &views[i], judge, n, err);
        }
        status = status == WTL_OK ? wtl_eap_check_stop(round, err) : status;
    }
    return status;
}

wtl_status wtl_eap_gather(const wtl_eap_round *round, const wtl_eap_view *views, int count,
                          bool judge, wtl_error *err)
{
    int fit = fit_images(round, judge);
    wtl_status status = run_images(round, views, count, false, 0, fit, err);
    return status == WTL_OK ? run_images(round, views, count, true, fit, round->images, err)
                            : status;
}

/* ---- options ---- */

wtl_reconstruct_options wtl_eap_reconstruction(const wtl_eap_round *round,
                                               const wtl_eap_layer *layer,
                                               const wtl_moments *moments, size_t kept,
                                               size_t keep, double most_work)
{
    enum { MOST_STEP = 64, MOST_TURNS = 1 << 18 };
    wtl_reconstruct_options options = round->options.reconstruct;
    wtl_moments_info info = wtl_moments_info_of(moments);
    options.threads = round->threads;
    options.granularity = layer->granularity;
    if (round->options.no_restore) {
        options.overshoot = -1.0;
        return options;
    }
    double weights = (double)info.filters * info.width;
    double restored = (options.overshoot > 0.0 ? options.overshoot : 0.0) * weights;
    restored = restored < 0.5 * (double)keep ? restored : 0.5 * (double)keep;
    double candidates = ((double)(kept - keep) + restored) / info.filters;
    double work = restored * candidates * (double)info.rows;
    double turns = restored / layer->blocks.height;
    while (options.restore_step < MOST_STEP && (work / options.restore_step > most_work ||
                                                turns / options.restore_step > MOST_TURNS)) {
        options.restore_step *= 2;
    }
    options.restore_step =
        options.restore_step < MOST_STEP ? options.restore_step : (int)MOST_STEP;
    return options;
}
