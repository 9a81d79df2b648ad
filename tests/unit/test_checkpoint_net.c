#include "wtl_test.h"

#include "wattle/checkpoint.h"
#include "wattle/memory.h"

#include <stdio.h>
#include <string.h>

static const char TEXT[] =
    "net pair\ninput data 2x6x6\n"
    "c1 = conv data out=3 kernel=3\nc2 = conv c1 out=2 kernel=3 bias=no\n";

static wtl_net *make_net(const char *text, uint64_t seed)
{
    wtl_error err;
    wtl_netdef *def;
    wtl_net *net;
    assert_ok(wtl_netdef_parse(&def, text, strlen(text), "pair.net", NULL, &err));
    assert_ok(wtl_net_create(&net, def, &(wtl_net_options){.batch = 1}, &err));
    wtl_netdef_free(def);
    wtl_net_init(net, seed);
    return net;
}

/* Every third weight of c1 is masked. */
static void mask_c1(wtl_net *net)
{
    wtl_param *w = wtl_net_find_param(net, "c1.weight");
    w->mask = wtl_alloc(w->count, sizeof(float));
    assert_non_null(w->mask);
    for (size_t i = 0; i < w->count; i++) {
        w->mask[i] = i % 3 == 0 ? 0.0f : 1.0f;
        w->value[i] *= w->mask[i];
    }
}

static wtl_checkpoint *save_and_read(wtl_net *net)
{
    wtl_error err;
    wtl_checkpoint *c;
    const char *path = wtl_test_path("pair.wtl");
    assert_ok(wtl_checkpoint_create(&c, &err));
    assert_ok(wtl_checkpoint_set_net(c, wtl_net_def(net), &err));
    assert_ok(wtl_checkpoint_add_net(c, net, &err));
    assert_ok(wtl_checkpoint_write(c, path, &err));
    wtl_checkpoint_free(c);
    assert_ok(wtl_checkpoint_read(&c, path, &err));
    return c;
}

static void assert_same_nets(wtl_net *got, wtl_net *want)
{
    assert_int_equal(wtl_net_param_count(got), 3);
    for (int i = 0; i < 3; i++) {
        const wtl_param *g = wtl_net_param(got, i), *w = wtl_net_param(want, i);
        assert_memory_equal(g->value, w->value, w->count * sizeof(float));
        assert_int_equal(g->mask != NULL, w->mask != NULL);
        if (w->mask) {
            assert_memory_equal(g->mask, w->mask, w->count * sizeof(float));
        }
    }
}

static void a_net_comes_back_with_its_masks(void **state)
{
    (void)state;
    wtl_error err;
    wtl_net *from = make_net(TEXT, 1), *to = make_net(TEXT, 2);
    mask_c1(from);
    wtl_checkpoint *c = save_and_read(from);
    assert_int_equal(wtl_checkpoint_tensor_count(c), 4);
    assert_true(wtl_checkpoint_find(c, "c1.weight.mask", NULL));
    assert_string_equal(wtl_checkpoint_net(c)->name, "pair");
    assert_ok(wtl_checkpoint_fill_net(c, to, &err));
    assert_same_nets(to, from);
    assert_ok(wtl_checkpoint_fill_net(c, to, &err)); /* over a mask that is there */
    assert_same_nets(to, from);
    wtl_checkpoint_free(c);
    wtl_net_free(from);
    wtl_net_free(to);
}

static void a_mask_that_the_checkpoint_lacks_goes_away(void **state)
{
    (void)state;
    wtl_error err;
    wtl_net *from = make_net(TEXT, 1), *to = make_net(TEXT, 2);
    mask_c1(to);
    wtl_checkpoint *c = save_and_read(from);
    assert_ok(wtl_checkpoint_fill_net(c, to, &err));
    assert_same_nets(to, from);
    wtl_checkpoint_free(c);
    wtl_net_free(from);
    wtl_net_free(to);
}

