/* Whole nets: planning, memory sharing, fusion, branches, folding. Layers alone are tested in
 * their own files; here the question is what the net does around them. */
#include "wtl_test.h"

#include "wattle/net.h"

#include <math.h>
#include <string.h>

/* Branches, a join, a residual, an output with three readers, flatten, a fused dense. */
static const char BRANCHED[] = "net branched\n"
                               "input data 2x7x6\n"
                               "c1 = conv data out=4 kernel=3 pad=1\n"
                               "r1 = relu c1\n"
                               "a = conv r1 out=4 kernel=1\n"
                               "b = conv r1 out=3 kernel=3 pad=1 stride=1\n"
                               "rb = relu b\n"
                               "s = add a r1\n"
                               "j = concat s rb\n"
                               "p = avgpool j kernel=2 stride=2\n"
                               "f = flatten p\n"
                               "d1 = dense f out=9\n"
                               "rd = relu6 d1\n"
                               "d2 = dense rd out=5\n"
                               "prob = softmax d2\n";

/* Batch norm, an auxiliary head, dropout without effect. */
static const char NORMED[] = "net normed\n"
                             "input data 3x8x8\n"
                             "c1 = conv data out=6 kernel=3 bias=no\n"
                             "n1 = batchnorm c1\n"
                             "r1 = relu n1\n"
                             "a1 = dense r1 out=4\n"
                             "aux = softmax a1 weight=0.3 aux=yes\n"
                             "c2 = depthwise r1 kernel=3 pad=1\n"
                             "n2 = batchnorm c2\n"
                             "p = maxpool n2 global=yes\n"
                             "o = dropout p rate=0\n"
                             "d = dense o out=4\n"
                             "prob = softmax d\n";

static wtl_net *make(const char *text, const wtl_net_options *options)
{
    wtl_error err = {0};
    wtl_netdef *def = NULL;
    wtl_net *net = NULL;
    if (wtl_netdef_parse(&def, text, strlen(text), "test.net", NULL, &err) != WTL_OK ||
        wtl_net_create(&net, def, options, &err) != WTL_OK) {
        fail_msg("%s", err.text);
    }
    wtl_netdef_free(def);
    wtl_net_init(net, 5);
    return net;
}

static void fill_input(wtl_net *net)
{
    wtl_shape in = wtl_net_def(net)->input;
    wtl_fill_random(wtl_net_input(net),
                    (size_t)wtl_net_options_of(net)->batch * wtl_shape_count(in), 77);
}

/* Sum over heads of weight * mean cross-entropy, in double, from the logits: the definition. */
static double loss_by_definition(const wtl_net *net, int n, const int *labels)
{
    double loss = 0.0;
    for (int h = 0; h < wtl_net_head_count(net); h++) {
        const wtl_head *head = wtl_net_head(net, h);
        for (int i = 0; i < n; i++) {
            const float *z = head->logits + (size_t)i * (size_t)head->classes;
            double sum = 0.0;
            for (int k = 0; k < head->classes; k++) {
                sum += exp((double)z[k]);
            }
            loss += (double)head->weight / n * (log(sum) - (double)z[labels[i]]);
        }
    }
    return loss;
}

/* d loss / d logits = weight/n * (softmax - one-hot). */
static void fill_head_gradients(const wtl_net *net, int n, const int *labels)
{
    for (int h = 0; h < wtl_net_head_count(net); h++) {
        const wtl_head *head = wtl_net_head(net, h);
        for (int i = 0; i < n; i++) {
            for (int k = 0; k < head->classes; k++) {
                size_t at = (size_t)i * (size_t)head->classes + (size_t)k;
                head->gradient[at] =
                    head->weight / (float)n * (head->probability[at] - (k == labels[i]));
            }
        }
    }
}

static const int LABELS[4] = {1, 0, 3, 2};

