/* The loops, built once for each width of the machine's vectors: WIDTH is their size in bytes.

   Every output is a sum over rows of the input.  Rows are converted once and stay in a ring while outputs need them;
   a row of results is scaled, combined, mapped, rounded and stored before it leaves the cache.  Each result is made
   by the same operations in the same order as the reference's (convcli/engines/on_numpy/sums.py), so that its bits
   depend neither on the width, nor on how the work is cut. */

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "rows.h"

#define RUN 32             /* products in one running sum, as in convcli/engines/shift_and_add.py */
#define CACHE (96 * 1024)  /* bytes of a ring that share the second-level cache with rows of results (measured) */
#define MOST_LEVELS 32
#define LINES 6            /* rows between passes, beside those of the terms of separable kernels */
#define ROUNDED(v) (sizeof(v) == 4 ? __builtin_rintf((float)(v)) : __builtin_rint((double)(v)))
#define ROOT(v) (sizeof(v) == 4 ? __builtin_sqrtf((float)(v)) : __builtin_sqrt((double)(v)))
#define INLINE static inline __attribute__((always_inline))
#define APART static __attribute__((noinline))

/* What a job takes from the heap, given back together; where there is no more, the job ends. */
typedef struct Piece {
    struct Piece *next;
} Piece;

typedef struct {
    jmp_buf failed;
    Piece *volatile pieces;
} Memory;

/* Rows of one kind, remembered by their numbers. */
typedef struct {
    char *rows;
    int64_t *tags;
    int64_t slots, bytes;
} Ring;

/* Neighbours of a padded row that are neighbours in the data; from -1 they are the fill value.  In pixels. */
typedef struct {
    int64_t to, from, count;
} Run;

static void *take(Memory *memory, int64_t bytes) {
    Piece *piece = malloc((size_t)bytes + 128);
    if (!piece)
        longjmp(memory->failed, 1);
    piece->next = memory->pieces;
    memory->pieces = piece;
    return (void *)(((uintptr_t)(piece + 1) + 63) / 64 * 64);
}

static void begin_ring(Memory *memory, Ring *ring, int64_t slots, int64_t bytes) {
    ring->slots = slots;
    ring->bytes = (bytes + 63 + 64) / 64 * 64; /* rows do not share a line of the cache */
    ring->rows = take(memory, slots * ring->bytes);
    ring->tags = take(memory, slots * (int64_t)sizeof(int64_t));
}

static void forget(Ring *ring) {
    for (int64_t slot = 0; slot < ring->slots; slot++)
        ring->tags[slot] = -1;
}

/* Return the place of row y of slice z, and whether it is there already. */
static void *slot_of(Ring *ring, int64_t slot, int64_t z, int64_t y, int *is_there) {
    *is_there = ring->tags[slot] == (z << 32 | y);
    ring->tags[slot] = z << 32 | y;
    return ring->rows + slot * ring->bytes;
}

static int64_t extent_of(const Job *job, int axis) { return job->dilation[axis] * (job->kernel[axis] - 1) + 1; }

static int64_t size_of(int64_t type) { return type < U16 ? 1 : type < F32 ? 2 : type == F32 ? 4 : 8; }

/* Set `inside` to the first output along a row, and the one behind the last, that see neighbours in the data alone. */
static void find_inside(const Job *job, int64_t inside[2]) {
    const int64_t *from = job->from[2];
    int64_t extent = extent_of(job, 2), step = job->stride[2], size = (job->size[2] - 1) * step + extent;
    for (int64_t place = 0, stop = 0; from && place < size; place = stop) {
        for (stop = place + 1; from[place] >= 0 && stop < size && from[stop] == from[stop - 1] + 1; stop++)
            ;
        int64_t first = (place + step - 1) / step, last = (stop - extent + step) / step;
        if (place == 0 || last - first > inside[1] - inside[0])
            inside[0] = first, inside[1] = last > first ? last : first;
    }
}

#define T float
#define F float
#define TYPE F32
#define IN_FLOATS 1
#define LANE(weight) (float)(weight)
#define COUNTED(sum) (sum)
#define NAME(name) JOINED(name, float)
#define FINISH(name) NAME(name)
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
#undef IN_FLOATS
#undef LANE
#undef COUNTED
#undef NAME
#undef FINISH

#define T uint16_t
#define F float
#define TYPE U16
#define IN_FLOATS 0
#define LANE(weight) (uint16_t)(int16_t)(weight)
#define COUNTED(sum) (F)(((int32_t)(sum) ^ sign) - sign)
#define NAME(name) JOINED(name, short)
#define FINISH(name) JOINED(name, float)
#define SHORT
#include "loops.h"

/* Returns 0, or 1 where memory does not suffice. */
#define ENTRY_(width) convcli_rows_##width
#define ENTRY(width) ENTRY_(width)
int ENTRY(WIDTH)(Job *job) {
    Memory memory = {.pieces = NULL};
    int failed = setjmp(memory.failed);
    if (!failed)
        (job->lanes == SHORTS ? run_short : job->lanes == DOUBLES ? run_double : run_float)(job, &memory);
    while (memory.pieces) {
        Piece *piece = memory.pieces;
        memory.pieces = piece->next;
        free(piece);
    }
    return failed;
}
