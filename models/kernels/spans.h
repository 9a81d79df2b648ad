/* spans.h - sweeps over values whose order does not matter: a part's share of the values of n
 * images, as spans that lie within an image. A map in NCHW is one in which images follow each
 * other at once.
 *
 *   wtl_span s = wtl_span_first(count, n, part, parts);
 *   for (; s.length > 0; wtl_span_next(&s)) {
 *       sweep(x + s.image * x_image + s.at, s.length);
 *   }
 */
#ifndef WTL_SPANS_H
#define WTL_SPANS_H

#include "wattle/threads.h"

typedef struct wtl_span {
    size_t image, at, length; /* length 0: the share is done */
    size_t left, count;       /* of the share behind it; of an image */
} wtl_span;

static inline wtl_span wtl_span_first(size_t count, int n, int part, int parts)
{
    long all = (long)(count * (size_t)n), begin, end;
    wtl_share(all, part, parts, &begin, &end);
    wtl_span s = {.count = count};
    if (count > 0 && end > begin) {
        s.image = (size_t)begin / count;
        s.at = (size_t)begin % count;
        s.left = (size_t)(end - begin);
        s.length = s.left < count - s.at ? s.left : count - s.at;
        s.left -= s.length;
    }
    return s;
}

static inline void wtl_span_next(wtl_span *s)
{
    s->image++;
    s->at = 0;
    s->length = s->left < s->count ? s->left : s->count;
    s->left -= s->length;
}

#endif
