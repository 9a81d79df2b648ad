#include "wtl_test.h"

#include "wattle/evaluate.h"
#include "wattle/file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { IMAGES = 6, PIXELS = 4 };

/* Six pictures of 2x2; with the identity as weights, the brightest pixel is the class. */
static const unsigned char pictures[IMAGES][PIXELS] = {
    {9, 0, 0, 0}, {0, 9, 0, 0}, {0, 0, 9, 0}, {0, 0, 9, 8}, {0, 9, 0, 0}, {9, 9, 0, 0},
};
static const unsigned char labels[IMAGES] = {0, 1, 2, 3, 0, 1};
/* Right: 0, 1, 2. Wrong: 3 taken for 2, 0 taken for 1, and a tie. */

static void write_idx(const char *name, int dims, int count, const unsigned char *bytes,
                      size_t length)
{
    unsigned char file[16 + IMAGES * PIXELS] = {0, 0, 8, (unsigned char)dims};
    file[7] = (unsigned char)count;
    file[11] = file[15] = dims == 3 ? 2 : 0;
    size_t header = 4 + 4 * (size_t)dims;
    memcpy(file + header, bytes, length);
    wtl_test_write(wtl_test_path(name), file, header + length);
}

static wtl_dataset *open_pictures(void)
{
    wtl_dataset *dataset;
    char data[4400];
    assert_ok(wtl_make_folder(wtl_test_path("idx"), NULL));
    static const char *const parts[] = {"train", "t10k"};
    for (int i = 0; i < 2; i++) {
        char name[64];
        snprintf(name, sizeof name, "idx/%s-images-idx3-ubyte", parts[i]);
        write_idx(name, 3, IMAGES, &pictures[0][0], sizeof pictures);
        snprintf(name, sizeof name, "idx/%s-labels-idx1-ubyte", parts[i]);
        write_idx(name, 1, IMAGES, labels, sizeof labels);
    }
    snprintf(data, sizeof data, "idx:%s@test", wtl_test_path("idx"));
    assert_ok(wtl_dataset_open(&dataset, data, NULL, NULL));
    return dataset;
}

static wtl_net *net_of(const char *text, int batch, bool training)
{
    wtl_netdef *def;
    wtl_net *net;
    const wtl_net_options options = {.batch = batch, .training = training};
    assert_ok(wtl_netdef_parse(&def, text, strlen(text), "test.net", NULL, NULL));
    assert_ok(wtl_net_create(&net, def, &options, NULL));
    wtl_netdef_free(def);
    return net;
}

static const char identity_text[] = "net identity\n"
                                    "input data 1x2x2\n"
                                    "preprocess order=rgb resize=none scale=1 mean=0 std=1\n"
                                    "d = dense data out=4\n"
                                    "p = softmax d\n";

static wtl_net *identity_net(int batch, bool training)
{
    wtl_net *net = net_of(identity_text, batch, training);
    wtl_param *w = wtl_net_find_param(net, "d.weight");
    for (int i = 0; i < 4; i++) {
        w->value[i * 4 + i] = 1.0f;
    }
    return net;
}

/* log of the sum of exp over the pixels, minus the label's. */
static double loss_by_definition(void)
{
    double loss = 0.0;
    for (int i = 0; i < IMAGES; i++) {
        double sum = 0.0;
        for (int j = 0; j < PIXELS; j++) {
            sum += exp((double)pictures[i][j]);
        }
        loss += log(sum) - (double)pictures[i][labels[i]];
    }
    return loss;
}

static void counts_losses_and_confusion_are_those_worked_by_hand(void **state)
{
    (void)state;
    static const long want[16] = {1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0};
    wtl_dataset *dataset = open_pictures();
    /* Batches that divide 6 and that do not; inference nets and training nets. */
    static const int batches[] = {1, 4, 6, 9};
    for (int i = 0; i < 8; i++) {
        wtl_net *net = identity_net(batches[i / 2], i % 2 == 1);
        wtl_evaluation e;
        const wtl_evaluate_options options = {.confusion = true};
        assert_ok(wtl_evaluate(&e, net, dataset, &options, NULL));
        assert_int_equal(e.scores.images, 6);
        assert_int_equal(e.scores.top1, 3);
        assert_int_equal(e.scores.top5, 6);
        assert_close(e.scores.loss, loss_by_definition(), 1e-5);
        assert_int_equal(e.classes, 4);
        assert_memory_equal(e.confusion, want, sizeof want);
        wtl_evaluation_clear(&e);
        wtl_net_free(net);
    }
    wtl_dataset_free(dataset);
}

typedef struct calls {
    int count, stop_at;
    long done, total;
} calls;

static bool count_call(void *context, long done, long total)
{
    calls *c = context;
    c->done = done;
    c->total = total;
    return ++c->count != c->stop_at;
}

