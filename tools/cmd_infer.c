/* cmd_infer.c - wattle infer: the likeliest classes of pictures. */
#include "commands.h"
#include "common/model.h"
#include "common/output.h"

#include "wattle/batcher.h"
#include "wattle/memory.h"

#include <limits.h>

typedef struct infer_args {
    int top, engine;
} infer_args;

#define ARG(field) offsetof(infer_args, field), sizeof(((infer_args *)0)->field)
static const wtl_option options[] = {
    {"top", NULL, "K", "classes to show for each picture (default 5)", "Options",
     WTL_OPTION_INT, 'k', ARG(top), 1, 100000, NULL},
    {"engine", NULL, "NAME", "native, blas or reference (plain loops, slow)", NULL,
     WTL_OPTION_CHOICE, 0, ARG(engine), 0, 0, wtl_engine_words},
    {0},
};

/* The `top` largest of probability[classes], largest first, ties in class order. */
static void find_top(const float *probability, int classes, int top, int *best)
{
    for (int rank = 0; rank < top; rank++) {
        int winner = -1;
        for (int k = 0; k < classes; k++) {
            bool after = rank == 0 || probability[k] < probability[best[rank - 1]] ||
                         (probability[k] == probability[best[rank - 1]] && k > best[rank - 1]);
            if (after && (winner < 0 || probability[k] > probability[winner])) {
                winner = k;
            }
        }
        best[rank] = winner;
    }
}

static wtl_status run_picture(wtl_model *model, const char *file, wtl_image *image,
                              wtl_error *err)
{
    const wtl_preprocess *preprocess = &wtl_net_def(model->net)->preprocess;
    wtl_status status = wtl_image_load(image, file, err);
    if (status != WTL_OK) {
        return status;
    }
    status = wtl_preprocess_image(preprocess, image, wtl_net_input(model->net), err);
    if (status != WTL_OK) {
        return wtl_fail_in(err, status, file);
    }
    wtl_net_forward(model->net, 1, WTL_RUN_INFERENCE, 0);
    if (!wtl_net_output_finite(model->net, 1)) {
        return wtl_fail(err, WTL_E_NAN, "%s: the network's output is not finite", file);
    }
    return WTL_OK;
}

static void print_text(const wtl_model *model, const char *file, const float *probability,
                       const int *best, int top)
{
    wtl_cli_print_text(stdout, file);
    putchar('\n');
    for (int i = 0; i < top; i++) {
        char spare[32];
        printf("  %6.2f %%  ", 100.0 * (double)probability[best[i]]);
        wtl_cli_print_text(stdout, wtl_model_class(model->checkpoint, best[i], spare));
        putchar('\n');
    }
}

static json_t *picture_json(const wtl_model *model, const char *file, const float *probability,
                            const int *best, int top)
{
    json_t *list = json_array();
    for (int i = 0; i < top; i++) {
        char spare[32];
        const char *name = wtl_model_class(model->checkpoint, best[i], spare);
        (void)json_array_append_new(
            list, json_pack("{s:i, s:o, s:o}", "class", best[i], "name", wtl_json_string(name),
                            "probability", wtl_json_real((double)probability[best[i]])));
    }
    return json_pack("{s:o, s:o}", "file", wtl_json_string(file), "top", list);
}

/* Every picture; one that cannot be read is reported and the others go on. Returns the exit
 * code of the first failure. */
static int run_pictures(wtl_model *model, const wtl_parsed *parsed, int top, int *best,
                        json_t *list)
{
    wtl_image image = {0};
    int code = WTL_EXIT_DONE;
    for (int i = 1; i < parsed->word_count; i++) {
        const char *file = parsed->words[i];
        wtl_error err = {0};
        if (run_picture(model, file, &image, &err) != WTL_OK) {
            int failure = wtl_cli_report(&err);
            code = code ? code : failure;
            continue;
        }
        const wtl_head *head = wtl_net_main_head(model->net);
        find_top(head->probability, head->classes, top, best);
        if (list) {
            (void)json_array_append_new(
                list, picture_json(model, file, head->probability, best, top));
        } else {
            print_text(model, file, head->probability, best, top);
        }
    }
    wtl_image_clear(&image);
    return code;
}

static int classify(const wtl_command *command, wtl_model *model, const wtl_parsed *parsed,
                    int top)
{
    wtl_error err = {0};
    const wtl_head *head = wtl_net_main_head(model->net);
    if (!head) {
        (void)wtl_fail(&err, WTL_E_FORMAT, "%s: the network has no softmax, so no classes",
                       parsed->words[0]);
        return wtl_cli_report(&err);
    }
    top = top < head->classes ? top : head->classes;
    int *best = wtl_alloc((size_t)top, sizeof *best);
    json_t *list = parsed->common.json ? json_array() : NULL;
    if (!best) {
        json_decref(list);
        (void)wtl_fail(&err, WTL_E_NOMEM, "out of memory for %d classes", top);
        return wtl_cli_report(&err);
    }
    int code = run_pictures(model, parsed, top, best, list);
    wtl_free(best);
    if (list) {
        int printed = wtl_cli_print_json(command, json_pack("{s:o}", "images", list));
        code = code ? code : printed;
    }
    return code;
}

static int run(const wtl_command *command, int argc, char **argv)
{
    infer_args args = {.top = 5};
    wtl_parsed parsed;
    if (!wtl_options_parse(&parsed, command, &args, argc, argv)) {
        return parsed.exit_code;
    }
    wtl_error err = {0};
    wtl_model model;
    wtl_net_options plan = {
        .batch = 1, .threads = parsed.common.threads, .engine = (wtl_engine)args.engine};
    if (wtl_model_load(&model, parsed.words[0], plan, &err) != WTL_OK ||
        wtl_net_freeze(model.net, NULL, &err) != WTL_OK) {
        wtl_model_clear(&model);
        return wtl_cli_report(&err);
    }
    int code = classify(command, &model, &parsed, args.top);
    wtl_model_clear(&model);
    return code;
}

const wtl_command wtl_command_infer = {
    .name = "infer",
    .line = "the likeliest classes of pictures",
    .usage = "CKPT IMAGE... [OPTION...]",
    .about =
        "Shows what the network of a checkpoint takes pictures (PNG or JPEG) for. They are\n"
        "brought to the network's input as the checkpoint says. A picture that cannot be\n"
        "read is reported, and the others go on.",
    .examples = "  wattle infer runs/first/ckpt/best.wtl boot.png --top 3",
    .options = options,
    .least_words = 2,
    .most_words = INT_MAX,
    .words = "a checkpoint file and at least one picture (CKPT IMAGE...)",
    .run = run,
};