static void check_gradient(wtl_net *net, float *values, const float *gradient, size_t count,
                           const char *name)
{
    /* A step of 2^-12 crosses hardly any kink of a ReLU; the loss, of size 1 and good to
     * about 1e-6, then gives a slope good to 1e-6 / 2^-11 = 2e-3. */
    enum { PROBES = 12 };
    const float step = 1.0f / 4096;
    float kept[4096];
    assert_true(count <= 4096);
    memcpy(kept, gradient, count * sizeof *kept);
    for (int probe = 0; probe < PROBES; probe++) {
        size_t i = (size_t)probe * 7919 % count;
        float value = values[i];
        values[i] = value + step;
        wtl_net_forward(net, 4, WTL_RUN_TRAINING, 0);
        double up = loss_by_definition(net, 4, LABELS);
        values[i] = value - step;
        wtl_net_forward(net, 4, WTL_RUN_TRAINING, 0);
        double down = loss_by_definition(net, 4, LABELS);
        values[i] = value;
        double want = (up - down) / (2.0 * (double)step);
        if (!(fabs(want - (double)kept[i]) <= 4e-3)) {
            fail_msg("%s[%zu]: gradient %g, central difference %g", name, i, (double)kept[i],
                     want);
        }
    }
}

static void check_all_gradients(const char *text)
{
    wtl_net_options options = {
        .batch = 4, .threads = 2, .training = true, .input_gradient = true};
    wtl_net *net = make(text, &options);
    fill_input(net);
    wtl_net_forward(net, 4, WTL_RUN_TRAINING, 0);
    fill_head_gradients(net, 4, LABELS);
    wtl_net_backward(net, 4);
    static float saved[64][4096];
    for (int p = 0; p < wtl_net_param_count(net); p++) {
        const wtl_param *param = wtl_net_param(net, p);
        if (param->gradient) {
            memcpy(saved[p], param->gradient, param->count * sizeof(float));
        }
    }
    static float dx[4096];
    size_t inputs = 4 * wtl_shape_count(wtl_net_def(net)->input);
    memcpy(dx, wtl_net_input_gradient(net), inputs * sizeof *dx);
    for (int p = 0; p < wtl_net_param_count(net); p++) {
        wtl_param *param = wtl_net_param(net, p);
        if (param->gradient) {
            check_gradient(net, param->value, saved[p], param->count, param->name);
        }
    }
    check_gradient(net, wtl_net_input(net), dx, inputs, "input");
    wtl_net_free(net);
}

static void gradients_of_branches_add_up_to_the_central_difference(void **state)
{
    (void)state;
    check_all_gradients(BRANCHED);
}

static void gradients_through_norms_and_auxiliary_heads_are_right(void **state)
{
    (void)state;
    check_all_gradients(NORMED);
}

/* One training step under `options`: main probabilities and all gradients, one after another. */
static size_t one_step(const char *text, wtl_net_options options, int n, float *out)
{
    options.training = true;
    wtl_net *net = make(text, &options);
    fill_input(net);
    wtl_net_forward(net, n, WTL_RUN_TRAINING, 3);
    const wtl_head *head = wtl_net_main_head(net);
    size_t used = (size_t)n * (size_t)head->classes;
    memcpy(out, head->probability, used * sizeof *out);
    fill_head_gradients(net, n, LABELS);
    wtl_net_backward(net, n);
    for (int p = 0; p < wtl_net_param_count(net); p++) {
        const wtl_param *param = wtl_net_param(net, p);
        if (param->gradient) {
            memcpy(out + used, param->gradient, param->count * sizeof *out);
            used += param->count;
        }
    }
    wtl_net_free(net);
    return used;
}

static float got[1 << 16], want[1 << 16];

static void both_engines_agree_at_every_thread_count(void **state)
{
    (void)state;
    const char *const texts[] = {BRANCHED, NORMED};
    for (int t = 0; t < 2; t++) {
        size_t count = one_step(
            texts[t], (wtl_net_options){.batch = 4, .engine = WTL_ENGINE_REFERENCE}, 4, want);
        for (int threads = 1; threads <= 3; threads++) {
            wtl_fill_nan(got, count);
            assert_int_equal(
                one_step(texts[t], (wtl_net_options){.batch = 4, .threads = threads}, 4, got),
                count);
            /* Sums of at most a few hundred floats of size 1. */
            assert_all_close(got, want, count, 2e-5);
        }
    }
}

