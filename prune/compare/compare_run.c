/* compare_run.c - the ladder: every method and seed down the budgets, net by net.
 *
 * What is done is what results.csv says: a row is written when a net has been judged, and never
 * made again. All that is shown in the end is computed from that file, so that a comparison
 * that was killed ends like one that was not.
 */
#define _DEFAULT_SOURCE
#include "compare_private.h"

#include "wattle/file.h"
#include "wattle/memory.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { MOST_CONFIG_BYTES = 1 << 20, MOST_RESULT_BYTES = 1 << 24 };
static const size_t MOST_CHECKPOINT_BYTES = (size_t)1 << 36;

typedef struct comparing {
    const wtl_compare_engine *engine;
    const char *out;
    const wtl_prune_hooks *hooks; /* never NULL */
    wtl_comparison *c;
    void *judge;
    char *config, *results, *runs, *plots; /* paths */
} comparing;

static wtl_status no_memory(const comparing *r, wtl_error *err)
{
    return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", r->out);
}

/* ---- the folder ---- */

static wtl_status name_parts(comparing *r, wtl_error *err)
{
    r->config = wtl_path_join(r->out, "config.json");
    r->results = wtl_path_join(r->out, "results.csv");
    r->runs = wtl_path_join(r->out, "runs");
    r->plots = wtl_path_join(r->out, "plots");
    return r->config && r->results && r->runs && r->plots ? WTL_OK : no_memory(r, err);
}

static wtl_status read_config(const comparing *r, wtl_compare_options *options, wtl_error *err)
{
    if (!wtl_file_exists(r->config)) {
        return wtl_fail(err, WTL_E_MISSING,
                        "%s: no config.json there, so no comparison to resume; start one "
                        "without resuming",
                        r->out);
    }
    unsigned char *bytes;
    size_t length;
    wtl_status status = wtl_file_read_plain(r->config, MOST_CONFIG_BYTES, &bytes, &length, err);
    if (status == WTL_OK) {
        status = wtl_compare_config_parse(options, (const char *)bytes, length, r->config, err);
        wtl_free(bytes);
    }
    return status;
}

static wtl_status write_config(const comparing *r, wtl_error *err)
{
    char *text = wtl_compare_config_text(&r->c->options);
    wtl_status status =
        text ? wtl_file_write(r->config, text, strlen(text), err) : no_memory(r, err);
    wtl_free(text);
    return status;
}

static wtl_status drop_file(const char *path, wtl_error *err)
{
    return remove(path) == 0 || errno == ENOENT
               ? WTL_OK
               : wtl_fail(err, WTL_E_WRITE, "%s: cannot be removed: %s", path, strerror(errno));
}

/* A run is told by its config.json: without it, the run begins anew. */
static wtl_status drop_runs(const comparing *r, wtl_error *err)
{
    DIR *folder = opendir(r->runs);
    wtl_status status = WTL_OK;
    for (const struct dirent *entry; folder && status == WTL_OK && (entry = readdir(folder));) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        char *path = wtl_format("%s/%s/config.json", r->runs, entry->d_name);
        status = path ? drop_file(path, err) : no_memory(r, err);
        wtl_free(path);
    }
    if (folder) {
        closedir(folder);
    }
    return status;
}

/* Nothing of an older comparison is left to go on from; results first, then runs, so that a
 * kill in between leaves the older comparison at its beginning. */
static wtl_status begin_folder(const comparing *r, wtl_error *err)
{
    wtl_status status = wtl_make_folder(r->runs, err);
    if (status == WTL_OK) {
        status = drop_file(r->results, err);
    }
    if (status == WTL_OK) {
        status = drop_runs(r, err);
    }
    return status == WTL_OK ? write_config(r, err) : status;
}

/* ---- options ---- */

