/* test_netdef.c - network text: what it means, what is refused and why, and back to text. */
#include "wtl_test.h"

#include "wattle/file.h"
#include "wattle/memory.h"
#include "wattle/netdef.h"
#include "wattle/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static wtl_error err;

static wtl_netdef *parsed_with(const char *text, const wtl_netdef_options *options)
{
    wtl_netdef *def = NULL;
    err.text[0] = '\0';
    err = (wtl_error){0};
    if (wtl_netdef_parse(&def, text, strlen(text), "t.net", options, &err) != WTL_OK) {
        fail_msg("%s", err.text);
    }
    assert_string_equal(err.text, ""); /* a success leaves no message behind */
    assert_non_null(def);
    return def;
}

static wtl_netdef *parsed(const char *text)
{
    return parsed_with(text, NULL);
}

static void assert_refused(const char *text, size_t length, const wtl_netdef_options *options,
                           wtl_status status, const char *message)
{
    wtl_netdef *def = (wtl_netdef *)&err;
    assert_fails(wtl_netdef_parse(&def, text, length, "t.net", options, &err), status, &err,
                 message);
    assert_null(def);
    /* The message is optional, the status is not. */
    assert_int_equal(wtl_netdef_parse(&def, text, length, "t.net", options, NULL), status);
}

static void assert_same(const wtl_netdef *a, const wtl_netdef *b)
{
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->classes, b->classes);
    assert_memory_equal(&a->preprocess, &b->preprocess, sizeof a->preprocess);
    assert_memory_equal(&a->input, &b->input, sizeof a->input);
    assert_int_equal(a->layer_count, b->layer_count);
    for (int i = 0; i < a->layer_count; i++) {
        const wtl_layer_def *x = &a->layers[i], *y = &b->layers[i];
        assert_string_equal(x->name, y->name);
        assert_int_equal(x->kind, y->kind);
        assert_int_equal(x->input_count, y->input_count);
        for (int k = 0; k < x->input_count; k++) {
            assert_int_equal(x->inputs[k], y->inputs[k]);
        }
        assert_memory_equal(&x->as, &y->as, sizeof x->as);
    }
}

static const char every_kind[] =
    "net every-kind # all of them, no option at its default\n"
    "classes 7\n"
    "width 0.75 multiple=4\n"
    "input data 3x24x32\n"
    "preprocess order=bgr resize=short:40 scale=0.017 mean=1,2,3 std=4,5,6.5\n"
    "\n"
    "a = conv data out=16*width kernel=3x5 stride=2x1 pad=1,0,2,3 dilation=1x2 groups=3 "
    "bias=no init=uniform:0.5\n"
    "b = batchnorm a eps=1e-3 momentum=0.2 affine=no init=const:0.5\n"
    "c = relu6 b\n"
    "d = depthwise c kernel=3 pad=1 init=gauss:0.1 bias_init=const:-1\n"
    "e = add c d c\n"
    "f = concat c e zeros=4\n"
    "g = space_to_depth f factor=2\n"
    "h = depth_to_space g factor=2\n"
    "i = upsample h factor=2 mode=bilinear\n"
    "j = deconv i out=2*(8*width) kernel=2 stride=2 pad=0x1\n"
    "k = lrn j size=3 alpha=0.001 beta=0.5 k=2\n"
    "l = maxpool k kernel=3 stride=2 pad=1 ceil=yes\n"
    "m = avgpool l kernel=2x3 count_pad=no pad=1x1\n"
    "n = avgpool m adaptive=3x2\n"
    "o = relu n\n"
    "p = conv o out=8*max(1,width) kernel=1 init=msra-out bias_init=torch\n"
    "q = flatten p\n"
    "r = dense q out=20 bias=no init=torch\n"
    "s = dropout r rate=0.25\n"
    "t = dense s out=classes init=msra\n"
    "u = softmax t weight=0.5 aux=yes\n"
    "v = maxpool p global=yes\n"
    "w = dense v out=classes\n"
    "x = softmax w\n";

/* Resolved and without defaults: stride=2x3 of m would be its kernel, so it is left out. */
static const char every_kind_canonical[] =
    "net every-kind\n"
    "classes 7\n"
    "input data 3x24x32\n"
    "preprocess order=bgr resize=short:40 scale=0.017 mean=1,2,3 std=4,5,6.5\n"
    "a = conv data out=12 kernel=3x5 stride=2x1 pad=1,0,2,3 dilation=1x2 groups=3 bias=no "
    "init=uniform:0.5\n"
    "b = batchnorm a eps=0.001 momentum=0.2 affine=no init=const:0.5\n"
    "c = relu6 b\n"
    "d = depthwise c kernel=3 pad=1 init=gauss:0.1 bias_init=const:-1\n"
    "e = add c d c\n"
    "f = concat c e zeros=4\n"
    "g = space_to_depth f factor=2\n"
    "h = depth_to_space g factor=2\n"
    "i = upsample h factor=2 mode=bilinear\n"
    "j = deconv i out=16 kernel=2 stride=2 pad=0x1\n"
    "k = lrn j size=3 alpha=0.001 beta=0.5 k=2\n"
    "l = maxpool k kernel=3 stride=2 pad=1 ceil=yes\n"
    "m = avgpool l kernel=2x3 pad=1 count_pad=no\n"
    "n = avgpool m adaptive=3x2\n"
    "o = relu n\n"
    "p = conv o out=8 kernel=1 init=msra-out bias_init=torch\n"
    "q = flatten p\n"
    "r = dense q out=20 bias=no init=torch\n"
    "s = dropout r rate=0.25\n"
    "t = dense s out=7 init=msra\n"
    "u = softmax t weight=0.5 aux=yes\n"
    "v = maxpool p global=yes\n"
    "w = dense v out=7\n"
    "x = softmax w\n";