static void fusion_changes_nothing(void **state)
{
    (void)state;
    size_t count =
        one_step(BRANCHED, (wtl_net_options){.batch = 4, .no_fusion = true}, 4, want);
    assert_int_equal(one_step(BRANCHED, (wtl_net_options){.batch = 4}, 4, got), count);
    assert_memory_equal(got, want, count * sizeof *got);
}

static void a_part_of_the_batch_gives_what_a_small_batch_gives(void **state)
{
    (void)state;
    size_t count = one_step(BRANCHED, (wtl_net_options){.batch = 3}, 3, want);
    assert_int_equal(one_step(BRANCHED, (wtl_net_options){.batch = 4}, 3, got), count);
    assert_all_close(got, want, count, 1e-6);
}

static void the_same_step_gives_the_same_bits(void **state)
{
    (void)state;
    wtl_net_options options = {.batch = 4, .threads = 2};
    size_t count = one_step(NORMED, options, 4, want);
    one_step(NORMED, options, 4, got);
    assert_memory_equal(got, want, count * sizeof *got);
}

static void shared_memory_at_inference_changes_nothing_and_is_less(void **state)
{
    (void)state;
    /* The reference engine needs no scratch, which would outweigh these small outputs. */
    wtl_net_options options = {
        .batch = 4, .engine = WTL_ENGINE_REFERENCE, .keep_outputs = true};
    wtl_net *apart = make(BRANCHED, &options);
    options.keep_outputs = false;
    wtl_net *shared = make(BRANCHED, &options);
    fill_input(apart);
    fill_input(shared);
    wtl_net_forward(apart, 4, WTL_RUN_INFERENCE, 0);
    wtl_net_forward(shared, 4, WTL_RUN_INFERENCE, 0);
    assert_memory_equal(wtl_net_output(apart, NULL), wtl_net_output(shared, NULL),
                        4 * 5 * sizeof(float));
    assert_true(wtl_net_memory_of(shared).activations < wtl_net_memory_of(apart).activations);
    assert_true(wtl_net_memory_of(shared).unshared > wtl_net_memory_of(shared).activations);
    for (int i = 0; i < wtl_net_def(apart)->layer_count; i++) {
        assert_non_null(wtl_net_layer_output(apart, i, NULL));
    }
    wtl_net_free(apart);
    wtl_net_free(shared);
}

static void an_output_is_given_only_while_it_is_there(void **state)
{
    (void)state;
    wtl_net_options options = {.batch = 4, .keep_outputs = true};
    wtl_net *apart = make(BRANCHED, &options);
    options.keep_outputs = false;
    wtl_net *shared = make(BRANCHED, &options);
    fill_input(apart);
    fill_input(shared);
    wtl_net_forward(apart, 4, WTL_RUN_INFERENCE, 0);
    wtl_net_forward(shared, 4, WTL_RUN_INFERENCE, 0);
    int gone = 0;
    for (int i = 0; i < wtl_net_def(apart)->layer_count; i++) {
        wtl_shape shape;
        const float *there = wtl_net_layer_output(shared, i, &shape);
        gone += there == NULL;
        if (there) {
            assert_memory_equal(there, wtl_net_layer_output(apart, i, NULL),
                                4 * wtl_shape_count(shape) * sizeof(float));
        }
    }
    assert_true(gone > 0);
    wtl_net_free(apart);
    wtl_net_free(shared);
}

/* Two convolutions side by side and one behind another whose sums are added: at inference the
 * later convolution adds, the reference engine does not. */
