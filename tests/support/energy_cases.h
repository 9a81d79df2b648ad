/* energy_cases.h - layers and accelerators of the published studies, for tests and benchmarks. */
#ifndef WTL_ENERGY_CASES_H
#define WTL_ENERGY_CASES_H

#include "wattle/energy.h"

#include <stdio.h>

/* Words cost the same in both directions, whatever the data. */
static inline void case_energies(wtl_hardware *hw, double dram, double buffer, double array,
                                 double rf)
{
    const double level[WTL_LEVEL_MAC] = {dram, buffer, array, rf};
    for (int i = 0; i < WTL_LEVEL_MAC * WTL_DATA_COMPUTATION; i++) {
        int at = i / WTL_DATA_COMPUTATION, type = i % WTL_DATA_COMPUTATION;
        hw->energy[at][type][WTL_READ] = level[at];
        hw->energy[at][type][WTL_WRITE] = level[at];
    }
    hw->mac_energy = 1.0;
}

/* An array small enough to count on paper: 6 x 4 PEs. */
static inline wtl_hardware case_small(wtl_accounting accounting)
{
    wtl_hardware hw = {.name = "small",
                       .accounting = accounting,
                       .rows = 6,
                       .columns = 4,
                       .grid = true,
                       .rf_words = {6, 3, 12},
                       .buffer_words = 300,
                       .weights_bypass_buffer = true,
                       .word_bits = 16};
    case_energies(&hw, 200, 6, 2, 1);
    return hw;
}

/* A square convolution; c, m: channels and filters of all groups. */
typedef struct case_shape {
    const char *name;
    int c, h, m, r, stride, pad, groups;
} case_shape;

static inline wtl_work_layer case_layer(const case_shape *s, int index, int images)
{
    int out = (s->h + 2 * s->pad - s->r) / s->stride + 1;
    wtl_work_layer layer = {.index = index,
                            .ifmap = {s->h, s->h, s->c, images, 0, 16},
                            .filter = {s->r, s->r, s->c / s->groups, s->m, 0, 16},
                            .ofmap = {out, out, s->m, images, 0, 16},
                            .stride = {s->stride, s->stride},
                            .dilation = {1, 1},
                            .pad = {s->pad, s->pad, s->pad, s->pad}};
    snprintf(layer.name, sizeof layer.name, "%s", s->name);
    return layer;
}

/* AlexNet (BVLC), groups of two in conv2, conv4 and conv5. */
enum { CASE_ALEXNET_LAYERS = 8 };
static const case_shape CASE_ALEXNET[CASE_ALEXNET_LAYERS] = {
    {"conv1", 3, 227, 96, 11, 4, 0, 1},  {"conv2", 96, 27, 256, 5, 1, 2, 2},
    {"conv3", 256, 13, 384, 3, 1, 1, 1}, {"conv4", 384, 13, 384, 3, 1, 1, 2},
    {"conv5", 384, 13, 256, 3, 1, 1, 2}, {"fc6", 256, 6, 4096, 6, 1, 0, 1},
    {"fc7", 4096, 1, 4096, 1, 1, 0, 1},  {"fc8", 4096, 1, 1000, 1, 1, 0, 1},
};

/* GoogLeNet (BVLC): stem, nine inceptions of six convolutions, classifier. */
enum { CASE_GOOGLENET_LAYERS = 58 };
static inline int case_googlenet(wtl_work_layer *layers, int images)
{
    static const int inceptions[9][8] = {
        /* h, c, 1x1, 3x3 reduced, 3x3, 5x5 reduced, 5x5, pool projection */
        {28, 192, 64, 96, 128, 16, 32, 32},     {28, 256, 128, 128, 192, 32, 96, 64},
        {14, 480, 192, 96, 208, 16, 48, 64},    {14, 512, 160, 112, 224, 24, 64, 64},
        {14, 512, 128, 128, 256, 24, 64, 64},   {14, 512, 112, 144, 288, 32, 64, 64},
        {14, 528, 256, 160, 320, 32, 128, 128}, {7, 832, 256, 160, 320, 32, 128, 128},
        {7, 832, 384, 192, 384, 48, 128, 128},
    };
    static const case_shape stem[3] = {{"conv1", 3, 224, 64, 7, 2, 3, 1},
                                       {"reduce", 64, 56, 64, 1, 1, 0, 1},
                                       {"conv2", 64, 56, 192, 3, 1, 1, 1}};
    int count = 0;
    for (int i = 0; i < 3; i++, count++) {
        layers[count] = case_layer(&stem[i], count + 1, images);
    }
    for (int i = 0; i < 9; i++) {
        const int *v = inceptions[i];
        const case_shape parts[6] = {
            {"1x1", v[1], v[0], v[2], 1, 1, 0, 1}, {"reduce", v[1], v[0], v[3], 1, 1, 0, 1},
            {"3x3", v[3], v[0], v[4], 3, 1, 1, 1}, {"reduce", v[1], v[0], v[5], 1, 1, 0, 1},
            {"5x5", v[5], v[0], v[6], 5, 1, 2, 1}, {"pool", v[1], v[0], v[7], 1, 1, 0, 1}};
        for (int part = 0; part < 6; part++, count++) {
            layers[count] = case_layer(&parts[part], count + 1, images);
        }
    }
    const case_shape classifier = {"classifier", 1024, 1, 1000, 1, 1, 0, 1};
    layers[count] = case_layer(&classifier, count + 1, images);
    return count + 1;
}

static inline wtl_mapping case_mapping(int m, int n, int e, int p, int q, int r, int t)
{
    return (wtl_mapping){WTL_ROW_STATIONARY, {.rs = {m, n, e, p, q, r, t}}};
}

#endif
