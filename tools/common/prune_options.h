/* prune_options.h - options that prune and compare share: rows for their tables. */
#ifndef WTL_TOOLS_PRUNE_OPTIONS_H
#define WTL_TOOLS_PRUNE_OPTIONS_H

#include "options.h"
#include "progress.h"

#include "wattle/prune.h"

/* What the table cannot write into wtl_prune_options itself. */
typedef struct wtl_prune_extra {
    int optimizer, metric, allocation, granularity; /* enums as the table wants them */
    char keep[2048], exclude[2048];
} wtl_prune_extra;

void wtl_prune_extra_begin(wtl_prune_extra *extra, const wtl_prune_options *options);

/* Enums, --keep and --exclude into *options; threads and seed from *parsed. 0, or an exit code
 * when everything is said. */
int wtl_prune_extra_end(const wtl_prune_extra *extra, wtl_prune_options *options,
                        const wtl_parsed *parsed);

/* Where no augmentation was chosen: what the checkpoint was trained with, or suits the data. */
void wtl_cli_augment_of(wtl_prune_options *options);

/* wtl_prune_hooks that show progress and heed signals; context is a wtl_progress. */
wtl_prune_hooks wtl_cli_prune_hooks(wtl_progress *progress);

#define WTL_AT(T, field) offsetof(T, field), sizeof(((T *)0)->field)

/* clang-format off: rows are lines of a table */
/* NOLINTBEGIN(bugprone-macro-parentheses): the arguments are members, which take none */
/* T: the command's argument struct, o: its wtl_prune_options, x: its wtl_prune_extra. */
#define WTL_PRUNE_ENERGY_ROWS(T, o, x)                                                           \
    {"hw",                                                                                       \
     NULL,                                                                                       \
     "HW",                                                                                       \
     "the hardware: a name of 'wattle energy --hw-list' or a\n"                                  \
     "YAML file (default eyeriss-cvpr17)",                                                       \
     "Energy",                                                                                   \
     WTL_OPTION_TEXT,                                                                            \
     0,                                                                                          \
     WTL_AT(T, o.hardware),                                                                      \
     0,                                                                                          \
     0,                                                                                          \
     NULL},                                                                                      \
        {"hw-batch", "energy-batch", "N", "images that the hardware takes at once (default 44)", \
         NULL,       WTL_OPTION_INT, 0,   WTL_AT(T, o.pricing.batch),                            \
         1,          65536,          NULL},                                                      \
        {"bits", NULL,                                                                           \
         "N",    "width of all values (default 16)",                                             \
         NULL,   WTL_OPTION_INT,                                                                 \
         0,      WTL_AT(T, o.pricing.bits),                                                      \
         1,      32,                                                                             \
         NULL},                                                                                  \
        {"exclude",   NULL,                                                                      \
         "LAYER,...", "layers that are not pruned",                                              \
         NULL,        WTL_OPTION_TEXT,                                                           \
         0,           WTL_AT(T, x.exclude),                                                      \
         0,           0,                                                                         \
         NULL},                                                                                  \
    {                                                                                            \
        "keep", NULL, "LAYER=D,...", "the least density of a layer, 0 to 1", NULL,               \
            WTL_OPTION_TEXT, 0, WTL_AT(T, x.keep), 0, 0, NULL                                    \
    }