static void a_sum_that_a_convolution_adds_is_the_same_sum(void **state)
{
    (void)state;
    static const char text[] = "net residual\n"
                               "input data 3x9x9\n"
                               "a = conv data out=32 kernel=3 pad=1\n"
                               "b = conv a out=32 kernel=3 pad=1\n"
                               "s = add b a\n"
                               "r = relu s\n"
                               "c = conv r out=20 kernel=1\n"
                               "d = conv r out=20 kernel=3 pad=1\n"
                               "t = add c d\n"
                               "p = avgpool t global=yes\n"
                               "prob = softmax p\n";
    wtl_net_options options = {.batch = 2, .threads = 2};
    wtl_net *adding = make(text, &options);
    options.engine = WTL_ENGINE_REFERENCE;
    wtl_net *plain = make(text, &options);
    assert_non_null(strstr(wtl_net_kernel(adding, 2), "sum fused, relu fused"));
    assert_null(strstr(wtl_net_kernel(adding, 1), "sum fused"));
    assert_non_null(strstr(wtl_net_kernel(adding, 6), "sum fused"));
    fill_input(adding);
    fill_input(plain);
    wtl_net_forward(adding, 2, WTL_RUN_INFERENCE, 0);
    wtl_net_forward(plain, 2, WTL_RUN_INFERENCE, 0);
    assert_null(wtl_net_layer_output(adding, 2, NULL)); /* only the sum is there */
    assert_all_close(wtl_net_output(adding, NULL), wtl_net_output(plain, NULL), 2 * 20, 1e-5);
    wtl_net_free(adding);
    wtl_net_free(plain);
}

static void running_allocates_nothing(void **state)
{
    (void)state;
    wtl_net_options options = {.batch = 4, .threads = 2, .training = true};
    wtl_net *net = make(NORMED, &options);
    fill_input(net);
    wtl_test_fail_allocation(0, 0);
    wtl_net_forward(net, 4, WTL_RUN_TRAINING, 0);
    fill_head_gradients(net, 4, LABELS);
    wtl_net_backward(net, 4);
    assert_int_equal(wtl_test_allocations(), 0);
    wtl_net_free(net);
}

/* Each answer is one more than twice the last: 1, 3, 7, ...; the k-th pair is 2^(2k-1) apart. */
static double doubling_clock(void *context)
{
    double *time = context;
    return *time = 2.0 * *time + 1.0;
}

static void each_layer_is_timed_by_the_clock_that_is_given(void **state)
{
    (void)state;
    static const char *const forward[] = {"c1", "a", "b", "s", "j", "p", "d1", "d2", "prob"};
    static const char *const no_time[] = {"data", "r1", "rb", "f", "rd"};
    const wtl_net_options options = {.batch = 2, .threads = 1, .training = true, .seed = 1};
    wtl_net *net = make(BRANCHED, &options);
    const wtl_netdef *def = wtl_net_def(net);
    const int labels[2] = {0, 1};
    double time = 0.0;
    fill_input(net);
    wtl_net_set_clock(net, doubling_clock, &time);
    wtl_net_forward(net, 2, WTL_RUN_TRAINING, 0);
    for (int i = 0; i < 9; i++) {
        double seconds = wtl_net_layer_seconds(net, wtl_netdef_find(def, forward[i]), false);
        assert_close(seconds, ldexp(1.0, 2 * i + 1), 0.0);
    }
    fill_head_gradients(net, 2, labels);
    time = 0.0;
    wtl_net_backward(net, 2);
    for (int i = 0; i < 9; i++) { /* the last layer comes first */
        double seconds = wtl_net_layer_seconds(net, wtl_netdef_find(def, forward[8 - i]), true);
        assert_close(seconds, ldexp(1.0, 2 * i + 1), 0.0);
    }
    for (int i = 0; i < 5; i++) {
        int layer = wtl_netdef_find(def, no_time[i]);
        assert_close(wtl_net_layer_seconds(net, layer, false), 0.0, 0.0);
        assert_close(wtl_net_layer_seconds(net, layer, true), 0.0, 0.0);
    }
    wtl_net_set_clock(net, NULL, NULL);
    time = 0.0;
    wtl_net_forward(net, 2, WTL_RUN_INFERENCE, 0);
    assert_close(time, 0.0, 0.0);
    wtl_net_free(net);
}