static wtl_status resume_options(const comparing *r, const wtl_compare_options *options,
                                 wtl_error *err)
{
    wtl_compare_options *o = &r->c->options;
    wtl_status status = read_config(r, o, err);
    if (status != WTL_OK || !options) {
        return status;
    }
    o->prune.threads = options->prune.threads ? options->prune.threads : o->prune.threads;
    if (options->seeds > o->seeds && options->seeds <= WTL_COMPARE_SEEDS) {
        o->seeds = options->seeds;
        status = write_config(r, err);
    }
    return status;
}

static wtl_status new_options(const comparing *r, const wtl_compare_options *options,
                              bool force, wtl_error *err)
{
    r->c->options = *options;
    wtl_status status = wtl_compare_resolve(&r->c->options, err);
    if (status == WTL_OK && !force && wtl_file_exists(r->config)) {
        return wtl_fail(err, WTL_E_ARG,
                        "%s: holds a comparison or a run already; resume it, overwrite it by "
                        "force, or choose another folder",
                        r->out);
    }
    return status;
}

/* The options of one run towards one budget. */
static wtl_prune_options run_options(const wtl_comparison *c, int method, int seed,
                                     double budget)
{
    wtl_prune_options o = c->options.prune;
    memcpy(o.method, c->options.methods[method], sizeof o.method);
    o.seed += (uint64_t)seed;
    o.target_energy = budget;
    o.max_drop = -1;
    return o;
}

/* ---- before any work ---- */

static wtl_status preflight(const comparing *r, wtl_error *err)
{
    wtl_comparison *c = r->c;
    const wtl_prune_options o = run_options(c, 0, 0, c->options.budgets[0]);
    wtl_preflight before = {.layers = NULL};
    wtl_status status = r->engine->preflight(&before, &o, err);
    if (status == WTL_OK) {
        c->floor = before.dense > 0 ? before.floor / before.dense : (double)NAN;
        c->train_images = before.train_images;
        c->val_images = before.val_images;
        c->search_images = before.search_images;
        snprintf(c->net, sizeof c->net, "%s", before.net);
    }
    wtl_preflight_clear(&before);
    return status;
}

static wtl_status read_results(const comparing *r, wtl_error *err)
{
    unsigned char *bytes;
    size_t length;
    if (!wtl_file_exists(r->results)) {
        return WTL_OK; /* killed before the first net */
    }
    wtl_status status =
        wtl_file_read_plain(r->results, MOST_RESULT_BYTES, &bytes, &length, err);
    if (status == WTL_OK) {
        status = wtl_compare_results_parse(r->c, (char *)bytes, r->results, err);
        wtl_free(bytes);
    }
    return status;
}

/* What is kept in memory is what the file says. */
static wtl_status reread_results(const comparing *r, wtl_error *err)
{
    wtl_free(r->c->points);
    wtl_free(r->c->rows);
    r->c->points = NULL;
    r->c->rows = NULL;
    wtl_status status = wtl_compare_allocate(r->c, err);
    return status == WTL_OK ? read_results(r, err) : status;
}

/* ---- one net ---- */

static wtl_status copy_file(const char *from, const char *to, wtl_error *err)
{
    unsigned char *bytes;
    size_t length;
    wtl_status status = wtl_file_read_plain(from, MOST_CHECKPOINT_BYTES, &bytes, &length, err);
    if (status == WTL_OK) {
        status = wtl_file_write(to, bytes, length, err);
        wtl_free(bytes);
    }
    return status;
}

static char *run_path(const comparing *r, int method, int seed)
{
    return wtl_format("%s/%s-seed%llu", r->runs, r->c->options.methods[method],
                      wtl_compare_seed(r->c, seed));
}

static char *net_path(const comparing *r, const wtl_compare_point *point)
{
    char *run = run_path(r, point->method, point->seed_index);
    char *path =
        run ? wtl_format("%s/ckpt/at-%.2f.wtl", run, r->c->options.budgets[point->budget])
            : NULL;
    wtl_free(run);
    return path;
}