/* ---- what the text means ---- */

static void the_head_of_the_text_is_read(void **state)
{
    (void)state;
    wtl_netdef *def = parsed(every_kind);
    assert_string_equal(def->name, "every-kind");
    assert_int_equal(def->classes, 7);
    assert_int_equal(def->input.c, 3);
    assert_int_equal(def->input.h, 24);
    assert_int_equal(def->input.w, 32);
    assert_int_equal(def->layer_count, 25);
    const wtl_preprocess *pre = &def->preprocess;
    assert_int_equal(pre->channels, 3);
    assert_int_equal(pre->height, 24);
    assert_int_equal(pre->width, 32);
    assert_int_equal(pre->order, WTL_ORDER_BGR);
    assert_int_equal(pre->rule, WTL_RESIZE_SHORT);
    assert_int_equal(pre->resize, 40);
    static const float mean[3] = {1, 2, 3}, deviation[3] = {4, 5, 6.5f};
    assert_close(pre->scale, 0.017, 1e-9);
    assert_all_close(pre->mean, mean, 3, 0.0);
    assert_all_close(pre->deviation, deviation, 3, 0.0);
    wtl_netdef_free(def);
}

static void options_reach_their_fields(void **state)
{
    (void)state;
    wtl_netdef *def = parsed(every_kind);
    const wtl_layer_def *a = &def->layers[1];
    assert_string_equal(a->name, "a");
    assert_int_equal(a->kind, WTL_LAYER_CONV);
    assert_int_equal(a->line, 7);
    static const int kernel[2] = {3, 5}, stride[2] = {2, 1}, dilation[2] = {1, 2};
    static const int pad[4] = {1, 0, 2, 3}, pool_pad[4] = {0, 0, 1, 1}, square[2] = {2, 2};
    assert_int_equal(a->as.conv.out, 12);
    assert_memory_equal(a->as.conv.kernel, kernel, sizeof kernel);
    assert_memory_equal(a->as.conv.stride, stride, sizeof stride);
    assert_memory_equal(a->as.conv.dilation, dilation, sizeof dilation);
    assert_memory_equal(a->as.conv.pad, pad, sizeof pad);
    assert_int_equal(a->as.conv.groups, 3);
    assert_false(a->as.conv.bias);
    assert_int_equal(a->as.conv.init.kind, WTL_INIT_UNIFORM);
    assert_close(a->as.conv.init.value, 0.5, 0.0);
    assert_int_equal(a->as.conv.bias_init.kind, WTL_INIT_CONST);
    assert_close(a->as.conv.bias_init.value, 0.0, 0.0);
    const wtl_layer_def *j = &def->layers[wtl_netdef_find(def, "j")];
    assert_memory_equal(j->as.conv.pad, pool_pad, sizeof pool_pad);
    assert_memory_equal(j->as.conv.stride, square, sizeof square);
    assert_true(j->as.conv.bias);
    assert_int_equal(def->layers[6].as.concat.zeros, 4);
    assert_true(def->layers[9].as.resample.bilinear);
    assert_close(def->layers[11].as.lrn.alpha, 0.001, 1e-9);
    assert_close(def->layers[19].as.dropout.rate, 0.25, 0.0);
    assert_true(def->layers[21].as.softmax.aux);
    wtl_netdef_free(def);
}

static void inputs_are_indices_of_earlier_layers(void **state)
{
    (void)state;
    wtl_netdef *def = parsed(every_kind);
    const wtl_layer_def *e = &def->layers[5];
    assert_int_equal(e->input_count, 3);
    assert_int_equal(e->inputs[0], 3);
    assert_int_equal(e->inputs[1], 4);
    assert_int_equal(e->inputs[2], 3);
    assert_int_equal(def->layers[0].input_count, 0);
    assert_int_equal(wtl_netdef_find(def, "data"), 0);
    assert_int_equal(wtl_netdef_find(def, "e"), 5);
    assert_int_equal(wtl_netdef_find(def, "E"), -1);
    wtl_netdef_free(def);
}

static void a_stride_left_out_is_the_kernel(void **state)
{
    (void)state;
    wtl_netdef *def = parsed("net t\ninput d 1x9x9\np = maxpool d kernel=2x3\n");
    assert_int_equal(def->layers[1].as.pool.stride[0], 2);
    assert_int_equal(def->layers[1].as.pool.stride[1], 3);
    wtl_netdef_free(def);
}

static void what_is_not_said_has_its_default(void **state)
{
    (void)state;
    wtl_netdef *def = parsed("net t\ninput d 5x9x9\nc = conv d out=2 kernel=3\n");
    assert_int_equal(def->classes, 0);
    assert_close(def->preprocess.scale, 1.0, 0.0);
    assert_close(def->preprocess.deviation[3], 1.0, 0.0);
    assert_int_equal(def->preprocess.rule, WTL_RESIZE_NONE);
    assert_int_equal(def->preprocess.order, WTL_ORDER_RGB);
    const wtl_conv_options *conv = &def->layers[1].as.conv;
    assert_int_equal(conv->stride[1], 1);
    assert_int_equal(conv->pad[3], 0);
    assert_int_equal(conv->groups, 1);
    assert_true(conv->bias);
    assert_int_equal(conv->init.kind, WTL_INIT_MSRA);
    wtl_netdef_free(def);
}

