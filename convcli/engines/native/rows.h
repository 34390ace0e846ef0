/* What a caller asks of the loops (`convcli.engines.native.library` has the same fields), and where they lie. */
#ifndef CONVCLI_ROWS_H
#define CONVCLI_ROWS_H

#include <stddef.h>
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))
#define APART static __attribute__((noinline))

#define CONVCLI_ABI 8

enum type { U8, I8, U16, I16, F32, F64, U32 };           /* the last for sums alone */
enum form { DENSE, SEPARABLE, REDUCE, FIND, CLEAR, NETWORK, HISTOGRAM };
/* All taps; one pass an axis; windows that share their parts; magnitudes in cells: sizes are of the data, kernel of a
   cell; samples of certain ranks, by comparisons or by counting (ranks.c). */
enum combine { NONE, MAGNITUDE, MAXIMUM, SUM };          /* of several kernels */
enum reduce { ADD, GREATEST, LEAST };
enum scale { AS_IT_IS, TIMES, DIVIDED_BY };
enum lanes { FLOATS, DOUBLES, SHORTS, WORDS, FINE, KEYS };/* exact sums of integers, modulo 2**16 and 2**32; those of
                                                            the last are finished as doubles; samples of 1, 2, 4, 8 bytes */

/* Sizes are of the output; three axes of space, the last of them a run of neighbours in memory.  Steps are in bytes. */
typedef struct {
    const char *x;
    char *y;
    const double *weights; /* dense: (maps, channels, z, y, x); separable: (terms, z + y + x); a network: its steps */
    const double *bias;    /* one for each map, or NULL */
    const int64_t *from[3]; /* which sample of the data stands at each place, -1 for the fill value; or NULL */
    int64_t x_type, y_type, lanes, form, combine, reduce, scale;
    int64_t items, maps, channels;
    int64_t size[3], kernel[3], stride[3], dilation[3];
    int64_t pixel; /* neighbours along the last axis are so many elements apart */
    int64_t x_item, x_channel, x_z, x_y, y_item, y_map, y_z, y_y;
    int64_t finite;     /* the data hold no NaN and no infinity: taps of weight zero may be left out */
    int64_t with_sign;  /* these are signed */
    int64_t is_rendered, is_rounded, is_absolute, fits; /* convcli.pixels.render.Rendering; whether it only rounds */
    int64_t steps, lines;  /* of a network */
    const char *ranks;     /* from 0, of 64 bits: the same for all outputs, or one for each */
    int64_t rank_steps[5]; /* along items, maps, z, y, x */
    double factor, fill; /* by which sums are scaled; what stands outside */
    double anchor, width, times, offset, low, top;
    int64_t clipped, nans; /* counted by the loops */
} Job;

/* Neighbours of a padded row that are neighbours in the data; from -1 they are the fill value.  In pixels. */
typedef struct {
    int64_t to, from, count;
} Run;

/* Note the runs of n pixels from x on, which are numbered with their padding; return their number. */
INLINE int64_t find_runs(const Job *job, int64_t x, int64_t n, Run *runs) {
    const int64_t *from = job->from[2] ? job->from[2] + x : NULL;
    int64_t count = 0;
    if (!from)
        runs[count++] = (Run){0, x, n};
    for (int64_t place = 0, stop = 0; from && place < n; place = stop) {
        for (stop = place + 1; stop < n && from[stop] == (from[place] < 0 ? -1 : from[stop - 1] + 1);)
            stop++;
        runs[count++] = (Run){place, from[place], stop - place};
    }
    return count;
}

#define ENTRY_(width, lanes) convcli_rows_##width##_##lanes
#define ENTRY(width, lanes) ENTRY_(width, lanes)

#endif
