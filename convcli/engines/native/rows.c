/* The loops, built once for each width of the machine's vectors: WIDTH is their size in bytes.

   Every output is a sum over rows of the input.  Rows are converted once and stay in a ring while outputs need them;
   a row of results is scaled, combined, mapped, rounded and stored before it leaves the cache.  Each result is made
   by the same operations in the same order as the reference's (convcli/engines/on_numpy/sums.py), so that its bits
   depend neither on the width, nor on how the work is cut. */

#include <stdlib.h>
#include <string.h>

#include "rows.h"

#define RUN 32               /* products in one running sum, as in convcli/engines/shift_and_add.py */
#define STRIP (192 * 1024)   /* bytes of a ring that share the second-level cache with rows of results (measured) */
#define MOST_LEVELS 32
#define ROUNDED(v) (sizeof(v) == 4 ? __builtin_rintf((float)(v)) : __builtin_rint((double)(v)))
#define ROOT(v) (sizeof(v) == 4 ? __builtin_sqrtf((float)(v)) : __builtin_sqrt((double)(v)))
#define INLINE static inline __attribute__((always_inline))
#define APART static __attribute__((noinline))

/* Rows of one kind, remembered by their number; `tags` is -1 where nothing is remembered. */
typedef struct {
    char *rows;
    int64_t *tags;
    int64_t slots, bytes;
} Ring;

/* Neighbours of a padded row that are neighbours in the data; from -1 they are the fill value.  In pixels. */
typedef struct {
    int64_t to, from, count;
} Run;

static int ring_of(Ring *ring, int64_t slots, int64_t bytes) {
    ring->slots = slots;
    ring->bytes = (bytes + 63 + 64) / 64 * 64; /* rows do not share a line of the cache */
    ring->rows = malloc((size_t)(slots * ring->bytes + 1));
    ring->tags = malloc((size_t)(slots + 1) * sizeof(int64_t));
    return ring->rows && ring->tags;
}

static void forget(Ring *ring) {
    for (int64_t slot = 0; slot < ring->slots; slot++)
        ring->tags[slot] = -1;
}

static void free_ring(Ring *ring) {
    free(ring->rows);
    free(ring->tags);
}

static int64_t extent_of(const Job *job, int axis) {
    return job->dilation[axis] * (job->kernel[axis] - 1) + 1;
}

static int64_t size_of(int64_t type) {
    static const int64_t sizes[] = {1, 1, 2, 2, 4, 8};
    return sizes[type];
}

#define T float
#define F float
#define TYPE F32
#define LANE(weight) (float)(weight)
#define NAME(name) JOINED(name, float)
#include "loops.h"
#undef T
#undef F
#undef TYPE
#undef LANE
#undef NAME

#define T double
#define F double
#define TYPE F64
#define LANE(weight) (weight)
#define NAME(name) JOINED(name, double)
#include "loops.h"
#undef T
#undef F
#undef TYPE
#undef LANE
#undef NAME

#define T uint16_t
#define F float
#define TYPE U16
#define LANE(weight) (uint16_t)(int16_t)(weight)
#define NAME(name) JOINED(name, short)
#define SHORT
#include "loops.h"

/* Returns 0, or 1 where memory does not suffice. */
#define ENTRY_(width) convcli_rows_##width
#define ENTRY(width) ENTRY_(width)
int ENTRY(WIDTH)(Job *job) {
    switch (job->lanes) {
    case SHORTS:
        return run_short(job);
    case DOUBLES:
        return run_double(job);
    default:
        return run_float(job);
    }
}