static void tell(const comparing *r, const wtl_compare_point *point)
{
    const wtl_compare_options *o = &r->c->options;
    char note[160];
    int run = point->seed_index * o->method_count + point->method + 1;
    snprintf(note, sizeof note, "%s, seed %llu (run %d of %d): to %g %% of the dense energy",
             o->methods[point->method], wtl_compare_seed(r->c, point->seed_index), run,
             o->method_count * o->seeds, 100 * o->budgets[point->budget]);
    const wtl_prune_event event = {.kind = WTL_PRUNE_NOTE, .note = note};
    if (r->hooks->event) {
        r->hooks->event(r->hooks->context, &event);
    }
}

/* Keep the run's result under the budget's name, and judge that. */
static wtl_status keep_net(const comparing *r, const char *run, wtl_compare_point *point,
                           wtl_error *err)
{
    char *pruned = wtl_path_join(run, "ckpt/pruned.wtl"), *kept = net_path(r, point);
    wtl_status status = pruned && kept ? copy_file(pruned, kept, err) : no_memory(r, err);
    if (status == WTL_OK) {
        status = r->engine->judge(r->judge, kept, r->hooks, point, NULL, err);
        point->energy = point->energy_absolute / r->c->dense.energy_absolute;
    }
    wtl_free(pruned);
    wtl_free(kept);
    return status;
}

/* What cannot be reached, and what does not train, leaves a gap in the curve. */
static bool is_gap(wtl_status status)
{
    return status == WTL_E_GOAL || status == WTL_E_FIT || status == WTL_E_NAN;
}

static wtl_status prune_to(const comparing *r, const char *run, wtl_compare_point *point,
                           wtl_error *err)
{
    const wtl_prune_options o = run_options(r->c, point->method, point->seed_index,
                                            r->c->options.budgets[point->budget]);
    wtl_prune_result result = {.met = false};
    wtl_error why = {.status = WTL_OK};
    char *config = wtl_path_join(run, "config.json");
    if (!config) {
        return no_memory(r, err);
    }
    bool begun = wtl_file_exists(config);
    wtl_free(config);
    tell(r, point);
    wtl_status status = r->engine->prune(run, &o, begun, !begun, r->hooks, &result, &why);
    if (is_gap(status)) {
        snprintf(point->note, sizeof point->note, "%.199s",
                 why.text[0] ? why.text : wtl_status_name(status));
        return WTL_OK;
    }
    if (status != WTL_OK) {
        return wtl_fail(err, status, "%s", why.text);
    }
    point->minutes = result.seconds / 60.0;
    point->peak_bytes = result.peak_bytes > 0 ? result.peak_bytes : (double)NAN;
    return keep_net(r, run, point, err);
}

static wtl_status take_step(const comparing *r, wtl_compare_point *point, wtl_error *err)
{
    if (wtl_compare_has_net(point) || point->note[0]) {
        return WTL_OK; /* done in an earlier call */
    }
    char *run = run_path(r, point->method, point->seed_index);
    wtl_status status = run ? prune_to(r, run, point, err) : no_memory(r, err);
    wtl_free(run);
    return status == WTL_OK ? wtl_compare_results_write(r->c, r->results, err) : status;
}

static wtl_status judge_dense(const comparing *r, wtl_error *err)
{
    wtl_compare_point *dense = &r->c->dense;
    if (wtl_compare_has_net(dense)) {
        return WTL_OK;
    }
    wtl_status status =
        r->engine->judge(r->judge, r->c->options.prune.checkpoint, r->hooks, dense, NULL, err);
    dense->energy = 1.0;
    return status == WTL_OK ? wtl_compare_results_write(r->c, r->results, err) : status;
}

/* Seeds outside: every method is down the ladder once before any is twice. */
static wtl_status climb_down(const comparing *r, wtl_error *err)
{
    const wtl_compare_options *o = &r->c->options;
    wtl_status status = judge_dense(r, err);
    for (int i = 0; i < r->c->point_count && status == WTL_OK; i++) {
        int run = i / o->budget_count;
        status = take_step(r,
                           wtl_compare_at(r->c, run % o->method_count, run / o->method_count,
                                          i % o->budget_count),
                           err);
    }
    return status == WTL_OK ? reread_results(r, err) : status;
}