static void progress_is_told_and_can_stop(void **state)
{
    (void)state;
    wtl_dataset *dataset = open_pictures();
    wtl_net *net = identity_net(4, false);
    wtl_evaluation e;
    wtl_error err;
    calls c = {0};
    const wtl_evaluate_options options = {.progress = count_call, .context = &c};
    assert_ok(wtl_evaluate(&e, net, dataset, &options, NULL));
    assert_int_equal(c.count, 2);
    assert_int_equal(c.done, 6);
    assert_int_equal(c.total, 6);
    wtl_evaluation_clear(&e);
    c = (calls){.stop_at = 1};
    assert_fails(wtl_evaluate(&e, net, dataset, &options, &err), WTL_E_STOPPED, &err,
                 "evaluation stopped after 4 of 6 images");
    wtl_net_free(net);
    wtl_dataset_free(dataset);
}

static void most_images_takes_a_part_chosen_by_the_seed(void **state)
{
    (void)state;
    wtl_dataset *dataset = open_pictures();
    wtl_net *net = identity_net(4, false);
    wtl_evaluation e, again;
    const wtl_evaluate_options options = {.most_images = 5, .seed = 7};
    assert_ok(wtl_evaluate(&e, net, dataset, &options, NULL));
    assert_ok(wtl_evaluate(&again, net, dataset, &options, NULL));
    assert_int_equal(e.scores.images, 5);
    assert_true(e.scores.loss == again.scores.loss);
    wtl_net_free(net);
    wtl_dataset_free(dataset);
}

static void an_output_that_is_not_finite_is_an_error(void **state)
{
    (void)state;
    wtl_dataset *dataset = open_pictures();
    wtl_net *net = identity_net(4, false);
    wtl_evaluation e;
    wtl_error err;
    wtl_net_find_param(net, "d.bias")->value[2] = NAN;
    assert_fails(wtl_evaluate(&e, net, dataset, NULL, &err), WTL_E_NAN, &err,
                 "net identity: its output is not finite");
    wtl_net_free(net);
    wtl_dataset_free(dataset);
}

static void data_that_the_net_cannot_take_are_refused(void **state)
{
    (void)state;
    wtl_dataset *dataset = open_pictures();
    wtl_evaluation e;
    wtl_error err;
    char want[4600];
    wtl_net *net =
        net_of("net few\ninput data 1x2x2\nd = dense data out=3\np = softmax d\n", 1, false);
    snprintf(want, sizeof want, "net few tells 3 classes apart, %s has 4",
             wtl_dataset_name(dataset));
    assert_fails(wtl_evaluate(&e, net, dataset, NULL, &err), WTL_E_SHAPE, &err, want);
    wtl_net_free(net);
    net = net_of("net big\ninput data 1x3x2\nd = dense data out=4\np = softmax d\n", 1, false);
    snprintf(want, sizeof want, "net big takes pictures of 1x3x2, %s has 1x2x2",
             wtl_dataset_name(dataset));
    assert_fails(wtl_evaluate(&e, net, dataset, NULL, &err), WTL_E_SHAPE, &err, want);
    wtl_net_free(net);
    net = net_of("net bare\ninput data 1x2x2\nd = dense data out=4\n", 1, false);
    assert_fails(wtl_evaluate(&e, net, dataset, NULL, &err), WTL_E_SHAPE, &err,
                 "net bare has no softmax to be judged by");
    wtl_net_free(net);
    wtl_dataset_free(dataset);
}

/* ---- recalibration ---- */

static const char norm_text[] = "net norm\n"
                                "input data 1x2x2\n"
                                "preprocess order=rgb resize=none scale=1 mean=0 std=1\n"
                                "b = batchnorm data\n"
                                "d = dense b out=4\n"
                                "p = softmax d\n";

/* Mean and unbiased variance of the pixels of images first .. first+count-1. */
static void batch_statistics(int first, int count, double *mean, double *variance)
{
    double sum = 0.0, squares = 0.0;
    int values = count * PIXELS;
    for (int i = first; i < first + count; i++) {
        for (int j = 0; j < PIXELS; j++) {
            sum += pictures[i][j];
            squares += (double)pictures[i][j] * pictures[i][j];
        }
    }
    *mean = sum / values;
    *variance = (squares - sum * sum / values) / (values - 1);
}

