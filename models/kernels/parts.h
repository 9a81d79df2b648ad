/* parts.h - how many parts a sweep over memory is cut into. */
#ifndef WTL_PARTS_H
#define WTL_PARTS_H

/* Waking a thread costs as much as a sweep over about this many floats. */
enum { WTL_PART_FLOATS = 16 * 1024 };

/* Parts for `threads` threads, of `units` that cannot be split, touching `floats` in all.
 * Only for sweeps whose result does not depend on the number of parts. */
static inline int wtl_parts(long units, long floats, int threads)
{
    long parts = 1 + floats / WTL_PART_FLOATS;
    parts = parts < units ? parts : units;
    parts = parts < threads ? parts : threads;
    return parts < 1 ? 1 : (int)parts;
}

#endif