static void windows_line_ends_tabs_and_a_missing_last_newline_are_fine(void **state)
{
    (void)state;
    wtl_netdef *def = parsed("net t\r\n\r\ninput\td 1x4x4 # c\r\n  r  =\trelu d\r\ns = relu r");
    assert_int_equal(def->layer_count, 3);
    assert_int_equal(def->layers[1].line, 4);
    assert_string_equal(def->layers[2].name, "s");
    wtl_netdef_free(def);
}

static void keywords_and_kinds_can_be_layer_names(void **state)
{
    (void)state;
    wtl_netdef *def = parsed("net net\ninput input 1x4x4\nnet = relu input\nrelu = relu net\n");
    assert_int_equal(wtl_netdef_find(def, "relu"), 2);
    assert_int_equal(def->layers[2].inputs[0], 1);
    wtl_netdef_free(def);
}

/* Worked by hand from torchvision's _make_divisible(value, multiple):
 *   rounded = max(multiple, floor((value + multiple/2) / multiple) * multiple),
 *   one multiple more if that is below 0.9 * value. */
static void widths_are_rounded_like_the_mobilenets(void **state)
{
    (void)state;
    static const struct {
        double width;
        int multiple;
        const char *out;
        int want;
    } table[] = {
        {1.0, 8, "32*width", 32},
        {0.35, 8, "32*width", 16},           /* 11.2: 8 would be below 10.08 */
        {0.35, 8, "24*width", 8},            /* 8.4 */
        {0.1, 8, "16*width", 8},             /* 1.6: at least one multiple */
        {0.75, 8, "20*width", 16},           /* 15 */
        {1.4, 8, "32*width", 48},            /* 44.8 */
        {0.5, 8, "1280*max(1,width)", 1280}, /* never narrowed */
        {1.4, 8, "1280*max(1,width)", 1792},
        {0.35, 8, "6*(16*width)", 48}, /* 6 times 8 */
        {0.35, 8, "6*(32*width)", 96}, /* 6 times 16 */
        {2.0, 8, "3*(8*max(1,width))", 48},
        {0.3, 1, "64*width", 19}, /* 19.2 */
        {0.5, 1, "3*width", 2},   /* 1.5 */
        {0.28, 1, "5*width", 2},  /* 1.4: 1 would be below 1.26 */
        {0.35, 8, "33", 33},      /* a plain number stays */
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char text[256];
        snprintf(text, sizeof text,
                 "net t\nwidth 1 multiple=%d\ninput d 3x8x8\nc = conv d out=%s kernel=1\n",
                 table[i].multiple, table[i].out);
        wtl_netdef *def = parsed_with(text, &(wtl_netdef_options){.width = table[i].width});
        assert_int_equal(def->layers[1].as.conv.out, table[i].want);
        wtl_netdef_free(def);
    }
}

static void options_change_width_and_classes(void **state)
{
    (void)state;
    const wtl_netdef_options options = {.width = 0.5, .classes = 3};
    wtl_netdef *def = parsed_with("net t\nclasses 10\nwidth 1\ninput d 1x4x4\n"
                                  "f = dense d out=8*width\ng = dense f out=classes\n",
                                  &options);
    assert_int_equal(def->classes, 3);
    assert_int_equal(def->layers[1].as.dense.out, 4);
    assert_int_equal(def->layers[2].as.dense.out, 3);
    wtl_netdef_free(def);
}

static void options_that_change_nothing_are_refused(void **state)
{
    (void)state;
    static const char plain[] = "net t\ninput d 1x4x4\nf = dense d out=8\n";
    static const char resolved[] = "net t\nclasses 8\ninput d 1x4x4\nf = dense d out=8\n";
    size_t n = sizeof plain - 1;
    assert_refused(plain, n, &(wtl_netdef_options){.width = 0.5}, WTL_E_ARG,
                   "t.net: width=0.5 does not apply: no 'width' line");
    assert_refused(plain, n, &(wtl_netdef_options){.classes = 5}, WTL_E_ARG,
                   "t.net: classes=5 does not apply: no 'classes' line");
    assert_refused(resolved, sizeof resolved - 1, &(wtl_netdef_options){.classes = 5},
                   WTL_E_ARG, "t.net: classes=5 does not apply: no out=classes");
    assert_refused(plain, n, &(wtl_netdef_options){.width = NAN}, WTL_E_ARG,
                   "t.net: width=nan is outside 0.015625..64");
    assert_refused(plain, n, &(wtl_netdef_options){.classes = -1}, WTL_E_ARG,
                   "t.net: classes=-1 is outside 1..1048576");
    /* The number that the text has anyway is no change. */
    wtl_netdef_free(parsed_with(resolved, &(wtl_netdef_options){.classes = 8}));
}

/* ---- what is refused ---- */

#define KINDS                                                                                  \
    "conv, depthwise, dense, maxpool, avgpool, lrn, batchnorm, relu, relu6, dropout, concat, " \
    "add, flatten, softmax, upsample, deconv, space_to_depth, depth_to_space"