/* ---- the end ---- */

static wtl_status look_into(const comparing *r, wtl_compare_net *net, const char *role,
                            const wtl_compare_point *point, wtl_error *err)
{
    char *path =
        point == &r->c->dense ? wtl_strdup(r->c->options.prune.checkpoint) : net_path(r, point);
    *net = (wtl_compare_net){.role = role, .point = point};
    wtl_status status =
        path ? r->engine->judge(r->judge, path, r->hooks, NULL, &net->report, err)
             : no_memory(r, err);
    wtl_free(path);
    return status;
}

static wtl_status finish(const comparing *r, wtl_error *err)
{
    wtl_comparison *c = r->c;
    wtl_compare_net nets[WTL_COMPARE_NETS] = {{.role = NULL}};
    int count = 0;
    wtl_compare_summarise(c);
    const struct {
        const char *role;
        const wtl_compare_point *point;
    } shown[WTL_COMPARE_NETS] = {
        {"original", &c->dense},
        {"magnitude",
         c->best_magnitude < 0 ? NULL : wtl_compare_chosen(c, c->best_magnitude, 0)},
        {"energy-aware",
         c->energy_aware < 0 ? NULL : wtl_compare_chosen(c, c->energy_aware, 0)}};
    wtl_status status = WTL_OK;
    for (int i = 0; i < WTL_COMPARE_NETS && status == WTL_OK; i++) {
        if (shown[i].point) {
            status = look_into(r, &nets[count++], shown[i].role, shown[i].point, err);
        }
    }
    if (status == WTL_OK) {
        status = wtl_make_folder(r->plots, err);
    }
    if (status == WTL_OK) {
        status = wtl_compare_write(c, nets, count, r->out, err);
    }
    if (status == WTL_OK) {
        status = wtl_compare_plots(c, nets, count, r->out, err);
    }
    for (int i = 0; i < count; i++) {
        wtl_energy_report_clear(&nets[i].report);
    }
    return status;
}

static wtl_status compare(comparing *r, const wtl_compare_options *options, bool resume,
                          bool force, wtl_error *err)
{
    wtl_status status = name_parts(r, err);
    if (status == WTL_OK) {
        status = resume ? resume_options(r, options, err) : new_options(r, options, force, err);
    }
    if (status == WTL_OK) {
        status = preflight(r, err);
    }
    if (status == WTL_OK) {
        status = r->engine->open(&r->judge, &r->c->options.prune, &r->c->test_images, err);
    }
    if (status == WTL_OK) {
        status = resume ? wtl_make_folder(r->runs, err) : begin_folder(r, err);
    }
    if (status == WTL_OK) {
        status = reread_results(r, err);
    }
    if (status == WTL_OK) {
        status = climb_down(r, err);
    }
    return status == WTL_OK ? finish(r, err) : status;
}

wtl_status wtl_compare_with(const wtl_compare_engine *engine, const char *out,
                            const wtl_compare_options *options, bool resume, bool force,
                            const wtl_prune_hooks *hooks, wtl_comparison *result,
                            wtl_error *err)
{
    static const wtl_prune_hooks none;
    *result = (wtl_comparison){.points = NULL};
    if (!out[0] || (!resume && !options)) {
        return wtl_fail(err, WTL_E_ARG, "a comparison needs a folder and options");
    }
    comparing r = {.engine = engine, .out = out, .hooks = hooks ? hooks : &none, .c = result};
    wtl_status status = compare(&r, options, resume, force, err);
    engine->close(r.judge);
    wtl_free(r.config);
    wtl_free(r.results);
    wtl_free(r.runs);
    wtl_free(r.plots);
    if (status != WTL_OK) {
        wtl_comparison_clear(result);
    }
    return status;
}