static void auxiliary_heads_exist_in_training_only(void **state)
{
    (void)state;
    wtl_net_options options = {.batch = 2, .training = true};
    wtl_net *training = make(NORMED, &options);
    options.training = false;
    wtl_net *inference = make(NORMED, &options);
    assert_int_equal(wtl_net_head_count(training), 2);
    assert_int_equal(wtl_net_head_count(inference), 1);
    assert_string_equal(wtl_net_main_head(training)->name, "prob");
    assert_null(wtl_net_find_param(inference, "a1.weight"));
    /* The same seed gives the same start in both. */
    wtl_error err;
    const wtl_param *a = wtl_net_find_param(training, "d.weight");
    const wtl_param *b = wtl_net_find_param(inference, "d.weight");
    assert_memory_equal(a->value, b->value, a->count * sizeof(float));
    memset(b->value, 0, b->count * sizeof(float));
    assert_ok(wtl_net_copy_params(inference, training, &err));
    assert_memory_equal(a->value, b->value, a->count * sizeof(float));
    assert_fails(wtl_net_copy_params(training, inference, &err), WTL_E_MISSING, &err,
                 "a1.weight: the other net has no such parameter");
    wtl_net_free(training);
    wtl_net_free(inference);
}

static void a_folded_net_computes_the_same(void **state)
{
    (void)state;
    wtl_net_options options = {.batch = 4, .threads = 2};
    wtl_error err;
    wtl_net *net = make(NORMED, &options), *folded;
    for (int p = 0; p < wtl_net_param_count(net); p++) {
        wtl_param *param = wtl_net_param(net, p);
        if (param->spec.role != WTL_PARAM_WEIGHT) {
            wtl_fill_random(param->value, param->count, (unsigned)p);
        }
        for (size_t i = 0; param->spec.role == WTL_PARAM_RUNNING_VAR && i < param->count; i++) {
            param->value[i] = 1.5f + param->value[i]; /* 0.5 .. 2.5 */
        }
    }
    assert_ok(wtl_net_fold(&folded, net, &options, &err));
    assert_int_equal(wtl_netdef_find(wtl_net_def(folded), "n1"), -1);
    assert_int_equal(wtl_netdef_find(wtl_net_def(folded), "n2"), -1);
    assert_non_null(wtl_net_find_param(folded, "c1.bias"));
    fill_input(net);
    fill_input(folded);
    wtl_net_forward(net, 4, WTL_RUN_INFERENCE, 0);
    wtl_net_forward(folded, 4, WTL_RUN_INFERENCE, 0);
    assert_all_close(wtl_net_output(folded, NULL), wtl_net_output(net, NULL), 4 * 4, 1e-5);
    wtl_net_free(net);
    wtl_net_free(folded);
}

/* Nothing reads `z`, the last to run: its memory may be that of the head's gradient. */
static void an_output_is_not_shown_where_a_gradient_has_taken_its_memory(void **state)
{
    (void)state;
    static const char text[] = "net side\ninput data 1x2x2\nd = dense data out=4\n"
                               "p = softmax d\nz = relu data\n";
    wtl_net_options options = {.batch = 1, .training = true};
    wtl_net *net = make(text, &options);
    for (int i = 0; i < 4; i++) {
        wtl_net_input(net)[i] = (float)i;
    }
    wtl_net_forward(net, 1, WTL_RUN_TRAINING, 0);
    for (int i = 0; i < 4; i++) {
        wtl_net_main_head(net)->gradient[i] = 7.0f;
    }
    const float *z = wtl_net_layer_output(net, 3, NULL);
    assert_true(z == NULL || z[3] == 3.0f);
    wtl_net_free(net);
}

static void initialisers_have_the_spread_of_their_papers(void **state)
{
    (void)state;
    static const char text[] = "net spread\n"
                               "input data 10x10x10\n"
                               "m = dense data out=200 init=msra bias=no\n"
                               "x = dense data out=200 init=xavier bias=no\n"
                               "t = dense data out=200 init=torch bias_init=const:0.5\n"
                               "j = concat m x t\n"
                               "prob = softmax j\n";
    wtl_net_options options = {.batch = 1, .training = true};
    wtl_net *net = make(text, &options);
    /* Variances by hand, fan_in 1000: 2/1000; (sqrt(3/1000))^2/3; (1/sqrt(1000))^2/3. */
    static const char *const names[3] = {"m.weight", "x.weight", "t.weight"};
    static const double variances[3] = {2e-3, 1e-3, 1e-3 / 3.0};
    for (int i = 0; i < 3; i++) {
        const wtl_param *param = wtl_net_find_param(net, names[i]);
        double sum = 0.0, square = 0.0;
        for (size_t j = 0; j < param->count; j++) {
            sum += (double)param->value[j];
            square += (double)param->value[j] * (double)param->value[j];
        }
        /* 200,000 samples: a mean is within 5 standard errors, a variance within 2 %. */
        double count = (double)param->count;
        assert_close(sum / count, 0.0, 5.0 * sqrt(variances[i] / count));
        assert_close(square / count / variances[i], 1.0, 0.02);
    }
    assert_close(wtl_net_find_param(net, "t.bias")->value[199], 0.5, 0.0);
    wtl_net_free(net);
}