#define WTL_PRUNE_RECIPE_ROWS(T, o, x)                                                         \
    {"epochs",                                                                                 \
     NULL,                                                                                     \
     "E",                                                                                      \
     "epochs of fine-tuning a round, fractions too\n(default 1)",                              \
     "Fine-tuning",                                                                            \
     WTL_OPTION_DOUBLE,                                                                        \
     0,                                                                                        \
     WTL_AT(T, o.epochs),                                                                      \
     0,                                                                                        \
     1e5,                                                                                      \
     NULL},                                                                                    \
        {"final-epochs",                                                                       \
         NULL,                                                                                 \
         "E",                                                                                  \
         "epochs of the last one (default 2)",                                                 \
         NULL,                                                                                 \
         WTL_OPTION_DOUBLE,                                                                    \
         0,                                                                                    \
         WTL_AT(T, o.final_epochs),                                                            \
         0,                                                                                    \
         1e5,                                                                                  \
         NULL},                                                                                \
        {"lr",   NULL,                                                                         \
         "RATE", "first learning rate of a round (default 0.01)",                              \
         NULL,   WTL_OPTION_DOUBLE,                                                            \
         0,      WTL_AT(T, o.finetune.rate),                                                   \
         1e-12,  1e6,                                                                          \
         NULL},                                                                                \
        {"final-share",                                                                        \
         NULL,                                                                                 \
         "F",                                                                                  \
         "the last rate of a round as a share of --lr (default 0)",                            \
         NULL,                                                                                 \
         WTL_OPTION_DOUBLE,                                                                    \
         0,                                                                                    \
         WTL_AT(T, o.finetune.final_share),                                                    \
         0,                                                                                    \
         1,                                                                                    \
         NULL},                                                                                \
        {"optimizer",                                                                          \
         "opt",                                                                                \
         "NAME",                                                                               \
         "sgd, nesterov or adam (default nesterov)",                                           \
         NULL,                                                                                 \
         WTL_OPTION_CHOICE,                                                                    \
         0,                                                                                    \
         WTL_AT(T, x.optimizer),                                                               \
         0,                                                                                    \
         0,                                                                                    \
         wtl_optimizer_words},                                                                 \
        {"momentum", NULL,                                                                     \
         "M",        "momentum; adam's beta1 (default 0.9)",                                   \
         NULL,       WTL_OPTION_DOUBLE,                                                        \
         0,          WTL_AT(T, o.finetune.optimizer.momentum),                                 \
         0,          0.999999,                                                                 \
         NULL},                                                                                \
        {"weight-decay",                                                                       \
         "wd",                                                                                 \
         "D",                                                                                  \
         "weight decay (default 0.0005)",                                                      \
         NULL,                                                                                 \
         WTL_OPTION_DOUBLE,                                                                    \
         0,                                                                                    \
         WTL_AT(T, o.finetune.optimizer.weight_decay),                                         \
         0,                                                                                    \
         1,                                                                                    \
         NULL},                                                                                \
        {"clip", "clip-grad-norm",                                                             \
         "NORM", "largest l2 norm of the gradient (default: any)",                             \
         NULL,   WTL_OPTION_DOUBLE,                                                            \
         0,      WTL_AT(T, o.finetune.optimizer.clip_norm),                                    \
         1e-12,  1e9,                                                                          \
         NULL},                                                                                \
        {"label-smoothing",                                                                    \
         NULL,                                                                                 \
         "S",                                                                                  \
         "share of the target spread over all classes",                                        \
         NULL,                                                                                 \
         WTL_OPTION_FLOAT,                                                                     \
         0,                                                                                    \
         WTL_AT(T, o.finetune.smoothing),                                                      \
         0,                                                                                    \
         0.999,                                                                                \
         NULL},                                                                                \
        {"distill",                                                                            \
         NULL,                                                                                 \
         "A",                                                                                  \
         "weight of the dense network's answers in the loss, 0 to 1\n"                         \
         "(default 0: labels alone, as published)",                                            \
         NULL,                                                                                 \
         WTL_OPTION_DOUBLE,                                                                    \
         0,                                                                                    \
         WTL_AT(T, o.finetune.distill),                                                        \
         0,                                                                                    \
         1,                                                                                    \
         NULL},                                                                                \
        {"temperature",                                                                        \
         NULL,                                                                                 \
         "T",                                                                                  \
         "of distillation (default 2)",                                                        \
         NULL,                                                                                 \
         WTL_OPTION_DOUBLE,                                                                    \
         0,                                                                                    \
         WTL_AT(T, o.finetune.temperature),                                                    \
         0.01,                                                                                 \
         1000,                                                                                 \
         NULL},                                                                                \
        {"batch", "batch-size",   "N", "images in a step (default 128)",                       \
         NULL,    WTL_OPTION_INT, 'b', WTL_AT(T, o.batch),                                     \
         1,       65536,          NULL},                                                       \
        {"augment",                                                                            \
         NULL,                                                                                 \
         "NAME",                                                                               \
         "none, flip, cifar, imagenet or caffe, as for 'wattle train'\n(default: what the "    \
         "checkpoint was trained with)",                                                       \
         NULL,                                                                                 \
         WTL_OPTION_TEXT,                                                                      \
         0,                                                                                    \
         WTL_AT(T, o.augment),                                                                 \
         0,                                                                                    \
         0,                                                                                    \
         NULL},                                                                                \
    {                                                                                          \
        "recalibrate", NULL, "N",                                                              \
            "batches that batch norm is recalibrated over before any\n"                        \
            "judging (default 50; -1: none)",                                                  \
            NULL, WTL_OPTION_INT, 0, WTL_AT(T, o.recalibration), -1, 1e6, NULL                 \
    }

