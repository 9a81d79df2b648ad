#include "wtl_test.h"

#include "wattle/from_net.h"
#include "wattle/memory.h"

#include <math.h>
#include <string.h>

static wtl_netdef *parse(const char *text)
{
    wtl_netdef *def = NULL;
    wtl_error err;
    assert_ok(wtl_netdef_parse(&def, text, strlen(text), "t.net", NULL, &err));
    return def;
}

static wtl_net *plan(const char *text, bool keep_outputs)
{
    wtl_netdef *def = parse(text);
    wtl_net_options options = {
        .batch = 4, .engine = WTL_ENGINE_REFERENCE, .keep_outputs = keep_outputs};
    wtl_net *net = NULL;
    wtl_error err;
    assert_ok(wtl_net_create(&net, def, &options, &err));
    wtl_netdef_free(def);
    return net;
}

static wtl_workload work_of(const char *text, int batch)
{
    wtl_netdef *def = parse(text);
    wtl_from_net_options options = {.batch = batch};
    wtl_workload work;
    wtl_error err;
    assert_ok(wtl_workload_from_netdef(&work, def, &options, &err));
    wtl_netdef_free(def);
    return work;
}

static void assert_tensor(const wtl_work_tensor *t, int h, int w, int channels, int count)
{
    assert_int_equal(t->h, h);
    assert_int_equal(t->w, w);
    assert_int_equal(t->channels, channels);
    assert_int_equal(t->count, count);
    assert_int_equal(t->bits, 16);
    assert_true(t->zeros == 0);
}

static void fill(wtl_net *net, const char *name, const float *values)
{
    wtl_param *param = wtl_net_find_param(net, name);
    assert_non_null(param);
    memcpy(param->value, values, param->count * sizeof *values);
}

/* Everything but conv-like layers is left out; the auxiliary head is, too. */
static const char every_kind[] = "net kinds\nclasses 5\ninput data 4x9x7\n"
                                 "c = conv data out=6 kernel=3x2 stride=2x1 pad=1,2,0,1 "
                                 "groups=2\n"
                                 "r = relu c\n"
                                 "p = maxpool r kernel=2 stride=1\n"
                                 "d = depthwise p kernel=3 pad=1\n"
                                 "a = dense d out=2\n"
                                 "x = softmax a aux=yes\n"
                                 "g = conv d out=8 kernel=2 dilation=2\n"
                                 "f = flatten g\n"
                                 "o = dropout f\n"
                                 "e = dense o out=classes\n"
                                 "s = softmax e\n";

/* c: rows (9 + 1 + 2 - 3)/2 + 1 = 5, columns 7 + 0 + 1 - 2 + 1 = 7; p: 4 x 6;
 * g: 4 - 3 + 1 = 2 rows, 6 - 3 + 1 = 4 columns. */
static void layers_have_the_hand_counted_sizes(void **state)
{
    (void)state;
    wtl_workload work = work_of(every_kind, 3);
    assert_string_equal(work.name, "kinds");
    assert_int_equal(work.layer_count, 4);
    const wtl_work_layer *l = work.layers;
    assert_string_equal(l[0].name, "c");
    assert_int_equal(l[0].index, 1);
    assert_tensor(&l[0].ifmap, 9, 7, 4, 3);
    assert_tensor(&l[0].filter, 3, 2, 2, 6);
    assert_tensor(&l[0].ofmap, 5, 7, 6, 3);
    static const int pad[4] = {1, 2, 0, 1};
    assert_memory_equal(l[0].pad, pad, sizeof pad);
    assert_int_equal(l[0].stride[0], 2);
    assert_int_equal(l[0].stride[1], 1);
    assert_string_equal(l[1].name, "d");
    assert_tensor(&l[1].ifmap, 4, 6, 6, 3);
    assert_tensor(&l[1].filter, 3, 3, 1, 6);
    assert_tensor(&l[1].ofmap, 4, 6, 6, 3);
    assert_string_equal(l[2].name, "g");
    assert_tensor(&l[2].filter, 2, 2, 6, 8);
    assert_tensor(&l[2].ofmap, 2, 4, 8, 3);
    assert_int_equal(l[2].dilation[0], 2);
    assert_string_equal(l[3].name, "e");
    assert_int_equal(l[3].index, 4);
    assert_tensor(&l[3].ifmap, 2, 4, 8, 3);
    assert_tensor(&l[3].filter, 2, 4, 8, 5);
    assert_tensor(&l[3].ofmap, 1, 1, 5, 3);
    assert_false(work.weight_zeros_measured);
    assert_false(work.activation_zeros_measured);
    wtl_workload_clear(&work);
}