/* Fill a net seeded 2 from tensors put in by hand: refused, and the net is as it was. */
static void fill_fails(wtl_checkpoint *c, wtl_status status, const char *text)
{
    wtl_error err;
    wtl_net *net = make_net(TEXT, 2), *same = make_net(TEXT, 2);
    mask_c1(net);
    mask_c1(same);
    assert_fails(wtl_checkpoint_fill_net(c, net, &err), status, &err, text);
    assert_same_nets(net, same);
    wtl_net_free(net);
    wtl_net_free(same);
}

static void what_does_not_fit_is_named_and_leaves_the_net_alone(void **state)
{
    (void)state;
    static const size_t w1[] = {3, 2, 3, 3}, b1[] = {3}, w2[] = {2, 3, 3, 3}, flat[] = {54},
                        odd[] = {2, 3, 3, 4};
    static float values[72];
    float mask[54] = {[53] = 0.5f};
    wtl_error err;
    wtl_checkpoint *c;
    assert_ok(wtl_checkpoint_create(&c, &err));
    assert_ok(wtl_checkpoint_add(c, "c1.weight", 4, w1, values, &err));
    assert_ok(wtl_checkpoint_add(c, "c1.bias", 1, b1, values, &err));
    fill_fails(c, WTL_E_MISSING, "c2.weight: the checkpoint has no such tensor");
    assert_ok(wtl_checkpoint_add(c, "c2.weight", 4, w2, values, &err));
    assert_ok(wtl_checkpoint_add(c, "c2.weight.mask", 1, flat, mask, &err));
    fill_fails(c, WTL_E_SHAPE, "c2.weight.mask: the checkpoint has 54, the net takes 2x3x3x3");
    wtl_checkpoint_free(c);

    assert_ok(wtl_checkpoint_create(&c, &err));
    assert_ok(wtl_checkpoint_add(c, "c1.weight", 4, w1, values, &err));
    assert_ok(wtl_checkpoint_add(c, "c1.bias", 1, b1, values, &err));
    assert_ok(wtl_checkpoint_add(c, "c1.weight.mask", 4, w1, mask, &err));
    fill_fails(c, WTL_E_RANGE, "c1.weight.mask[53] is 0.5, a mask has 0 and 1");
    mask[53] = 1.0f;
    assert_ok(wtl_checkpoint_add(c, "c2.weight", 4, odd, values, &err));
    fill_fails(c, WTL_E_SHAPE, "c2.weight: the checkpoint has 2x3x3x4, the net takes 2x3x3x3");
    wtl_checkpoint_free(c);
}

static wtl_status add_one(void *net)
{
    wtl_error err;
    wtl_checkpoint *c;
    wtl_status status = wtl_checkpoint_create(&c, &err);
    if (status == WTL_OK) {
        status = wtl_checkpoint_add_net(c, net, &err);
    }
    wtl_checkpoint_free(c);
    return status;
}

typedef struct fill_case {
    wtl_checkpoint *c;
    wtl_net *net;
} fill_case;

static wtl_status fill_one(void *context)
{
    fill_case *f = context;
    wtl_error err;
    return wtl_checkpoint_fill_net(f->c, f->net, &err);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    wtl_error err;
    wtl_net *from = make_net(TEXT, 1), *to = make_net(TEXT, 2);
    mask_c1(from);
    wtl_test_every_allocation_fails(add_one, from);
    wtl_checkpoint *c = save_and_read(from);
    assert_ok(wtl_checkpoint_fill_net(c, to, &err)); /* from now on a mask replaces a mask */
    wtl_test_every_allocation_fails(fill_one, &(fill_case){c, to});
    wtl_checkpoint_free(c);
    wtl_net_free(from);
    wtl_net_free(to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(a_net_comes_back_with_its_masks),
        WTL_TEST(a_mask_that_the_checkpoint_lacks_goes_away),
        WTL_TEST(what_does_not_fit_is_named_and_leaves_the_net_alone),
        WTL_TEST(every_allocation_may_fail),
    };
    return WTL_RUN("checkpoint of a net", tests);
}
