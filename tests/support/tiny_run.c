#include "tiny_run.h"
#include "wtl_test.h"

#include "wattle/checkpoint.h"
#include "wattle/file.h"
#include "wattle/mask.h"
#include "wattle/memory.h"
#include "wattle/rng.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { SIDE = WTL_TINY_SIDE, IMAGES = WTL_TINY_IMAGES, CLASSES = 4, MOST_PARAMS = 16 };

static void write_idx(const char *path, int dims, const unsigned char *bytes, size_t length)
{
    static unsigned char file[16 + IMAGES * SIDE * SIDE];
    const unsigned char header[16] = {
        0, 0, 8, (unsigned char)dims, 0, 0, 0, IMAGES, 0, 0, 0, SIDE, 0, 0, 0, SIDE};
    size_t size = 4 + 4 * (size_t)dims;
    memcpy(file, header, size);
    memcpy(file + size, bytes, length);
    wtl_test_write(path, file, size + length);
}

void wtl_tiny_data(const char *folder)
{
    static unsigned char pixels[IMAGES][SIDE * SIDE], labels[IMAGES];
    wtl_rng rng = wtl_rng_make(7, WTL_RNG_TEST, 0, 0);
    for (int i = 0; i < IMAGES; i++) {
        labels[i] = (unsigned char)(i % CLASSES);
        for (int p = 0; p < SIDE * SIDE; p++) {
            int bright = p / SIDE == labels[i] ? 60 : 0;
            pixels[i][p] = (unsigned char)((int)wtl_rng_below(&rng, 190) + bright);
        }
    }
    assert_ok(wtl_make_folder(wtl_test_path(folder), NULL));
    write_idx(wtl_tiny_path(folder, "train-images-idx3-ubyte"), 3, pixels[0], sizeof pixels);
    write_idx(wtl_tiny_path(folder, "train-labels-idx1-ubyte"), 1, labels, sizeof labels);
}

const char wtl_tiny_net[] = "net rich\n"
                            "classes 4\n"
                            "input data 1x6x6\n"
                            "preprocess order=rgb resize=none scale=0.004 mean=0.5 std=0.3\n"
                            "c = conv data out=6 kernel=3 pad=1 bias=no\n"
                            "b = batchnorm c\n"
                            "r = relu b\n"
                            "m = maxpool r kernel=2 stride=2\n"
                            "o = dropout m rate=0.2\n"
                            "d = dense o out=classes\n"
                            "p = softmax d\n";

void wtl_tiny_checkpoint(const char *name, const char *text, uint64_t seed, size_t keep)
{
    wtl_netdef *def;
    wtl_net *net;
    wtl_checkpoint *checkpoint;
    const wtl_net_options plan = {.batch = 1, .training = true};
    assert_ok(wtl_netdef_parse(&def, text, strlen(text), "test.net", NULL, NULL));
    assert_ok(wtl_net_create(&net, def, &plan, NULL));
    wtl_net_init(net, seed);
    if (keep) {
        wtl_param *params[MOST_PARAMS];
        int count = wtl_mask_params(net, params, MOST_PARAMS);
        assert_ok(wtl_mask_keep_top(params, count, keep, NULL));
    }
    assert_ok(wtl_checkpoint_create(&checkpoint, NULL));
    assert_ok(wtl_checkpoint_set_net(checkpoint, def, NULL));
    assert_ok(wtl_checkpoint_set_meta(
        checkpoint, "data", json_pack("{s:i, s:f}", "split_seed", 3, "val_share", 0.25), NULL));
    assert_ok(wtl_checkpoint_add_net(checkpoint, net, NULL));
    assert_ok(wtl_checkpoint_write(checkpoint, wtl_test_path(name), NULL));
    wtl_checkpoint_free(checkpoint);
    wtl_net_free(net);
    wtl_netdef_free(def);
}

/* ---- pruning ---- */

const char *wtl_tiny_path(const char *run, const char *file)
{
    char name[128];
    snprintf(name, sizeof name, "%s/%s", run, file);
    return wtl_test_path(name);
}

void wtl_tiny_train(const char *name, const char *text)
{
    wtl_train_options o;
    char net[64];
    snprintf(net, sizeof net, "%s.net", name);
    wtl_test_write(wtl_test_path(net), text, strlen(text));
    wtl_train_defaults(&o);
    snprintf(o.net, sizeof o.net, "%s", wtl_test_path(net));
    snprintf(o.data, sizeof o.data, "idx:%s", wtl_test_path("data"));
    o.epochs = 20;
    o.batch = 16;
    o.schedule.peak = 0.05;
    o.val_share = 0.25;
    o.seed = 3;
    o.threads = 1;
    assert_ok(wtl_train(wtl_test_path(name), &o, false, false, NULL, NULL, NULL));
}

wtl_prune_options wtl_tiny_prune_options(const char *method)
{
    wtl_prune_options o;
    wtl_prune_defaults(&o);
    snprintf(o.checkpoint, sizeof o.checkpoint, "%s", wtl_tiny_path("dense", "ckpt/last.wtl"));
    snprintf(o.data, sizeof o.data, "idx:%s", wtl_test_path("data"));
    snprintf(o.method, sizeof o.method, "%s", method);
    o.batch = 16;
    o.rounds = 2;
    o.recalibration = 2;
    o.search_images = 20;
    o.how.images = 16;
    o.threads = 1;
    o.seed = 5;
    return o;
}

double wtl_tiny_floor(const wtl_prune_options *options)
{
    wtl_preflight before;
    wtl_prune_options none = *options;
    none.target_energy = 0;
    assert_ok(wtl_prune_preflight(&before, &none, NULL));
    double floor = before.floor / before.dense;
    wtl_preflight_clear(&before);
    assert_true(floor > 0.1 && floor < 0.95);
    return floor;
}

double wtl_tiny_above_floor(const wtl_prune_options *options, double share)
{
    return share + (1.0 - share) * wtl_tiny_floor(options);
}

void wtl_tiny_assert_same_file(const char *a, const char *b, const char *file)
{
    unsigned char *x, *y;
    size_t m, n;
    assert_ok(wtl_file_read_plain(wtl_tiny_path(a, file), 1 << 24, &x, &m, NULL));
    assert_ok(wtl_file_read_plain(wtl_tiny_path(b, file), 1 << 24, &y, &n, NULL));
    if (m != n || memcmp(x, y, m) != 0) {
        fail_msg("%s of %s and of %s differ", file, a, b);
    }
    wtl_free(x);
    wtl_free(y);
}