/* 3x2 with a zero between is 5x3: 15 - 6 zeros a channel; 7x5 out: (3-1)*2 - 0 + 3. */
static void a_deconv_is_a_convolution_of_a_map_with_zeros_between(void **state)
{
    (void)state;
    wtl_workload work = work_of("net d\ninput data 2x3x2\n"
                                "u = deconv data out=4 kernel=3 stride=2 pad=1,0,1,0\n",
                                2);
    const wtl_work_layer *l = work.layers;
    assert_int_equal(l->ifmap.h, 5);
    assert_int_equal(l->ifmap.w, 3);
    assert_close(l->ifmap.zeros, 2 * 2 * 9, 0);
    assert_tensor(&l->filter, 3, 3, 2, 4);
    assert_tensor(&l->ofmap, 6, 4, 4, 2);
    static const int pad[4] = {1, 2, 1, 2};
    assert_memory_equal(l->pad, pad, sizeof pad);
    assert_int_equal(l->stride[0], 1);
    wtl_workload_clear(&work);
}

static void what_is_no_convolution_is_refused(void **state)
{
    (void)state;
    wtl_netdef *wide = parse("net d\ninput data 2x3x3\n"
                             "u = deconv data out=4 kernel=2 stride=2 pad=2,0,0,0\n");
    wtl_netdef *none = parse("net d\ninput data 2x3x3\nr = relu data\n");
    wtl_from_net_options options = {.batch = 1}, zero = {.batch = 0};
    wtl_workload work;
    wtl_error err;
    assert_fails(wtl_workload_from_netdef(&work, wide, &options, &err), WTL_E_SHAPE, &err,
                 "u: padding 2 of a deconv with kernel 2 is no convolution");
    assert_int_equal(work.layer_count, 0);
    assert_fails(wtl_workload_from_netdef(&work, none, &options, &err), WTL_E_ARG, &err,
                 "net d: has no conv or dense layer");
    assert_fails(wtl_workload_from_netdef(&work, wide, &zero, &err), WTL_E_ARG, &err,
                 "workload of a net: batch 0, 0 bits");
    wtl_netdef_free(wide);
    wtl_netdef_free(none);
}

static void zeros_among_weights_are_counted(void **state)
{
    (void)state;
    wtl_net *net = plan("net w\ninput data 2x2x2\nc = conv data out=2 kernel=1\n"
                        "e = dense c out=1\n",
                        false);
    static const float c[] = {1, 0, -0.0f, 2}, bias[] = {0, 0}, e[] = {0, 0, 0, 1, 1, 1, 0, 0};
    fill(net, "c.weight", c);
    fill(net, "c.bias", bias);
    fill(net, "e.weight", e);
    wtl_from_net_options options = {.batch = 7, .bits = 8};
    wtl_workload work;
    wtl_error err;
    assert_ok(wtl_workload_from_net(&work, net, &options, &err));
    assert_true(work.weight_zeros_measured);
    assert_false(work.activation_zeros_measured);
    assert_close(work.layers[0].filter.zeros, 2, 0);
    assert_close(work.layers[1].filter.zeros, 5, 0);
    assert_int_equal(work.layers[1].filter.bits, 8);
    assert_int_equal(work.layers[1].ifmap.count, 7);
    wtl_workload_clear(&work);
    wtl_net_free(net);
}

/* conv by 1 and -1, batch norm that subtracts 2, ReLU, then 2x1 pooling before dense. */
static const char chain[] = "net chain\ninput data 1x2x2\n"
                            "c = conv data out=2 kernel=1 bias=no\n"
                            "b = batchnorm c eps=1e-9 affine=no\n"
                            "r = relu b\n"
                            "p = maxpool r kernel=2x1 stride=1\n"
                            "e = dense p out=2 bias=no\n"
                            "q = relu e\n"
                            "s = softmax q\n";

static wtl_net *make_chain(void)
{
    wtl_net *net = plan(chain, true);
    static const float c[] = {1, -1}, mean[] = {2, 2}, var[] = {1, 1},
                       e[] = {1, 1, 1, 1, -1, -1, -1, -1};
    fill(net, "c.weight", c);
    fill(net, "b.running_mean", mean);
    fill(net, "b.running_var", var);
    fill(net, "e.weight", e);
    return net;
}

