/* preprocess.h - how a picture becomes a network's input. Stored in the net text and in
 * every checkpoint, so that it is never a matter of memory.
 *
 *   value = (pixel * scale - mean[c]) / deviation[c]        pixel 0..255
 *
 * Caffe:       scale 1,      means 104 117 123 (B G R), deviation 1
 * torchvision: scale 1/255,  means .485 .456 .406,      deviation .229 .224 .225
 */
#ifndef WATTLE_PREPROCESS_H
#define WATTLE_PREPROCESS_H

#include "wattle/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { WTL_MAX_IMAGE_CHANNELS = 4 };

typedef enum wtl_channel_order {
    WTL_ORDER_RGB, /* also used for one channel */
    WTL_ORDER_BGR
} wtl_channel_order;

typedef enum wtl_resize_rule {
    WTL_RESIZE_NONE, /* the picture has the right size already, or is only cropped */
    WTL_RESIZE_WARP, /* to resize x resize, whatever the aspect (Caffe) */
    WTL_RESIZE_SHORT /* short side to resize, aspect kept (torchvision) */
} wtl_resize_rule;

typedef struct wtl_preprocess {
    int channels, height, width; /* of the network's input; 1 or 3 channels */
    wtl_channel_order order;
    wtl_resize_rule rule;
    int resize; /* pixels; 0 with WTL_RESIZE_NONE; then the centre is cropped */
    float scale;
    float mean[WTL_MAX_IMAGE_CHANNELS];
    float deviation[WTL_MAX_IMAGE_CHANNELS];
} wtl_preprocess;

#ifdef __cplusplus
}
#endif
#endif
