/* net_dump.c - runs a checkpoint on given images and writes all it computes as raw floats,
 * for comparison with another engine.
 *
 *   net_dump params CHECKPOINT
 *       one line a parameter of the training net: name and dimensions
 *   net_dump run CHECKPOINT IMAGES LABELS COUNT THREADS FOLDER
 *       IMAGES: COUNT * C*H*W floats, LABELS: COUNT int32. Writes into FOLDER
 *       eval, folded          [COUNT,K]  logits in inference mode; batch norm folded
 *       head.NAME             [COUNT,K]  logits of each head in training mode
 *       loss                  [1]        weighted mean loss over all heads
 *       gradient.PARAM        gradient of each trained parameter
 *       value.PARAM           each running statistic after the training forward
 *       gradient.input        [COUNT,C,H,W]
 */
#include "wattle/blas.h"
#include "wattle/checkpoint.h"
#include "wattle/loss.h"
#include "wattle/memory.h"
#include "wattle/text.h"
#include "wattle/threads.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(wtl_status status, const wtl_error *err)
{
    if (status != WTL_OK) {
        fprintf(stderr, "net_dump: %s: %s\n", wtl_status_name(status), err->text);
        exit(1);
    }
}

static int number(const char *text)
{
    int value = 0;
    if (!wtl_parse_int(text, 1, 65536, &value)) {
        fprintf(stderr, "net_dump: %s is not a count\n", text);
        exit(64);
    }
    return value;
}

static void read_exactly(const char *path, void *to, size_t bytes)
{
    FILE *file = fopen(path, "rb");
    if (!file || fread(to, 1, bytes, file) != bytes || fgetc(file) != EOF) {
        fprintf(stderr, "net_dump: %s does not hold exactly %zu bytes\n", path, bytes);
        exit(1);
    }
    (void)fclose(file);
}

static void write_floats(const char *folder, const char *what, const char *name,
                         const float *values, size_t count)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s%s", folder, what, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(values, sizeof *values, count, file) != count || fclose(file) != 0) {
        fprintf(stderr, "net_dump: cannot write %s\n", path);
        exit(1);
    }
}

static wtl_net *net_from(const wtl_checkpoint *checkpoint, int batch, int threads,
                         bool training)
{
    wtl_error err = {0};
    wtl_net *net;
    /* A gradient jumps where rounding decides between two values of a pooling window, and
     * Winograd rounds more. */
    const wtl_net_options options = {.batch = batch,
                                     .threads = threads,
                                     .no_winograd = training,
                                     .training = training,
                                     .input_gradient = training};
    check(wtl_net_create(&net, wtl_checkpoint_net(checkpoint), &options, &err), &err);
    check(wtl_checkpoint_fill_net(checkpoint, net, &err), &err);
    return net;
}

static void list_params(const wtl_checkpoint *checkpoint)
{
    wtl_error err = {0};
    wtl_net *net;
    const wtl_net_options options = {.batch = 1, .training = true};
    check(wtl_net_create(&net, wtl_checkpoint_net(checkpoint), &options, &err), &err);
    for (int i = 0; i < wtl_net_param_count(net); i++) {
        const wtl_param *param = wtl_net_param(net, i);
        printf("%s", param->name);
        for (int d = 0; d < param->spec.rank; d++) {
            printf(" %d", param->spec.dims[d]);
        }
        printf("\n");
    }
    wtl_net_free(net);
}

static void run_inference(wtl_net *net, const float *images, size_t floats, int count,
                          const char *folder, const char *what)
{
    const wtl_head *head = wtl_net_main_head(net);
    memcpy(wtl_net_input(net), images, floats * sizeof *images);
    wtl_net_forward(net, count, WTL_RUN_INFERENCE, 0);
    write_floats(folder, what, "", head->logits, (size_t)count * (size_t)head->classes);
}

static void run_training(wtl_net *net, const float *images, size_t floats, const int *labels,
                         int count, const char *folder)
{
    memcpy(wtl_net_input(net), images, floats * sizeof *images);
    wtl_net_forward(net, count, WTL_RUN_TRAINING, 0);
    for (int i = 0; i < wtl_net_head_count(net); i++) {
        const wtl_head *head = wtl_net_head(net, i);
        write_floats(folder, "head.", head->name, head->logits,
                     (size_t)count * (size_t)head->classes);
    }
    float loss = (float)wtl_net_loss(net, count, labels, 0.0f, NULL);
    write_floats(folder, "loss", "", &loss, 1);
    wtl_net_backward(net, count);
    for (int i = 0; i < wtl_net_param_count(net); i++) {
        const wtl_param *param = wtl_net_param(net, i);
        if (param->gradient) {
            write_floats(folder, "gradient.", param->name, param->gradient, param->count);
        } else {
            write_floats(folder, "value.", param->name, param->value, param->count);
        }
    }
    write_floats(folder, "gradient.", "input", wtl_net_input_gradient(net), floats);
}

static void run(const wtl_checkpoint *checkpoint, char **arguments)
{
    wtl_error err = {0};
    int count = number(arguments[2]), threads = number(arguments[3]);
    const char *folder = arguments[4];
    size_t floats = (size_t)count * wtl_shape_count(wtl_checkpoint_net(checkpoint)->input);
    float *images = wtl_alloc(floats, sizeof *images);
    int32_t *labels = wtl_alloc((size_t)count, sizeof *labels);
    if (!images || !labels) {
        check(WTL_E_NOMEM, &err);
        exit(1);
    }
    read_exactly(arguments[0], images, floats * sizeof *images);
    read_exactly(arguments[1], labels, (size_t)count * sizeof *labels);

    wtl_net *net = net_from(checkpoint, count, threads, false), *folded;
    run_inference(net, images, floats, count, folder, "eval");
    check(wtl_net_fold(&folded, net, wtl_net_options_of(net), &err), &err);
    wtl_net_free(net);
    run_inference(folded, images, floats, count, folder, "folded");
    wtl_net_free(folded);

    net = net_from(checkpoint, count, threads, true);
    run_training(net, images, floats, labels, count, folder);
    wtl_net_free(net);
    wtl_free(labels);
    wtl_free(images);
}

int main(int count, char **arguments)
{
    bool params = count == 3 && strcmp(arguments[1], "params") == 0;
    if (!params && !(count == 8 && strcmp(arguments[1], "run") == 0)) {
        fprintf(stderr, "usage: net_dump params CHECKPOINT\n"
                        "       net_dump run CHECKPOINT IMAGES LABELS COUNT THREADS FOLDER\n");
        return 64;
    }
    wtl_error err = {0};
    wtl_checkpoint *checkpoint;
    wtl_blas_prepare();
    wtl_threads_prepare(params ? 1 : number(arguments[6]));
    check(wtl_checkpoint_read(&checkpoint, arguments[2], &err), &err);
    if (params) {
        list_params(checkpoint);
    } else {
        run(checkpoint, arguments + 3);
    }
    wtl_checkpoint_free(checkpoint);
    return 0;
}