#define CHANNELS "N, N*width, N*max(1,width), M*(N*width) or classes, with a result 1..1048576"
#define INITS    "const:V, gauss:SD, uniform:A, xavier, msra, msra-out or torch"

/* The line, as the fourth of a text, and the message about it. */
static const char *const bad_lines[][2] = {
    {"c =", "expected NAME = KIND INPUT... OPTION=VALUE..."},
    {"c=conv data", "expected NAME = KIND INPUT... or a line that begins with net, classes, "
                    "width, input or preprocess"},
    {"c = conf data", "unknown layer kind 'conf'; did you mean 'conv'?"},
    {"c = input data", "unknown layer kind 'input'; expected " KINDS},
    {"c = conv data out=4", "conv needs kernel=..."},
    {"c = conv data kernel=3", "conv needs out=..."},
    {"c = conv out=4 kernel=3", "conv takes 1 input, not 0"},
    {"c = conv data data out=4 kernel=3", "conv takes 1 input, not 2"},
    {"c = add data", "add takes 2 or more inputs, not 1"},
    {"c = concat", "concat takes 1 to 64 inputs, not 0"},
    {"c = conv dat out=4 kernel=3", "no layer 'dat' above; did you mean 'data'?"},
    {"c = conv later out=4 kernel=3",
     "no layer 'later' above; an input must stand before its reader"},
    {"c = relu c", "no layer 'c' above; an input must stand before its reader"},
    {"data = relu data", "the name 'data' is taken by the layer on line 3"},
    {"c+1 = relu data", "the name 'c+1' has other characters than letters, digits and _-./"},
    {"c = conv data out=4 kernal=3", "unknown option of conv 'kernal'; did you mean 'kernel'?"},
    {"c = conv data out=4 colour=3", "unknown option of conv 'colour'; expected out, kernel, "
                                     "stride, pad, dilation, groups, bias, init, bias_init"},
    {"c = relu data slope=1", "unknown option 'slope'; relu takes none"},
    {"c = conv data out=4 kernel=3 out=4", "out is given twice"},
    {"c = conv data out=4 kernel=3 data",
     "unexpected 'data'; expected OPTION=VALUE or the end of the line"},
    {"c = conv data out=0 kernel=3", "out=0: expected " CHANNELS},
    {"c = conv data out=4x kernel=3", "out=4x: expected " CHANNELS},
    {"c = conv data out=6*(4) kernel=3", "out=6*(4): expected " CHANNELS},
    {"c = conv data out=4*(2*(3)) kernel=3", "out=4*(2*(3)): expected " CHANNELS},
    {"c = conv data out=4*( kernel=3", "out=4*(: expected " CHANNELS},
    {"c = conv data out=4*width kernel=3", "out=4*width: expected a line 'width W' above"},
    {"c = conv data out=99999999999 kernel=3", "out=99999999999: expected " CHANNELS},
    {"c = conv data out=4 kernel=3x3x3", "kernel=3x3x3: expected N or NxN, each 1..4096"},
    {"c = conv data out=4 kernel=3x", "kernel=3x: expected N or NxN, each 1..4096"},
    {"c = conv data out=4 kernel=", "kernel=: expected N or NxN, each 1..4096"},
    {"c = conv data out=4 kernel=3 pad=1,2,3",
     "pad=1,2,3: expected N, NxN or N,N,N,N, each 0..4096"},
    {"c = conv data out=4 kernel=3 pad=-1", "pad=-1: expected N, NxN or N,N,N,N, each 0..4096"},
    {"c = conv data out=4 kernel=3 groups=0", "groups=0: expected a whole number 1..1048576"},
    {"c = conv data out=4 kernel=3 bias=maybe", "bias=maybe: expected yes or no"},
    {"c = conv data out=4 kernel=3 init=gauss", "init=gauss: expected " INITS},
    {"c = conv data out=4 kernel=3 init=msra:1", "init=msra:1: expected " INITS},
    {"c = conv data out=4 kernel=3 init=gauss:-1", "init=gauss:-1: expected " INITS},
    {"c = conv data out=4 kernel=3 init=const:inf", "init=const:inf: expected " INITS},
    {"c = upsample data factor=2 mode=cubic", "mode=cubic: expected nearest or bilinear"},
    {"c = dropout data rate=nan", "rate=nan: expected a number 0..1"},
    {"c = maxpool data", "give kernel=K or global=yes"},
    {"nett x", "unknown word 'nett'; did you mean 'net'?"},
    {"net", "a second 'net' line"},
    {"classes 5", "a second 'classes' line"},
    {"input more 1x2x2", "a second 'input' line"},
    {"width", "expected 'width W' or 'width W multiple=M' with W in 0.015625..64"},
    {"width 0", "expected 'width W' or 'width W multiple=M' with W in 0.015625..64"},
    {"width 1 multiple=0", "expected 'multiple=M' with M in 1..1024 after the width"},
    {"width 1 multiple", "expected 'multiple=M' with M in 1..1024 after the width"},
    {"width 1 multiple=8 more", "unexpected 'more' at the end of the line"},
    {"preprocess", "expected 'preprocess order=... mean=... std=...'"},
    {"preprocess colour=red",
     "unknown option of preprocess 'colour'; expected order, resize, scale, mean, std"},
    {"preprocess ordr=bgr", "unknown option of preprocess 'ordr'; did you mean 'order'?"},
    {"preprocess order=gbr", "order=gbr: expected rgb or bgr"},
    {"preprocess resize=warp:7",
     "resize=warp:7: expected none, warp:SIDE or short:SIDE, no smaller than the input"},
    {"preprocess resize=8",
     "resize=8: expected none, warp:SIDE or short:SIDE, no smaller than the input"},
    {"preprocess mean=1,2", "mean=1,2: expected one number, or one a channel"},
    {"preprocess mean=1,2,3,4", "mean=1,2,3,4: expected one number, or one a channel"},
    {"preprocess mean=nan", "mean=nan: expected one number, or one a channel"},
    {"preprocess std=0", "std=0: expected one number above 0, or one a channel"},
    {"preprocess scale", "scale=: expected a number above 0"},
    {"preprocess scale=1 scale=2", "scale is given twice"},
};