/* Image 1: 0 1 / 3 5. c: 0 1 3 5 and 0 -1 -3 -5; less 2 and ReLU: 0 0 1 3 and 0 0 0 0.
 * Pooled: 1 3 and 0 0; dense: 4 -> 4, -4 -> 0.
 * Image 2: 0 0 / 0 -4. c: 0 0 0 -4 and 0 0 0 4 -> 0 0 0 0 and 0 0 0 2; pooled 0 0 and 0 2;
 * dense 2 -> 2, -2 -> 0.
 * Shares of zeros: data 1/4 and 3/4; r 6/8 and 7/8; p 2/4 and 3/4; q 1/2 and 1/2. */
static const float images[] = {0, 1, 3, 5, 0, 0, 0, -4};

static void zeros_of_maps_are_those_after_norm_relu_and_pooling(void **state)
{
    (void)state;
    wtl_net *net = make_chain();
    wtl_zero_counter *counter;
    wtl_workload work;
    wtl_error err;
    wtl_from_net_options options = {.batch = 8};
    assert_ok(wtl_workload_from_net(&work, net, &options, &err));
    assert_ok(wtl_zero_counter_create(&counter, net, &err));
    memcpy(wtl_net_input(net), images, sizeof images);
    wtl_net_forward(net, 2, WTL_RUN_INFERENCE, 0);
    wtl_zero_counter_add(counter, 2);
    assert_int_equal(wtl_zero_counter_images(counter), 2);
    assert_ok(wtl_zero_counter_apply(counter, &work, &err));
    const wtl_work_layer *l = work.layers;
    assert_close(l[0].ifmap.zeros, 0.5 * 4 * 8, 0);
    assert_close(l[0].ofmap.zeros, 13.0 / 16 * 8 * 8, 0);
    assert_close(l[1].ifmap.zeros, 5.0 / 8 * 4 * 8, 0);
    assert_close(l[1].ofmap.zeros, 0.5 * 2 * 8, 0);
    /* Of two numbers the deviation is their distance over the root of 2. */
    assert_close(l[0].ifmap_zero_deviation, 0.5 / sqrt(2), 1e-15);
    assert_close(l[0].ofmap_zero_deviation, 0.125 / sqrt(2), 1e-15);
    assert_close(l[1].ofmap_zero_deviation, 0, 0);
    assert_true(work.activation_zeros_measured);
    assert_int_equal(work.sample_images, 2);
    wtl_workload_clear(&work);
    wtl_zero_counter_free(counter);
    wtl_net_free(net);
}

static void batches_of_any_size_give_the_same_shares(void **state)
{
    (void)state;
    wtl_net *net = make_chain();
    wtl_zero_counter *counter;
    wtl_error err;
    assert_ok(wtl_zero_counter_create(&counter, net, &err));
    for (int i = 0; i < 2; i++) {
        memcpy(wtl_net_input(net), images + 4 * i, 4 * sizeof *images);
        wtl_net_forward(net, 1, WTL_RUN_INFERENCE, 0);
        wtl_zero_counter_add(counter, 1);
    }
    wtl_zero_share share = wtl_zero_counter_ofmap(counter, 0);
    assert_close(share.mean, 13.0 / 16, 1e-15);
    assert_close(share.deviation, 0.125 / sqrt(2), 1e-15);
    assert_close(wtl_zero_counter_ifmap(counter, 0).mean, 0.5, 1e-15);
    wtl_zero_counter_free(counter);
    wtl_net_free(net);
}

/* The conv is read twice: its ofmap is what it writes, before either ReLU. A join's output
 * with a channel of zeros is what the next layer reads. */
static void a_layer_with_two_readers_keeps_its_own_zeros(void **state)
{
    (void)state;
    wtl_net *net = plan("net two\ninput data 1x1x4\n"
                        "c = conv data out=1 kernel=1 bias=no\n"
                        "r = relu c\n"
                        "j = concat c r zeros=2\n"
                        "k = conv j out=1 kernel=1 bias=no\n",
                        true);
    static const float one[] = {1}, four[] = {1, 1, 1, 1}, image[] = {-1, 2, 0, -3};
    fill(net, "c.weight", one);
    fill(net, "k.weight", four);
    wtl_zero_counter *counter;
    wtl_error err;
    assert_ok(wtl_zero_counter_create(&counter, net, &err));
    memcpy(wtl_net_input(net), image, sizeof image);
    wtl_net_forward(net, 1, WTL_RUN_INFERENCE, 0);
    wtl_zero_counter_add(counter, 1);
    assert_close(wtl_zero_counter_ofmap(counter, 0).mean, 1.0 / 4, 0);
    assert_close(wtl_zero_counter_ifmap(counter, 1).mean, (1.0 + 3 + 8) / 16, 0);
    assert_close(wtl_zero_counter_ofmap(counter, 1).deviation, 0, 0);
    wtl_zero_counter_free(counter);
    wtl_net_free(net);
}