static void recalibration_makes_plain_averages_of_the_batches(void **state)
{
    (void)state;
    wtl_dataset *dataset = open_pictures();
    wtl_net *net = net_of(norm_text, 2, true);
    wtl_batcher *batcher;
    const wtl_batch_options options = {.batch = 2, .preprocess = wtl_net_def(net)->preprocess};
    assert_ok(wtl_batcher_create(&batcher, dataset, &options, NULL));
    wtl_net_init(net, 1);
    float *mean = wtl_net_find_param(net, "b.running_mean")->value;
    float *variance = wtl_net_find_param(net, "b.running_var")->value;
    float weight = wtl_net_find_param(net, "d.weight")->value[0];
    *mean = 55.0f; /* what was there must not matter */
    double means[3], variances[3];
    for (int i = 0; i < 3; i++) {
        batch_statistics(2 * i, 2, &means[i], &variances[i]);
    }
    assert_ok(wtl_recalibrate(net, batcher, 2, NULL));
    assert_close((double)*mean, (means[0] + means[1]) / 2, 1e-5);
    assert_close((double)*variance, (variances[0] + variances[1]) / 2, 1e-4);
    /* More than there are: all of them once. */
    assert_ok(wtl_recalibrate(net, batcher, 10, NULL));
    assert_close((double)*mean, (means[0] + means[1] + means[2]) / 3, 1e-5);
    assert_close((double)*variance, (variances[0] + variances[1] + variances[2]) / 3, 1e-4);
    assert_true(wtl_net_find_param(net, "d.weight")->value[0] == weight);
    wtl_batcher_free(batcher);
    wtl_net_free(net);
    wtl_dataset_free(dataset);
}

static void a_part_of_which_nothing_can_be_read_has_no_accuracy(void **state)
{
    (void)state;
    assert_ok(wtl_make_folder(wtl_test_path("bad/a"), NULL));
    wtl_test_write(wtl_test_path("bad/a/1.png"), "rubbish", 7);
    wtl_dataset *dataset;
    char data[4400], want[4600];
    snprintf(data, sizeof data, "folder:%s", wtl_test_path("bad"));
    const wtl_dataset_options all = {.part = WTL_DATA_TRAIN, .whole_train = true};
    assert_ok(wtl_dataset_open(&dataset, data, &all, NULL));
    wtl_net *net = identity_net(4, false);
    wtl_evaluation e;
    wtl_error err;
    snprintf(want, sizeof want, "%s: not one image could be read", wtl_dataset_name(dataset));
    assert_fails(wtl_evaluate(&e, net, dataset, NULL, &err), WTL_E_FORMAT, &err, want);
    wtl_net_free(net);
    wtl_dataset_free(dataset);
}

static void recalibration_refuses_what_makes_no_sense(void **state)
{
    (void)state;
    wtl_dataset *dataset = open_pictures();
    wtl_net *inference = net_of(norm_text, 2, false), *narrow = net_of(norm_text, 1, true);
    wtl_batcher *batcher;
    wtl_error err;
    const wtl_batch_options options = {.batch = 2,
                                       .preprocess = wtl_net_def(narrow)->preprocess};
    assert_ok(wtl_batcher_create(&batcher, dataset, &options, NULL));
    assert_fails(wtl_recalibrate(inference, batcher, 1, &err), WTL_E_ARG, &err,
                 "recalibration: 1 batches through an inference net");
    assert_fails(wtl_recalibrate(narrow, batcher, 0, &err), WTL_E_ARG, &err,
                 "recalibration: 0 batches through a training net");
    assert_fails(wtl_recalibrate(narrow, batcher, 1, &err), WTL_E_SHAPE, &err,
                 "recalibration: batches of 2, the net takes 1");
    wtl_batcher_free(batcher);
    wtl_net_free(inference);
    wtl_net_free(narrow);
    wtl_dataset_free(dataset);
}

typedef struct subject {
    wtl_net *net;
    wtl_dataset *dataset;
} subject;

static wtl_status evaluate_and_clear(void *context)
{
    const subject *s = context;
    wtl_evaluation e;
    const wtl_evaluate_options options = {.confusion = true};
    wtl_status status = wtl_evaluate(&e, s->net, s->dataset, &options, NULL);
    wtl_evaluation_clear(&e);
    return status;
}

static void every_failing_allocation_is_reported(void **state)
{
    (void)state;
    subject s = {identity_net(4, false), open_pictures()};
    wtl_test_every_allocation_fails(evaluate_and_clear, &s);
    wtl_net_free(s.net);
    wtl_dataset_free(s.dataset);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(counts_losses_and_confusion_are_those_worked_by_hand),
        WTL_TEST(progress_is_told_and_can_stop),
        WTL_TEST(most_images_takes_a_part_chosen_by_the_seed),
        WTL_TEST(an_output_that_is_not_finite_is_an_error),
        WTL_TEST(data_that_the_net_cannot_take_are_refused),
        WTL_TEST(recalibration_makes_plain_averages_of_the_batches),
        WTL_TEST(recalibration_refuses_what_makes_no_sense),
        WTL_TEST(a_part_of_which_nothing_can_be_read_has_no_accuracy),
        WTL_TEST(every_failing_allocation_is_reported),
    };
    return WTL_RUN("evaluate", tests);
}