static void every_mistake_has_its_message_and_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_lines / sizeof bad_lines[0]; i++) {
        char text[512], message[WTL_ERROR_TEXT_SIZE];
        snprintf(text, sizeof text, "net t\nclasses 10\ninput data 3x8x8\n%s\nr = relu data\n",
                 bad_lines[i][0]);
        snprintf(message, sizeof message, "t.net:4: %s", bad_lines[i][1]);
        assert_refused(text, strlen(text), NULL, WTL_E_FORMAT, message);
    }
}

static void mistakes_of_the_head_have_their_message(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        {"net\n", "t.net:1: expected 'net NAME'"},
        {"net a b\n", "t.net:1: unexpected 'b' at the end of the line"},
        {"net a/b:c\n",
         "t.net:1: the name 'a/b:c' has other characters than letters, digits and _-./"},
        {"classes 0\n", "t.net:1: expected 'classes N' with N in 1..1048576"},
        {"classes ten\n", "t.net:1: expected 'classes N' with N in 1..1048576"},
        {"classes 1 2\n", "t.net:1: unexpected '2' at the end of the line"},
        {"width 1\nwidth 2\n", "t.net:2: a second 'width' line"},
        {"input d 3x8\n", "t.net:1: expected 'input NAME CxHxW', each of C, H, W in 1..65536"},
        {"input d 3x8x0\n",
         "t.net:1: expected 'input NAME CxHxW', each of C, H, W in 1..65536"},
        {"input d\n", "t.net:1: expected 'input NAME CxHxW', each of C, H, W in 1..65536"},
        {"input d 1x1x1 x\n", "t.net:1: unexpected 'x' at the end of the line"},
        {"preprocess mean=1\n", "t.net:1: 'preprocess' before the 'input' line"},
        {"input d 4x8x8\npreprocess mean=1\n",
         "t.net:2: 'preprocess' takes pictures of 1 or 3 channels, not 4"},
        {"input d 1x8x8\npreprocess mean=1\npreprocess mean=1\n",
         "t.net:3: a second 'preprocess' line"},
        {"net t\ninput d 1x8x8\nf = dense d out=classes\n",
         "t.net:3: out=classes: expected a line 'classes N' above"},
        {"net t\ninput d 4x1x1\ns = softmax d aux=yes\nf = dense s out=2\n",
         "t.net:4: 's' is a softmax, a head of the net: no layer can read it"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        assert_refused(table[i][0], strlen(table[i][0]), NULL, WTL_E_FORMAT, table[i][1]);
    }
}

static void every_bad_file_has_its_message(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        {"binary.net", "bad:1: byte 0x00 is no text"},
        {"control-byte.net", "bad:4: byte 0x01 is no text"},
        {"cut-line.net",
         "bad:4: unexpected 'ker'; expected OPTION=VALUE or the end of the line"},
        {"duplicate-name.net", "bad:5: the name 'a' is taken by the layer on line 4"},
        {"duplicate-option.net", "bad:4: out is given twice"},
        {"empty.net", "bad: no 'net NAME' line"},
        {"forward-reference.net",
         "bad:4: no layer 'b' above; an input must stand before its reader"},
        {"huge-input.net", "bad:2: an input of 65536x65536x65536 has more than 2^31 values"},
        {"huge-number.net", "bad:4: out=99999999999999999999: expected " CHANNELS},
        {"infinity.net", "bad:4: init=gauss:1e999: expected " INITS},
        {"input-alone.net", "bad: no layer after the input"},
        {"layer-before-input.net", "bad:2: a layer before the 'input' line"},
        {"lone-cr.net", "bad:4: byte 0x0d is no text"},
        {"long-name.net",
         "bad:4: the name 'aaaaaaaaaaaaaaaaaaaa...' is longer than 127 characters"},
        {"nan.net", "bad:4: rate=nan: expected a number 0..1"},
        {"no-input.net", "bad: no 'input NAME CxHxW' line"},
        {"no-net.net", "bad: no 'net NAME' line"},
        {"nul-byte.net", "bad:4: byte 0x00 is no text"},
        {"nul-in-comment.net", "bad:4: byte 0x00 is no text"},
        {"rubbish-at-end.net",
         "bad:4: unexpected 'yes'; expected OPTION=VALUE or the end of the line"},
        {"self-reference.net",
         "bad:4: no layer 'a' above; an input must stand before its reader"},
        {"unknown-kind.net", "bad:4: unknown layer kind 'covn'; did you mean 'conv'?"},
        {"utf8-name.net", "bad:4: the name 'r\xc3\xa9lu' has other characters than letters, "
                          "digits and _-./"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char path[1024];
        snprintf(path, sizeof path, "%s/tests/bad/netdef/%s", WTL_SOURCE_DIR, table[i][0]);
        unsigned char *bytes;
        size_t length;
        assert_ok(wtl_file_read(path, 1 << 20, &bytes, &length, &err));
        wtl_netdef *def;
        assert_fails(wtl_netdef_parse(&def, (char *)bytes, length, "bad", NULL, &err),
                     WTL_E_FORMAT, &err, table[i][1]);
        wtl_free(bytes);
    }
}