static wtl_status create_and_free(void *context)
{
    const wtl_netdef *def = context;
    wtl_net *net;
    wtl_net_options options = {.batch = 2, .training = true};
    wtl_status status = wtl_net_create(&net, def, &options, NULL);
    assert_true(status == WTL_OK || net == NULL);
    wtl_net_free(net);
    return status;
}

static void a_net_that_cannot_be_allocated_leaves_nothing_behind(void **state)
{
    (void)state;
    wtl_netdef *def;
    assert_ok(wtl_netdef_parse(&def, NORMED, strlen(NORMED), "n", NULL, NULL));
    wtl_test_every_allocation_fails(create_and_free, def);
    wtl_netdef_free(def);
}

static void impossible_options_are_refused(void **state)
{
    (void)state;
    static const char headless[] = "net h\ninput data 1x4x4\nc = conv data out=2 kernel=3\n";
    wtl_netdef *def;
    wtl_net *net;
    wtl_error err;
    assert_ok(wtl_netdef_parse(&def, headless, strlen(headless), "h", NULL, &err));
    wtl_net_options options = {.batch = 0};
    assert_fails(wtl_net_create(&net, def, &options, &err), WTL_E_ARG, &err,
                 "a batch of 0: at least 1 is needed");
    options = (wtl_net_options){.batch = 1, .training = true};
    assert_fails(wtl_net_create(&net, def, &options, &err), WTL_E_ARG, &err,
                 "h: cannot be trained without a softmax layer at its end");
    wtl_netdef_free(def);
}

static void a_batch_whose_memory_overflows_is_refused(void **state)
{
    (void)state;
    static const char wide[] = "net wide\ninput data 1x40000x40000\nr = relu data\n";
    wtl_netdef *def;
    wtl_net *net;
    wtl_error err;
    assert_ok(wtl_netdef_parse(&def, wide, strlen(wide), "w", NULL, &err));
    wtl_net_options options = {.batch = 2147483647};
    assert_fails(wtl_net_create(&net, def, &options, &err), WTL_E_RANGE, &err,
                 "wide: memory for a batch of 2147483647 overflows");
    wtl_netdef_free(def);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(gradients_of_branches_add_up_to_the_central_difference),
        WTL_TEST(gradients_through_norms_and_auxiliary_heads_are_right),
        WTL_TEST(both_engines_agree_at_every_thread_count),
        WTL_TEST(fusion_changes_nothing),
        WTL_TEST(a_part_of_the_batch_gives_what_a_small_batch_gives),
        WTL_TEST(the_same_step_gives_the_same_bits),
        WTL_TEST(shared_memory_at_inference_changes_nothing_and_is_less),
        WTL_TEST(an_output_is_given_only_while_it_is_there),
        WTL_TEST(a_sum_that_a_convolution_adds_is_the_same_sum),
        WTL_TEST(running_allocates_nothing),
        WTL_TEST(each_layer_is_timed_by_the_clock_that_is_given),
        WTL_TEST(auxiliary_heads_exist_in_training_only),
        WTL_TEST(a_folded_net_computes_the_same),
        WTL_TEST(an_output_is_not_shown_where_a_gradient_has_taken_its_memory),
        WTL_TEST(initialisers_have_the_spread_of_their_papers),
        WTL_TEST(a_net_that_cannot_be_allocated_leaves_nothing_behind),
        WTL_TEST(impossible_options_are_refused),
        WTL_TEST(a_batch_whose_memory_overflows_is_refused),
    };
    return WTL_RUN("net", tests);
}