#define WTL_PRUNE_METHOD_ROWS(T, o, x)                                                         \
    {"granularity",                                                                            \
     NULL,                                                                                     \
     "NAME",                                                                                   \
     "weight, or 4x1: four consecutive filters share one\npattern (default weight)",           \
     "Method",                                                                                 \
     WTL_OPTION_CHOICE,                                                                        \
     0,                                                                                        \
     WTL_AT(T, x.granularity),                                                                 \
     0,                                                                                        \
     0,                                                                                        \
     wtl_granularity_words},                                                                   \
        {"search-images",                                                                      \
         NULL,                                                                                 \
         "N",                                                                                  \
         "training images on which zeros of activations are counted\n(default 512)",           \
         NULL,                                                                                 \
         WTL_OPTION_INT,                                                                       \
         0,                                                                                    \
         WTL_AT(T, o.search_images),                                                           \
         1,                                                                                    \
         1e6,                                                                                  \
         NULL},                                                                                \
        {"sample-images",                                                                      \
         NULL,                                                                                 \
         "N",                                                                                  \
         "of them, images that layers' outputs are sampled from\n"                             \
         "(energy-aware; default 128)",                                                        \
         NULL,                                                                                 \
         WTL_OPTION_INT,                                                                       \
         0,                                                                                    \
         WTL_AT(T, o.how.images),                                                              \
         1,                                                                                    \
         1e6,                                                                                  \
         NULL},                                                                                \
        {"positions", NULL,                                                                    \
         "N",         "outputs sampled in each map (energy-aware; default 16)",                \
         NULL,        WTL_OPTION_INT,                                                          \
         0,           WTL_AT(T, o.how.positions),                                              \
         1,           65536,                                                                   \
         NULL},                                                                                \
        {"allocation",                                                                         \
         NULL,                                                                                 \
         "RULE",                                                                               \
         "how far each layer goes (energy-aware): least-error, the\n"                          \
         "least sum of squared output errors for the energy;\n"                                \
         "equal-error, all to one relative output error; by-energy,\n"                         \
         "in proportion to its energy (default least-error)",                                  \
         NULL,                                                                                 \
         WTL_OPTION_CHOICE,                                                                    \
         0,                                                                                    \
         WTL_AT(T, x.allocation),                                                              \
         0,                                                                                    \
         0,                                                                                    \
         wtl_allocation_words},                                                                \
        {"overshoot",                                                                          \
         NULL,                                                                                 \
         "F",                                                                                  \
         "share of a layer removed beyond the goal, to be restored\n"                          \
         "(energy-aware; default 0.05; -1: none)",                                             \
         NULL,                                                                                 \
         WTL_OPTION_DOUBLE,                                                                    \
         0,                                                                                    \
         WTL_AT(T, o.how.reconstruct.overshoot),                                               \
         -1,                                                                                   \
         1,                                                                                    \
         NULL},                                                                                \
        {"restore-step",                                                                       \
         NULL,                                                                                 \
         "G",                                                                                  \
         "weights (blocks) restored at once (energy-aware; default 2)",                        \
         NULL,                                                                                 \
         WTL_OPTION_INT,                                                                       \
         0,                                                                                    \
         WTL_AT(T, o.how.reconstruct.restore_step),                                            \
         1,                                                                                    \
         64,                                                                                   \
         NULL},                                                                                \
        {"ridge",                                                                              \
         NULL,                                                                                 \
         "R",                                                                                  \
         "pull of the least squares towards the old weights, as a\n"                           \
         "share of the mean diagonal (energy-aware; default 1e-4,\n"                           \
         "or 1e-2 with few samples; -1: none)",                                                \
         NULL,                                                                                 \
         WTL_OPTION_DOUBLE,                                                                    \
         0,                                                                                    \
         WTL_AT(T, o.how.reconstruct.ridge),                                                   \
         -1,                                                                                   \
         1e6,                                                                                  \
         NULL},                                                                                \
        {"probes",                                                                             \
         NULL,                                                                                 \
         "N",                                                                                  \
         "densities at which a layer's error is looked at\n(energy-aware, equal-error; "       \
         "default 6)",                                                                         \
         NULL,                                                                                 \
         WTL_OPTION_INT,                                                                       \
         0,                                                                                    \
         WTL_AT(T, o.how.probes),                                                              \
         2,                                                                                    \
         100,                                                                                  \
         NULL},                                                                                \
        {"inputs-original",                                                                    \
         NULL,                                                                                 \
         NULL,                                                                                 \
         "layers' inputs from the dense network, not the pruned one\n(energy-aware)",          \
         NULL,                                                                                 \
         WTL_OPTION_FLAG,                                                                      \
         0,                                                                                    \
         WTL_AT(T, o.how.inputs_original),                                                     \
         0,                                                                                    \
         0,                                                                                    \
         NULL},                                                                                \
        {"targets-dense",                                                                      \
         NULL,                                                                                 \
         NULL,                                                                                 \
         "layers' targets from the dense network, not from the one\nbefore the round "         \
         "(energy-aware)",                                                                     \
         NULL,                                                                                 \
         WTL_OPTION_FLAG,                                                                      \
         0,                                                                                    \
         WTL_AT(T, o.how.targets_dense),                                                       \
         0,                                                                                    \
         0,                                                                                    \
         NULL},                                                                                \
        {"no-restore",                                                                         \
         NULL,                                                                                 \
         NULL,                                                                                 \
         "leave out restoring (energy-aware)",                                                 \
         NULL,                                                                                 \
         WTL_OPTION_FLAG,                                                                      \
         0,                                                                                    \
         WTL_AT(T, o.how.no_restore),                                                          \
         0,                                                                                    \
         0,                                                                                    \
         NULL},                                                                                \
    {                                                                                          \
        "no-fit", NULL, NULL, "leave out least squares (energy-aware)", NULL, WTL_OPTION_FLAG, \
            0, WTL_AT(T, o.how.no_fit), 0, 0, NULL                                             \
    }

#define WTL_PRUNE_RUNNING_ROWS(T, o)                                                           \
    {"workers", NULL,                                                                          \
     "N",       "decoding threads (default 1)",                                                \
     "Running", WTL_OPTION_INT,                                                                \
     'j',       WTL_AT(T, o.workers),                                                          \
     1,         256,                                                                           \
     NULL},                                                                                    \
    {                                                                                          \
        "save-minutes", NULL, "M", "minutes between two checkpoints (default 5)", NULL,        \
            WTL_OPTION_DOUBLE, 0, WTL_AT(T, o.save_minutes), 1e-4, 1e6, NULL                   \
    }
/* NOLINTEND(bugprone-macro-parentheses) */
/* clang-format on */

#endif