static void names_may_be_127_characters_long(void **state)
{
    (void)state;
    char text[512], name[129];
    memset(name, 'n', sizeof name);
    name[127] = '\0';
    snprintf(text, sizeof text, "net t\ninput d 1x1x1\n%s = relu d\n", name);
    wtl_netdef_free(parsed(text));
    name[127] = 'n';
    name[128] = '\0';
    snprintf(text, sizeof text, "net t\ninput d 1x1x1\n%s = relu d\n", name);
    assert_refused(text, strlen(text), NULL, WTL_E_FORMAT,
                   "t.net:3: the name 'nnnnnnnnnnnnnnnnnnnn...' is longer than 127 characters");
}

static void too_many_layers_and_too_long_a_text_are_refused(void **state)
{
    (void)state;
    wtl_text text = {0};
    wtl_text_printf(&text, "net t\ninput l0 1x1x1\n");
    for (int i = 1; i < 10000; i++) {
        wtl_text_printf(&text, "l%d = relu l%d\n", i, i - 1);
    }
    wtl_netdef *def = parsed(text.bytes);
    assert_int_equal(def->layer_count, 10000);
    wtl_netdef_free(def);
    wtl_text_printf(&text, "l10000 = relu l0\n");
    assert_refused(text.bytes, text.length, NULL, WTL_E_FORMAT,
                   "t.net:10002: more than 10000 layers");
    wtl_text_clear(&text);

    static char blanks[(1 << 20) + 1];
    memset(blanks, '\n', sizeof blanks);
    assert_refused(blanks, sizeof blanks, NULL, WTL_E_FORMAT,
                   "t.net: the text is longer than 1048576 bytes");
    assert_refused(blanks, sizeof blanks - 1, NULL, WTL_E_FORMAT, "t.net: no 'net NAME' line");
}

static void the_text_need_not_end_in_a_nul(void **state)
{
    (void)state;
    static const char text[] = "net t\ninput d 1x4x4\nr = relu d";
    wtl_netdef *def;
    /* One byte less cuts the name of the input. */
    assert_fails(wtl_netdef_parse(&def, text, sizeof text - 2, "t.net", NULL, &err),
                 WTL_E_FORMAT, &err, "t.net:3: relu takes 1 input, not 0");
    assert_refused("", 0, NULL, WTL_E_FORMAT, "t.net: no 'net NAME' line");
}

/* ---- back to text ---- */

static void the_canonical_text_is_resolved_and_leaves_defaults_out(void **state)
{
    (void)state;
    wtl_netdef *def = parsed(every_kind);
    char *text = wtl_netdef_text(def);
    assert_string_equal(text, every_kind_canonical);
    wtl_netdef *again = parsed(text);
    assert_same(def, again);
    wtl_free(text);
    wtl_netdef_free(again);
    wtl_netdef_free(def);
}

static void defaults_written_out_vanish(void **state)
{
    (void)state;
    wtl_netdef *def = parsed("net t\ninput d 1x8x8\n"
                             "preprocess order=rgb resize=none scale=1 mean=0 std=1\n"
                             "c = conv d out=2 kernel=3x3 stride=1x1 pad=0,0,0,0 dilation=1 "
                             "groups=1 bias=yes init=msra bias_init=const:0\n"
                             "p = maxpool c kernel=2 stride=2x2 ceil=no global=no\n"
                             "q = avgpool p kernel=2 stride=1 count_pad=yes\n"
                             "s = softmax q weight=1 aux=no\n");
    char *text = wtl_netdef_text(def);
    assert_string_equal(text, "net t\ninput d 1x8x8\n"
                              "c = conv d out=2 kernel=3\n"
                              "p = maxpool c kernel=2\n"
                              "q = avgpool p kernel=2 stride=1\n"
                              "s = softmax q\n");
    wtl_free(text);
    wtl_netdef_free(def);
}

static void floats_come_back_bit_for_bit(void **state)
{
    (void)state;
    static const char *const numbers[] = {"0.1",        "0.00392157", "1e-38", "0.33333334",
                                          "0.99999994", "1e-45",      "0.5",   "0.010000001"};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        char line[256];
        snprintf(line, sizeof line, "net t\ninput d 1x8x8\nc = dense d out=2 init=gauss:%s\n",
                 numbers[i]);
        wtl_netdef *def = parsed(line);
        char *text = wtl_netdef_text(def);
        assert_string_equal(text, line); /* these are all the shortest forms */
        wtl_free(text);
        wtl_netdef_free(def);
    }
}

static void one_mean_stands_for_equal_ones(void **state)
{
    (void)state;
    wtl_netdef *def = parsed("net t\ninput d 3x8x8\npreprocess mean=5,5,5 std=2,2,3\n"
                             "r = relu d\n");
    char *text = wtl_netdef_text(def);
    assert_string_equal(text, "net t\ninput d 3x8x8\npreprocess mean=5 std=2,2,3\n"
                              "r = relu d\n");
    wtl_free(text);
    wtl_netdef_free(def);
}