/* Half of the real values are zeros: 3 of 6, beside the 9 between. */
static void a_deconv_adds_measured_zeros_to_those_between(void **state)
{
    (void)state;
    wtl_net *net = plan("net d\ninput data 1x3x2\n"
                        "u = deconv data out=1 kernel=2 stride=2 bias=no\n",
                        true);
    static const float image[] = {1, 0, 0, 2, 0, 3};
    wtl_zero_counter *counter;
    wtl_workload work;
    wtl_error err;
    wtl_from_net_options options = {.batch = 10};
    assert_ok(wtl_workload_from_net(&work, net, &options, &err));
    assert_ok(wtl_zero_counter_create(&counter, net, &err));
    memcpy(wtl_net_input(net), image, sizeof image);
    wtl_net_forward(net, 1, WTL_RUN_INFERENCE, 0);
    wtl_zero_counter_add(counter, 1);
    assert_ok(wtl_zero_counter_apply(counter, &work, &err));
    assert_close(work.layers[0].ifmap.zeros, 10 * (9 + 3), 0);
    wtl_workload_clear(&work);
    wtl_zero_counter_free(counter);
    wtl_net_free(net);
}

static void counting_is_refused_where_it_could_not_be_true(void **state)
{
    (void)state;
    wtl_net *shared = plan(chain, false), *net = make_chain();
    wtl_zero_counter *counter = NULL;
    wtl_workload work = work_of(every_kind, 1), own = work_of(chain, 1);
    wtl_error err;
    assert_fails(wtl_zero_counter_create(&counter, shared, &err), WTL_E_ARG, &err,
                 "net chain: zeros are counted in an inference net that keeps its outputs");
    assert_null(counter);
    assert_ok(wtl_zero_counter_create(&counter, net, &err));
    assert_fails(wtl_zero_counter_apply(counter, &own, &err), WTL_E_ARG, &err,
                 "net chain: no image was run to count zeros");
    memcpy(wtl_net_input(net), images, sizeof images);
    wtl_net_forward(net, 2, WTL_RUN_INFERENCE, 0);
    wtl_zero_counter_add(counter, 2);
    assert_fails(wtl_zero_counter_apply(counter, &work, &err), WTL_E_SHAPE, &err,
                 "the workload kinds is not that of net chain");
    wtl_zero_counter_free(counter);
    wtl_workload_clear(&work);
    wtl_workload_clear(&own);
    wtl_net_free(shared);
    wtl_net_free(net);
}

static wtl_status make_workload(void *context)
{
    wtl_from_net_options options = {.batch = 2};
    wtl_workload work;
    wtl_status status = wtl_workload_from_net(&work, context, &options, NULL);
    wtl_workload_clear(&work);
    return status;
}

static wtl_status make_counter(void *context)
{
    wtl_zero_counter *counter;
    wtl_status status = wtl_zero_counter_create(&counter, context, NULL);
    wtl_zero_counter_free(counter);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    wtl_net *net = make_chain();
    wtl_test_every_allocation_fails(make_workload, net);
    wtl_test_every_allocation_fails(make_counter, net);
    wtl_net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(layers_have_the_hand_counted_sizes),
        WTL_TEST(a_deconv_is_a_convolution_of_a_map_with_zeros_between),
        WTL_TEST(what_is_no_convolution_is_refused),
        WTL_TEST(zeros_among_weights_are_counted),
        WTL_TEST(zeros_of_maps_are_those_after_norm_relu_and_pooling),
        WTL_TEST(batches_of_any_size_give_the_same_shares),
        WTL_TEST(a_layer_with_two_readers_keeps_its_own_zeros),
        WTL_TEST(a_deconv_adds_measured_zeros_to_those_between),
        WTL_TEST(counting_is_refused_where_it_could_not_be_true),
        WTL_TEST(every_allocation_may_fail),
    };
    return WTL_RUN("from_net", tests);
}