static void a_copy_is_equal_and_its_own(void **state)
{
    (void)state;
    wtl_netdef *def = parsed(every_kind), *copy = wtl_netdef_copy(def);
    assert_non_null(copy);
    assert_same(def, copy);
    for (int i = 0; i < def->layer_count; i++) {
        assert_ptr_not_equal(def->layers[i].name, copy->layers[i].name);
    }
    copy->layers[5].inputs[0] = 0;
    assert_int_equal(def->layers[5].inputs[0], 3);
    wtl_netdef_free(def);
    assert_string_equal(copy->layers[24].name, "x");
    wtl_netdef_free(copy);
}

/* ---- shapes and counts ---- */

static void shapes_follow_the_layers(void **state)
{
    (void)state;
    wtl_netdef *def = parsed(every_kind);
    /* By hand: a: (24+1-3)/2+1 = 12 high, 32+5-9+1 = 29 wide (the 5 taps reach over 9). f has
     * 12 + 12 + 4 channels; g needs even sizes, so pad to 12 x 28 above would be wrong. */
    wtl_shape shapes[25];
    assert_fails(wtl_netdef_shapes(def, shapes, &err), WTL_E_SHAPE, &err,
                 "g: factor 2 does not divide the input of 12x29");
    wtl_netdef_free(def);

    def = parsed("net t\ninput d 3x11x8\n"
                 "a = conv d out=4 kernel=3 stride=2 pad=1\n" /* (11+2-3)/2+1, (8+2-3)/2+1 */
                 "b = maxpool a kernel=3 stride=2 ceil=yes\n" /* ceil(3/2)+1, ceil(1/2)+1 */
                 "c = concat b b zeros=2\n"
                 "f = dense c out=5\n");
    static const wtl_shape want[] = {{3, 11, 8}, {4, 6, 4}, {4, 3, 2}, {10, 3, 2}, {5, 1, 1}};
    memset(shapes, -1, sizeof shapes);
    assert_ok(wtl_netdef_shapes(def, shapes, &err));
    assert_memory_equal(shapes, want, sizeof want);
    wtl_netdef_free(def);
}

static void a_shape_that_does_not_fit_names_its_layer(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        {"conv2 = conv d out=4 kernel=9\n",
         "conv2: the 9x9 window does not fit the padded input of 8x8"},
        {"p = maxpool d kernel=2\ns = add d p\n",
         "s: input 2 is 3x4x4, must be 3x8x8 as input 1"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char text[512];
        snprintf(text, sizeof text, "net t\ninput d 3x8x8\n%s", table[i][0]);
        wtl_netdef *def = parsed(text);
        wtl_shape shapes[5];
        uint64_t parameters, macs;
        assert_fails(wtl_netdef_shapes(def, shapes, &err), WTL_E_SHAPE, &err, table[i][1]);
        assert_fails(wtl_netdef_totals(def, &parameters, &macs, &err), WTL_E_SHAPE, &err,
                     table[i][1]);
        wtl_netdef_free(def);
    }
}

static void sizes_that_would_overflow_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "net t\ninput d 1x1x1\na = conv d out=1048576 kernel=1\n"
        "b = conv a out=1 kernel=4096 pad=4096\n",
        "net t\ninput d 1x1x1\na = conv d out=1048576 kernel=1\n"
        "b = depthwise a kernel=4096 pad=4096\n",
        "net t\ninput d 1x65536x16384\na = upsample d factor=64\nb = upsample a factor=64\n",
        "net t\ninput d 1x65536x16384\na = deconv d out=1 kernel=1 stride=4096\n",
        "net t\ninput d 65536x16384x1\na = concat d d\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        wtl_netdef *def = parsed(texts[i]);
        wtl_shape shapes[4];
        assert_int_equal(wtl_netdef_shapes(def, shapes, &err), WTL_E_SHAPE);
        wtl_netdef_free(def);
    }
    /* The last one is refused for all kinds alike. */
    assert_string_equal(err.text, "a: the output of 131072x16384x1 has more than 2^31 values");
}

static const char two_heads[] =
    "net t\ninput d 3x8x8\n"
    "c = conv d out=4 kernel=3 bias=no\n" /* 4*3*9 = 108 weights, 108*36 = 3888 MACs */
    "b = batchnorm c\n"                   /* 4 + 4 trained, 4 + 4 running */
    "f = dense b out=10\n"                /* 144*10 + 10 = 1450, 1440 MACs */
    "h = softmax f\n"
    "x = dense b out=7\n" /* auxiliary: not counted */
    "y = softmax x weight=0.3 aux=yes\n"
    "z = relu d\n"; /* read by nobody */

static void the_inference_network_is_what_the_main_head_needs(void **state)
{
    (void)state;
    wtl_netdef *def = parsed(two_heads);
    static const bool want[] = {true, true, true, true, true, false, false, false};
    bool keep[8];
    memset(keep, 0x5a, sizeof keep);
    assert_int_equal(wtl_netdef_inference_layers(def, keep), 4);
    assert_memory_equal(keep, want, sizeof want);
    wtl_netdef_free(def);
}

static void without_a_main_softmax_the_last_layer_is_the_head(void **state)
{
    (void)state;
    wtl_netdef *def = parsed("net t\ninput d 3x8x8\na = relu d\ns = softmax d aux=yes\n"
                             "b = relu a\n");
    static const bool want[] = {true, true, false, true};
    bool keep[4];
    assert_int_equal(wtl_netdef_inference_layers(def, keep), 3);
    assert_memory_equal(keep, want, sizeof want);
    wtl_netdef_free(def);
}

static void totals_count_what_is_trained_and_leave_auxiliary_heads_out(void **state)
{
    (void)state;
    wtl_netdef *def = parsed(two_heads);
    uint64_t parameters = 0, macs = 0;
    assert_ok(wtl_netdef_totals(def, &parameters, &macs, &err));
    assert_int_equal(parameters, 108 + 8 + 1450);
    assert_int_equal(macs, 3888 + 1440);
    wtl_netdef_free(def);
}

static void parameters_of_a_layer_are_listed_in_order(void **state)
{
    (void)state;
    wtl_netdef *def = parsed(two_heads);
    const wtl_shape in = {4, 6, 6};
    wtl_param_spec specs[WTL_MAX_LAYER_PARAMS];
    assert_int_equal(wtl_layer_params(&def->layers[2], &in, specs), 4);
    static const char *const suffixes[] = {"weight", "bias", "running_mean", "running_var"};
    for (int i = 0; i < 4; i++) {
        assert_string_equal(specs[i].suffix, suffixes[i]);
        assert_int_equal(specs[i].rank, 1);
        assert_int_equal(specs[i].dims[0], 4);
    }
    assert_int_equal(wtl_layer_params(&def->layers[7], &in, specs), 0);
    assert_int_equal(wtl_layer_macs(&def->layers[2], in, in), 0);
    assert_string_equal(wtl_layer_kind_name(WTL_LAYER_SPACE_TO_DEPTH), "space_to_depth");
    assert_string_equal(wtl_layer_kind_name(WTL_LAYER_KIND_COUNT), "unknown");
    wtl_netdef_free(def);
}

/* ---- memory ---- */

static wtl_status parse_and_free(void *context)
{
    (void)context;
    wtl_netdef *def = (wtl_netdef *)&err;
    wtl_status status =
        wtl_netdef_parse(&def, every_kind, sizeof every_kind - 1, "t.net", NULL, &err);
    if (status != WTL_OK) {
        assert_null(def);
    }
    wtl_netdef_free(def);
    return status;
}

static wtl_status write_and_free(void *context)
{
    char *text = wtl_netdef_text(context);
    wtl_status status = text ? WTL_OK : WTL_E_NOMEM;
    wtl_free(text);
    return status;
}

static wtl_status copy_and_free(void *context)
{
    wtl_netdef *copy = wtl_netdef_copy(context);
    wtl_status status = copy ? WTL_OK : WTL_E_NOMEM;
    wtl_netdef_free(copy);
    return status;
}

static wtl_status count(void *context)
{
    uint64_t parameters, macs;
    return wtl_netdef_totals(context, &parameters, &macs, &err);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    wtl_test_every_allocation_fails(parse_and_free, NULL);
    wtl_netdef *def = parsed(two_heads);
    wtl_test_every_allocation_fails(write_and_free, def);
    wtl_test_every_allocation_fails(copy_and_free, def);
    wtl_test_every_allocation_fails(count, def);
    wtl_netdef_free(def);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(the_head_of_the_text_is_read),
        WTL_TEST(options_reach_their_fields),
        WTL_TEST(inputs_are_indices_of_earlier_layers),
        WTL_TEST(a_stride_left_out_is_the_kernel),
        WTL_TEST(what_is_not_said_has_its_default),
        WTL_TEST(windows_line_ends_tabs_and_a_missing_last_newline_are_fine),
        WTL_TEST(keywords_and_kinds_can_be_layer_names),
        WTL_TEST(widths_are_rounded_like_the_mobilenets),
        WTL_TEST(options_change_width_and_classes),
        WTL_TEST(options_that_change_nothing_are_refused),
        WTL_TEST(every_mistake_has_its_message_and_line),
        WTL_TEST(mistakes_of_the_head_have_their_message),
        WTL_TEST(every_bad_file_has_its_message),
        WTL_TEST(names_may_be_127_characters_long),
        WTL_TEST(too_many_layers_and_too_long_a_text_are_refused),
        WTL_TEST(the_text_need_not_end_in_a_nul),
        WTL_TEST(the_canonical_text_is_resolved_and_leaves_defaults_out),
        WTL_TEST(defaults_written_out_vanish),
        WTL_TEST(floats_come_back_bit_for_bit),
        WTL_TEST(one_mean_stands_for_equal_ones),
        WTL_TEST(a_copy_is_equal_and_its_own),
        WTL_TEST(shapes_follow_the_layers),
        WTL_TEST(a_shape_that_does_not_fit_names_its_layer),
        WTL_TEST(sizes_that_would_overflow_are_refused),
        WTL_TEST(the_inference_network_is_what_the_main_head_needs),
        WTL_TEST(without_a_main_softmax_the_last_layer_is_the_head),
        WTL_TEST(totals_count_what_is_trained_and_leave_auxiliary_heads_out),
        WTL_TEST(parameters_of_a_layer_are_listed_in_order),
        WTL_TEST(every_allocation_may_fail),
    };
    return WTL_RUN("netdef", tests);
}
