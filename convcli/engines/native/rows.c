/* The loops, built for each width of the machine's vectors and each type of lanes: WIDTH is the vectors' size in bytes,
   T the type in which sums are made, F the one in which they are finished.

   Every output is a sum over rows of the input.  Rows are converted once and stay in a ring while outputs need them;
   a row of results is scaled, combined, mapped, rounded and stored before it leaves the cache.  Each result is made
   by the same operations in the same order as the reference's (convcli/engines/on_numpy/sums.py), so that its bits
   depend neither on the width, nor on how the work is cut. */

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "rows.h"

#if LANES == 0
typedef float T, Signed, F;
typedef int32_t Bits;
#define TYPE F32
#elif LANES == 1
typedef double T, Signed, F;
typedef int64_t Bits;
#define TYPE F64
#elif LANES == 2 /* exact sums of integers, modulo 2**16 */
typedef uint16_t T;
typedef int16_t Signed, Bits;
typedef float F;
#define TYPE U16
#else /* modulo 2**32 */
typedef uint32_t T;
typedef int32_t Signed, Bits;
#if LANES == 3
typedef float F;
#else
typedef double F;
#endif
#define TYPE U32
#endif
#define LANE(weight) (T)(Signed)(weight)
#define IN_FLOATS (LANES < 2)
#define COUNTED(sum) (IN_FLOATS || with_sign ? (F)(Signed)(sum) : (F)(sum))
#define OF_TYPE(code, DO)                                                                                            \
    switch (code) {                                                                                                  \
    case U8: DO(uint8_t) break;                                                                                      \
    case I8: DO(int8_t) break;                                                                                       \
    case U16: DO(uint16_t) break;                                                                                    \
    case I16: DO(int16_t) break;                                                                                     \
    case F32: DO(float) break;                                                                                       \
    case U32: DO(uint32_t) break;                                                                                    \
    default: DO(double)                                                                                              \
    }

#define RUN 32             /* products in one running sum, as in convcli/engines/shift_and_add.py */
#define CACHE (384 * 1024) /* bytes of a ring that share the second-level cache with rows of results (measured) */
#define MOST_LEVELS 32
#define FOLD 96            /* elements of neighbouring pixels whose magnitudes are compared at once */
#define CELLS 2048         /* elements of a row whose largest magnitudes stay in the first-level cache */
#define TOGETHER (LANES == 2 ? 4 : 2) /* rows of sums that are made at a time, for they share most of their data */
#define WIDE (8 / TOGETHER)           /* vectors of each that are made in registers at a time */
#define FEW 6              /* so many neighbours are reduced one by one where the order does not matter (measured) */
#define PAIR (2 * SLOTS)   /* elements of rows that are reduced together: of more, processors foresee fewer loads */
enum line { DOWN, ALONG, KEPT, SLICES, PARTS }; /* rows between passes; parts of windows, or those of separable terms */
#define ROUNDED(v) (sizeof(v) == 4 ? __builtin_rintf((float)(v)) : __builtin_rint((double)(v)))
#define ROOT(v) (sizeof(v) == 4 ? __builtin_sqrtf((float)(v)) : __builtin_sqrt((double)(v)))

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

static void *take(Memory *memory, int64_t bytes) {
    Piece *piece = malloc((size_t)bytes + 128);
    if (!piece)
        longjmp(memory->failed, 1);
    piece->next = memory->pieces;
    memory->pieces = piece;
    return (void *)(((uintptr_t)(piece + 1) + 63) / 64 * 64);
}

#define TAKE(memory, type, count) take(memory, (int64_t)(count) * (int64_t)sizeof(type))

static void begin_ring(Memory *memory, Ring *ring, int64_t slots, int64_t bytes) {
    ring->slots = slots;
    ring->bytes = (bytes + 63 + 64) / 64 * 64; /* rows do not share a line of the cache */
    ring->rows = take(memory, slots * ring->bytes);
    ring->tags = TAKE(memory, int64_t, slots);
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

static int64_t size_of(int64_t type) { return type < U16 ? 1 : type < F32 ? 2 : type == F64 ? 8 : 4; }

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

typedef T Vector __attribute__((vector_size(WIDTH), aligned(sizeof(T)), may_alias));
#define SLOTS ((int64_t)(WIDTH / sizeof(T)))
#define BLOCK ((int64_t)(8 * WIDTH / sizeof(T))) /* sums of a row that are made in registers at a time */

/* A product of one row of sums, or of neighbours. */
typedef struct {
    const T *row;      /* what is multiplied: the row at `place`, from `offset` on */
    int64_t place, offset;
    int which;         /* bit r is set where it is added to row r of sums */
    T weights[TOGETHER];
} Product;

typedef struct {
    int64_t planes, tall, wide; /* of the taps, those of weight zero too */
    const int64_t *offsets;     /* of the columns */
    int together, leaves;       /* rows of sums */
    int *ends;                  /* where each leaf of the sum's tree ends among the products */
    Product *all;
    int64_t used;
} Products;

typedef struct {
    Job *job;
    Memory *memory;
    Ring inputs, sums; /* converted rows; for REDUCE all levels, for SEPARABLE results along z */
    int64_t depth, height; /* slices, and rows of each, in the ring of inputs */
    int64_t chunk;     /* rows of outputs that are made of a slice before the next slice */
    int64_t outputs;   /* elements of a row of results in the strip */
    int64_t wide;      /* elements of a row of the input that they need */
    int64_t phase;     /* elements of a row at one of the stride's phases */
    int is_direct;     /* rows are read where they lie */
    int together;      /* rows of results that are made at a time */
    Run *runs, *longest; /* where a row of the input comes from */
    int64_t run_count;
    const char *item;
    int64_t z;
    int levels;        /* of reductions along y: of 1, 2, 4 ... rows */
    int64_t ahead;     /* rows of the data that were asked for */
    int64_t begun, come; /* rows of the chunk of which all reductions are made */
    int64_t level_first[MOST_LEVELS], level_slots[MOST_LEVELS];
    Products *products;
    const T **sources, **made;
    T **lines, *blank;
    char *outside;     /* a row of the fill value, of the data's type */
} Work;

/* Sums in registers */

INLINE void multiply(const Products *products, int leaf, T *const *out, int64_t x, int64_t to, int rows, int wide) {
    const Product *one = products->all + products->ends[leaf], *stop = products->all + products->ends[leaf + 1];
    Vector sums[TOGETHER][8] = {{{0}}}, data[8];
    for (; one < stop; one++) {
        for (int i = 0; i < wide; i++)
            data[i] = ((const Vector *)(one->row + x + to))[i];
        for (int row = 0; row < rows; row++)
            if (rows == 1 || one->which >> row & 1)
                for (int i = 0; i < wide; i++)
                    sums[row][i] += (one->weights[row] - (Vector){0}) * data[i];
    }
    for (int row = 0; row < rows; row++)
        for (int i = 0; row < products->together && i < wide; i++)
            ((Vector *)(out[row] + to))[i] = sums[row][i];
}

/* Set BLOCK sums of each row, from x on: few products in turn, many as the sum of halves. */
APART void add_up(const Products *products, int64_t taps, int *leaf, T *const *out, int64_t x) {
    T rest[TOGETHER][BLOCK], *const halves[4] = {rest[0], rest[1], rest[TOGETHER - 2], rest[TOGETHER - 1]};
    if (taps > RUN) {
        add_up(products, taps / 2, leaf, out, x);
        add_up(products, taps - taps / 2, leaf, halves, x);
        for (int row = 0; row < products->together; row++)
            for (int64_t i = 0; i < BLOCK; i++)
                out[row][i] = (T)(out[row][i] + rest[row][i]);
        return;
    }
    if (products->together == 1)
        multiply(products, *leaf, out, x, 0, 1, 8);
    else
        for (int64_t to = 0; to < BLOCK; to += WIDE * SLOTS)
            multiply(products, *leaf, out, x, to, TOGETHER, WIDE);
    ++*leaf;
}

/* Where the block begins that holds output x of a row: the last one goes back and makes some outputs again. */
INLINE int64_t start(int64_t x, int64_t size) { return x + BLOCK > size && size >= BLOCK ? size - BLOCK : x; }

/* Set BLOCK sums of each row, from x on. */
static void sums_of(const Products *products, T *const *out, int64_t x) {
    int leaf = 0;
    add_up(products, products->planes * products->tall * products->wide, &leaf, out, x);
}

/* Set whole rows of sums. */
static void pass(const Products *products, T *const *out, int64_t size) {
    for (int64_t x = 0; x < size; x += BLOCK) {
        T *to[TOGETHER];
        for (int row = 0; row < products->together; row++)
            to[row] = out[row] + start(x, size);
        sums_of(products, to, start(x, size));
    }
}

static void find(Products *products, const T *const *sources) {
    for (Product *one = products->all; one < products->all + products->used; one++)
        one->row = sources[one->place] + one->offset;
}

/* Note the products of the taps lo to hi, in the leaves of the tree of their sum. */
static void begin_leaves(Products *products, const double *weights, int64_t lo, int64_t hi, int skip_zeros) {
    int64_t wide = products->wide, tall = products->tall, middle = lo + (hi - lo) / 2;
    if (hi - lo > RUN) {
        begin_leaves(products, weights, lo, middle, skip_zeros);
        begin_leaves(products, weights, middle, hi, skip_zeros);
        return;
    }
    for (int64_t plane = lo / wide / tall; plane <= (hi - 1) / wide / tall; plane++) {
        int64_t y = lo / wide - plane * tall, last = (hi - 1) / wide - plane * tall;
        for (y = y > 0 ? y : 0; y < (last < tall ? last : tall - 1) + products->together; y++)
            for (int64_t x = 0; x < wide; x++) {
                Product one = {NULL, plane * (tall + products->together - 1) + y, products->offsets[x], 0, {0}};
                for (int64_t of = 0; of < products->together; of++) {
                    int64_t tap = (plane * tall + y - of) * wide + x;
                    if (y < of || y >= tall + of || tap < lo || tap >= hi || (skip_zeros && weights[tap] == 0))
                        continue;
                    one.weights[of] = LANE(weights[tap]);
                    one.which |= 1 << of;
                }
                if (one.which)
                    products->all[products->used++] = one;
            }
    }
    products->ends[++products->leaves] = (int)products->used;
}

static void begin(Memory *memory, Products *products, Products made, const double *weights, int skip_zeros) {
    int64_t taps = made.planes * made.tall * made.wide;
    *products = made;
    products->ends = TAKE(memory, int, taps + 1);
    products->ends[0] = 0;
    products->all = TAKE(memory, Product, made.together * taps);
    begin_leaves(products, weights, 0, taps, skip_zeros);
}

/* From sums to results */

#define EACH(do)                                                                                                     \
    for (int64_t i = 0; i < n; i++)                                                                                  \
        to[i] = do;

/* Set `to`, which may be `sums`, to what a map's sums are worth, with its bias. */
APART void scale(const Job *job, F *to, const T *sums, int64_t n, int64_t map) {
    F factor = (F)job->factor;
    int with_sign = job->with_sign != 0;
    if (job->scale == TIMES)
        EACH(COUNTED(sums[i]) * factor)
    else if (job->scale == DIVIDED_BY)
        EACH(COUNTED(sums[i]) / factor)
    else if (to != (const void *)sums)
        EACH(COUNTED(sums[i]))
    if (job->bias) {
        F bias = (F)job->bias[map];
        EACH(to[i] + bias)
    }
}

/* Add a map's results to those of the maps before it. */
static void join(const Job *job, F *to, F *values, int64_t n, int is_first) {
    for (int64_t i = 0; job->combine == MAGNITUDE && i < n; i++)
        values[i] *= values[i];
    if (is_first)
        EACH(values[i])
    else if (job->combine == MAXIMUM)
        EACH(to[i] > values[i] || to[i] != to[i] ? to[i] : values[i])
    else
        EACH(to[i] + values[i])
}

/* Round n values, count and cut what is outside, and store them. */
#define KEEP(type, value)                                                                                            \
    if (job->fits)                                                                                                   \
        for (int64_t i = 0; i < n; i++)                                                                              \
            ((type *)place)[i] = (type)(int32_t)ROUNDED(value);                                                      \
    else                                                                                                             \
        for (int64_t i = 0; i < n; i++) {                                                                            \
            F whole = (F)ROUNDED(value), kept = whole > low ? whole : low; /* NaN too */                             \
            kept = kept < top ? kept : top;                                                                          \
            nans += whole != whole;                                                                                  \
            cut += kept != whole;                                                                                    \
            ((type *)place)[i] = (type)(int32_t)kept;                                                                \
        }
#define STORE(type) KEEP(type, to[i])
#define ROUND(type) KEEP(type, COUNTED(sums[i]) * factor)
#define QUOTIENT(type) KEEP(type, COUNTED(sums[i]) / factor)

/* What convcli.pixels.render.render does. */
APART void store(Job *job, F *restrict to, int64_t n, char *restrict place) {
    F anchor = (F)job->anchor, width = (F)job->width, times = (F)job->times, offset = (F)job->offset;
    F low = (F)job->low, top = (F)job->top;
    int32_t cut = 0, nans = 0;
    if (!job->is_rendered) {
        memcpy(place, to, (size_t)n * sizeof(F));
        return;
    }
    if (job->is_absolute)
        EACH(to[i] < 0 ? -to[i] : to[i])
    if (anchor != 0 || width != 1)
        EACH((to[i] - anchor) / width)
    if (times != 1 || offset != 0)
        EACH(to[i] * times + offset)
    OF_TYPE(job->y_type, STORE)
    job->clipped += cut - nans;
    job->nans += nans;
}

/* Store n sums of a map as results; mostly they are only scaled, rounded and cut. */
APART void finish(Job *job, const T *sums, int64_t n, int64_t map, char *restrict place) {
    F values[BLOCK], factor = (F)(job->scale == AS_IT_IS ? 1 : job->factor), low = (F)job->low, top = (F)job->top;
    int with_sign = job->with_sign != 0;
    int32_t cut = 0, nans = 0;
    if (!job->is_rounded) {
        for (int64_t x = 0, count; x < n; x += count) {
            count = n - x < BLOCK ? n - x : BLOCK;
            scale(job, values, sums + x, count, map);
            store(job, values, count, place + x * size_of(job->y_type));
        }
    } else if (job->scale == DIVIDED_BY)
        OF_TYPE(job->y_type, QUOTIENT)
    else
        OF_TYPE(job->y_type, ROUND)
    job->clipped += cut - nans;
    job->nans += nans;
}

/* Make rows of results of a map, or of what several combine to; the first `done` of them are there already. */
static void emit(Work *work, int64_t maps, int64_t map, int count, int done, char *to) {
    Job *job = work->job;
    int64_t n, size = work->outputs, item = size_of(job->y_type);
    int in_place = IN_FLOATS && !job->is_rendered && job->combine == NONE && size >= BLOCK;
    for (int64_t x = 0; x < size; x += BLOCK) {
        int64_t from = start(x, size), again = x - from;
        n = size - from < BLOCK ? size - from : BLOCK;
        F total[TOGETHER][BLOCK];
        for (int64_t index = map; index < map + maps; index++) {
            T sums[TOGETHER][BLOCK], *made[TOGETHER];
            for (int row = 0; row < count; row++)
                made[row] = in_place ? (T *)(to + row * job->y_y) + from : sums[row];
            sums_of(work->products + index, made, from);
            for (int row = in_place ? 0 : done; row < count; row++) {
                F scaled[BLOCK], *values = IN_FLOATS ? (F *)(void *)made[row] : scaled;
                if (job->combine == NONE && !in_place) {
                    finish(job, made[row] + again, n - again, index, to + row * job->y_y + x * item);
                    continue;
                }
                scale(job, values, made[row], n, index);
                if (!in_place)
                    join(job, total[row], values, n, index == map);
            }
        }
        for (int row = done; job->combine != NONE && row < count; row++) {
            for (int64_t i = 0; job->combine == MAGNITUDE && i < n; i++)
                total[row][i] = ROOT(total[row][i]);
            store(job, total[row] + again, n - again, to + row * job->y_y + x * item);
        }
    }
}

/* Rows of the input */

#define CONVERT(type) EACH((T)((const type *)from)[i])
#define SLIDE(type) EACH((T)(to[i] + (T)((const type *)come)[i] - (T)(gone ? ((const type *)gone)[i] : 0)))

APART void convert(T *restrict to, const char *restrict from, int64_t type, int64_t n) { OF_TYPE(type, CONVERT) }
APART void slide(T *restrict to, const char *come, const char *gone, int64_t type, int64_t n) { OF_TYPE(type, SLIDE) }

static void read(const Work *work, T *to, const char *from) {
    const Job *job = work->job;
    int64_t size = job->pixel * size_of(job->x_type);
    for (const Run *run = work->runs; run < work->runs + work->run_count; run++)
        if (from && run->from >= 0)
            convert(to + run->to * job->pixel, from + run->from * size, job->x_type, run->count * job->pixel);
        else
            memcpy(to + run->to * job->pixel, work->blank, (size_t)(run->count * job->pixel) * sizeof(T));
}

/* Keep every step-th of the pixels of a row. */
APART void thin(T *restrict to, const T *restrict from, int64_t count, int64_t step, int64_t pixel) {
    for (int64_t i = 0; pixel == 1 && i < count; i++)
        to[i] = from[i * step];
    for (int64_t i = 0; pixel > 1 && i < count; i++)
        for (int64_t c = 0; c < pixel; c++)
            to[i * pixel + c] = from[i * step * pixel + c];
}

/* Sort a row by the phases of the stride: neighbours of a phase then lie beside each other. */
static void split(const Work *work, T *to, const T *from) {
    int64_t step = work->job->stride[2], pixel = work->job->pixel, all = work->wide / pixel;
    for (int64_t rest = 0; rest < step && rest < all; rest++)
        thin(to + rest * work->phase, from + rest * pixel, (all - rest + step - 1) / step, step, pixel);
}

/* Where a row of the data begins; NULL outside. */
static const char *data(Work *work, int64_t channel, int64_t z, int64_t place) {
    const Job *job = work->job;
    int64_t y = job->from[1] ? job->from[1][place] : place, pixel = job->pixel * size_of(job->x_type);
    z = job->from[0] ? job->from[0][z] : z;
    if (z < 0 || y < 0)
        return NULL;
    const char *from = work->item + channel * job->x_channel + z * job->x_z + y * job->x_y;
    if (place >= work->ahead) { /* the next row comes while this one is at work */
        const char *next = from + job->x_y + work->longest->from * pixel;
        for (int64_t i = 0; i < work->longest->count * pixel; i += 64)
            __builtin_prefetch(next + i);
        work->ahead = place + 1;
    }
    return from;
}

static const T *row(Work *work, int64_t channel, int64_t z, int64_t y, int in_phases) {
    const char *from = data(work, channel, z, y);
    if (work->is_direct)
        return from ? (const T *)from + work->runs->from * work->job->pixel : work->blank;
    int is_there;
    int64_t slot = (channel * work->depth + z % work->depth) * work->height + y % work->height;
    T *to = slot_of(&work->inputs, slot, z, y, &is_there);
    if (is_there)
        return to;
    if (in_phases && work->job->stride[2] > 1) {
        read(work, work->lines[0], from);
        split(work, to, work->lines[0]);
    } else
        read(work, to, from);
    return to;
}

/* All taps */

static void dense_rows(Work *work, int64_t y, int done, char *to) {
    const Job *job = work->job;
    const T **source = work->sources;
    for (int64_t channel = 0; channel < job->channels; channel++)
        for (int64_t k = 0; k < job->kernel[0]; k++)
            for (int64_t j = 0; j < job->kernel[1] + work->together - 1; j++)
                *source++ = row(work, channel, work->z * job->stride[0] + k * job->dilation[0],
                                      y * job->stride[1] + j * job->dilation[1], 1);
    for (int64_t map = 0; map < job->maps; map++)
        find(work->products + map, work->sources);
    for (int64_t map = 0; map < (job->combine == NONE ? job->maps : 1); map++)
        emit(work, job->combine == NONE ? 1 : job->maps, map, work->together, done, to + map * job->y_map);
}

/* Separable kernels: a pass along z into a ring, one along y into lines, one along x.
   A term has three sets of products; those along x are where `emit` looks for them, the others behind all of these. */

INLINE int does_nothing(const Work *work, const Products *products, int axis) {
    return products->planes * products->tall == 1 && products->all->weights[0] == 1 && work->job->stride[axis] == 1;
}

static const T *along_z(Work *work, int64_t term, int64_t y) {
    const Job *job = work->job;
    Products *all = work->products + job->maps + 2 * term;
    int64_t z = work->z * job->stride[0];
    int is_there;
    if (does_nothing(work, all, 0))
        return row(work, 0, z, y, 0);
    T *to = slot_of(&work->sums, (term * work->height) + y % work->height, work->z, y, &is_there);
    if (is_there)
        return to;
    for (int64_t k = 0; k < job->kernel[0]; k++)
        work->sources[k] = row(work, 0, z + k * job->dilation[0], y, 0);
    find(all, work->sources);
    pass(all, &to, work->wide);
    return to;
}

static void separable_rows(Work *work, int64_t y, int done, char *to) {
    const Job *job = work->job;
    for (int64_t term = 0; term < job->maps; term++) {
        Products *all = work->products + job->maps + 2 * term + 1;
        T **lines = work->lines + PARTS + (TOGETHER + 1) * term;
        const T **rows = work->sources + job->kernel[0];
        for (int64_t j = 0; j < job->kernel[1] + work->together - 1; j++)
            rows[j] = along_z(work, term, y * job->stride[1] + j * job->dilation[1]);
        int is_idle = does_nothing(work, all, 1);
        if (!is_idle) {
            find(all, rows);
            pass(all, lines, work->wide);
        }
        for (int row = 0; row < work->together; row++)
            work->made[TOGETHER * term + row] = is_idle ? rows[row] : lines[row];
    }
    for (int row = 0; row < work->together; row++) {
        for (int64_t term = 0; term < job->maps; term++) {
            const T *from = work->made[TOGETHER * term + row];
            T *phases = work->lines[PARTS + (TOGETHER + 1) * term + TOGETHER];
            if (job->stride[2] > 1)
                split(work, phases, from);
            find(work->products + term, job->stride[2] > 1 ? (const T *const *)&phases : &from);
        }
        emit(work, job->maps, 0, 1, row < done, to + row * job->y_y);
    }
}

/* Windows that share their parts: reductions of 1, 2, 4 ... neighbours, from which each size is put together. */

/* What two elements come to; the first is the one that stands first in the tree of `reduce_windows`. */
#define COMBINED(a, b)                                                                                               \
    (how == ADD                   ? (T)(a + b)                                                                       \
     : with_sign                  ? ((how == GREATEST ? (Signed)a > (Signed)b : (Signed)a < (Signed)b) ? a : b)      \
     : how == GREATEST            ? (a > b || a != a ? a : b)                                                        \
                                  : (a < b || a != a ? a : b))

INLINE void fold_by(int how, int with_sign, T *const *to, const T *const *rows, int count, int64_t n) {
    for (int64_t at = 0; at < n; at += PAIR) {
        int64_t x = at + PAIR > n && n >= PAIR ? n - PAIR : at; /* the last one goes back */
        Vector made[2] = {((const Vector *)(rows[0] + x))[0], ((const Vector *)(rows[0] + x))[1]};
        T *each = (T *)(void *)made;
        for (int of = 1; of < count; of++) {
            const T *row = rows[of] + x;
            for (int i = 0; how == ADD && i < 2; i++)
                made[i] = ((const Vector *)row)[i] + made[i];
            for (int64_t i = 0; how != ADD && i < PAIR; i++)
                each[i] = COMBINED(row[i], each[i]);
            for (int i = 0; to[of] && i < 2; i++)
                ((Vector *)(to[of] + x))[i] = made[i];
        }
    }
}

/* Reduce rows: the second with the first, the third with their result ...; keep each result that has a place. */
APART void fold(const Job *job, T *const *to, const T *const *rows, int count, int64_t n) {
    if (job->reduce == ADD)
        fold_by(ADD, 0, to, rows, count, n);
    else if (job->with_sign && job->reduce == GREATEST)
        fold_by(GREATEST, 1, to, rows, count, n);
    else if (job->with_sign)
        fold_by(LEAST, 1, to, rows, count, n);
    else if (job->reduce == GREATEST)
        fold_by(GREATEST, 0, to, rows, count, n);
    else
        fold_by(LEAST, 0, to, rows, count, n);
}

static T *fold_two(const Job *job, T *to, const T *first, const T *second, int64_t n) {
    fold(job, (T *[]){NULL, to}, (const T *[]){second, first}, 2, n);
    return to;
}

/* Along z nothing is shared: halves of halves, in the same tree. */
static const T *reduce_slices(Work *work, int64_t y, int64_t first, int64_t count, T *to, T *spare) {
    const Job *job = work->job;
    int64_t left = 1;
    if (count == 1)
        return row(work, 0, work->z * job->stride[0] + first * job->dilation[0], y, 0);
    while (2 * left < count)
        left *= 2;
    T *next = spare + work->wide + BLOCK, *more = next + work->wide + BLOCK;
    const T *a = reduce_slices(work, y, first, left, spare, next);
    const T *b = reduce_slices(work, y, first + left, count - left, next, more);
    return fold_two(job, to, a, b, work->wide);
}

/* The reduction of 2**level rows from y on. */
static const T *reduce_level(Work *work, int level, int64_t y) {
    const Job *job = work->job;
    int is_there;
    if (level == 0 && job->kernel[0] == 1)
        return row(work, 0, work->z * job->stride[0], y, 0);
    int64_t slot = work->level_first[level] + y % work->level_slots[level];
    T *to = slot_of(&work->sums, slot, work->z, y, &is_there);
    if (is_there)
        return to;
    if (level == 0)
        return reduce_slices(work, y, 0, job->kernel[0], to, work->lines[SLICES]);
    const T *a = reduce_level(work, level - 1, y);
    const T *b = reduce_level(work, level - 1, y + (job->dilation[1] << (level - 1)));
    return fold_two(job, to, a, b, work->wide);
}

/* Whether windows overlap so much that each part is made when its last row comes. */
static int is_eager(const Job *job) { return 2 * job->stride[1] <= job->kernel[1]; }

/* Put a row of windows together.  Wide parts come first: making narrower ones leaves them where they are. */
static const T *reduce_down(Work *work, int64_t y) {
    const Job *job = work->job;
    int64_t size = job->kernel[1], step = job->dilation[1], levels = work->levels;
    const T *rows[MOST_LEVELS];
    T *to[MOST_LEVELS] = {NULL};
    for (int level = 1, is_there; is_eager(job) && work->come < y + extent_of(job, 1); work->come++, level = 1) {
        rows[0] = reduce_level(work, 0, work->come);
        for (int64_t at; level < levels && (at = work->come - step * ((1 << level) - 1)) >= work->begun; level++) {
            rows[level] = reduce_level(work, level - 1, at);
            to[level] = slot_of(&work->sums, work->level_first[level] + at % work->level_slots[level], work->z, at, &is_there);
        }
        if (level > 1)
            fold(job, to, rows, level, work->wide);
    }
    int count = __builtin_popcountll((uint64_t)size), of = count;
    for (int64_t level = levels - 1; of > 0; level--)
        if (size >> level & 1)
            rows[--of] = reduce_level(work, (int)level, y + (size >> (level + 1) << (level + 1)) * step);
    if (count == 1)
        return rows[0];
    memset(to, 0, sizeof to);
    to[count - 1] = work->lines[DOWN];
    fold(job, to, rows, count, work->wide);
    return work->lines[DOWN];
}

/* Running sums of rows, where these are exact: of the first row from all, then by what comes and what goes. */
static const T *run_down(Work *work, int64_t y, T *sums) {
    const Job *job = work->job;
    int64_t size = job->kernel[1], is_deep = job->kernel[0] > 1, type = is_deep ? TYPE : job->x_type;
    const Run whole = {0, 0, work->wide / job->pixel}, *runs = is_deep ? &whole : work->runs;
    if (work->come == work->begun)
        memset(sums, 0, (size_t)work->wide * sizeof(T));
    for (; work->come < y + size; work->come++) {
        const char *rows[2] = {NULL}, *from[2] = {NULL};
        int count = work->come < work->begun + size ? 1 : 2;
        for (int of = 0; of < count; of++)
            rows[of] = is_deep ? (const char *)reduce_level(work, 0, work->come - of * size)
                               : data(work, 0, work->z * job->stride[0], work->come - of * size);
        for (const Run *run = runs; run < runs + (is_deep ? 1 : work->run_count); run++) {
            for (int of = 0; of < count; of++)
                from[of] = rows[of] && run->from >= 0 ? rows[of] + run->from * job->pixel * size_of(type) : work->outside;
            slide(sums + run->to * job->pixel, from[0], from[1], type, run->count * job->pixel);
        }
    }
    return sums;
}

/* Reduce along a row of `all` windows, which share their parts unless they are small. */
static const T *reduce_along(const Work *work, const T *row, int64_t all) {
    const Job *job = work->job;
    int64_t size = job->kernel[2], gap = job->dilation[2] * job->pixel, n = work->wide;
    const T *rows[MOST_LEVELS];
    T *to[MOST_LEVELS] = {NULL};
    int count = 0;
    if (size <= (job->reduce == ADD && IN_FLOATS ? 3 : FEW)) /* three are added in the order of the tree */
        for (; count < size; count++)                        /* of equal extremes the last one is kept */
            rows[count] = row + (job->reduce == ADD ? count : size - 1 - count) * gap;
    else
        for (int level = 0; size >> level; level++) {
            if (size >> level & 1)
                rows[count++] = row + (size >> (level + 1) << (level + 1)) * gap;
            if (size >> (level + 1))
                row = fold_two(job, work->lines[PARTS + level], row, row + (gap << level), n -= gap << level);
        }
    if (count == 1)
        return rows[0];
    to[count - 1] = work->lines[ALONG];
    fold(job, to, rows, count, all);
    return work->lines[ALONG];
}

/* Sums of windows along a row, where these are exact: differences of the sums from the row's begin, modulo 2**n. */
static const T *run_along(const Work *work, const T *row, int64_t all) {
    int64_t gap = work->job->pixel, x = 0;
    T *sums = work->lines[PARTS] + gap, *total = work->lines[ALONG];
    memset(work->lines[PARTS], 0, (size_t)gap * sizeof(T));
#if LANES > 1 && defined(__GNUC__) && !defined(__clang__)
    Vector none = {0}, sum = none, place = none, shifts[6];
    int steps = 0;
    for (int i = 0; i < SLOTS; i++)
        place[i] = (T)i;
    Vector last = place % (T)gap + (T)(SLOTS - gap);
    for (int64_t by = gap; by < SLOTS; by *= 2)
        shifts[steps++] = place + (T)(SLOTS - by);
    for (; gap <= SLOTS && x < work->wide; x += SLOTS) {
        Vector before = __builtin_shuffle(sum, last);
        sum = *(const Vector *)(row + x);
        for (int step = 0; step < steps; step++)
            sum += __builtin_shuffle(none, sum, shifts[step]);
        sum += before;
        *(Vector *)(sums + x) = sum;
    }
#endif
    for (; x < work->wide; x++)
        sums[x] = (T)(sums[x - gap] + row[x]);
    for (int64_t i = 0, reach = (work->job->kernel[2] - 1) * gap; i < all; i++)
        total[i] = (T)(sums[i + reach] - sums[i - gap]);
    return total;
}

static void reduce_row(Work *work, int64_t y, char *to) {
    Job *job = work->job;
    int64_t step = job->stride[2], all = work->wide - job->pixel * (extent_of(job, 2) - 1);
    int runs = !IN_FLOATS && job->reduce == ADD;
    const T *down = runs ? run_down(work, y * job->stride[1], work->lines[DOWN]) : reduce_down(work, y * job->stride[1]);
    const T *total = runs && job->kernel[2] > FEW ? run_along(work, down, all) : reduce_along(work, down, all);
    if (step > 1) {
        thin(work->lines[KEPT], total, work->outputs / job->pixel, step, job->pixel);
        total = work->lines[KEPT];
    }
    if (IN_FLOATS && !job->is_rendered)
        scale(job, (F *)(void *)to, total, work->outputs, 0);
    else
        finish(job, total, work->outputs, 0, to);
}

/* All rows */

static void begin_strip(Work *work, int64_t first, int64_t count) {
    const Job *job = work->job;
    int64_t step = job->stride[2], reach = extent_of(job, 2) - 1;
    work->outputs = count * job->pixel;
    work->wide = ((count - 1) * step + reach + 1) * job->pixel;
    work->run_count = find_runs(job, first * step, work->wide / job->pixel, work->runs);
    work->longest = work->runs;
    for (Run *run = work->runs; run < work->runs + work->run_count; run++)
        work->longest = run->from >= 0 && run->count > work->longest->count ? run : work->longest;
}

/* Make the rows of a chunk of one slice. */
static void chunk(Work *work, int64_t from, int64_t stop, char *to) {
    const Job *job = work->job;
    work->come = work->begun = from * job->stride[1];
    work->ahead = job->stride[1] == 1 ? 0 : INT64_MAX;
    for (int64_t y = from; y < stop; y += work->together) {
        int done = y + work->together > stop ? (int)(y + work->together - stop) : 0; /* of a group that goes back */
        char *place = to + (y - done) * job->y_y;
        if (job->form == DENSE)
            dense_rows(work, y - done, done, place);
        else if (job->form == REDUCE)
            reduce_row(work, y, place);
        else
            separable_rows(work, y - done, done, place);
    }
}

/* Note all products of a job: of dense kernels a set for each map, of separable ones one for each term and axis. */
static void begin_products(Work *work) {
    const Job *job = work->job;
    const int64_t *kernel = job->kernel, count = job->channels * kernel[0] * kernel[1] * kernel[2];
    int64_t *offsets = TAKE(work->memory, int64_t, kernel[2]);
    static const int64_t none[1];
    int skip = job->finite != 0, together = work->together;
    for (int64_t i = 0, step = job->stride[2]; i < kernel[2]; i++) /* each phase of the stride is a run of its own */
        offsets[i] = i * job->dilation[2] % step * work->phase + i * job->dilation[2] / step * job->pixel;
    work->products = TAKE(work->memory, Products, 3 * job->maps);
    for (int64_t map = 0; map < job->maps; map++) {
        Products *along = work->products + map, *before = work->products + job->maps + 2 * map;
        const double *weights = job->weights + map * (job->form == DENSE ? count : kernel[0] + kernel[1] + kernel[2]);
        Products dense = {job->channels * kernel[0], kernel[1], kernel[2], offsets, together};
        if (job->form == DENSE) {
            begin(work->memory, along, dense, weights, skip);
            continue;
        }
        begin(work->memory, before, (Products){kernel[0], 1, 1, none, 1}, weights, 0);
        weights += kernel[0];
        begin(work->memory, before + 1, (Products){1, kernel[1], 1, none, together}, weights, 0);
        begin(work->memory, along, (Products){1, 1, kernel[2], offsets, 1}, weights + kernel[1], 0);
    }
}

#define FILL(type) ((type *)(void *)work.outside)[i] = (type)job->fill;

static void run(Job *job, Memory *memory) {
    Work work = {.job = job, .memory = memory};
    const int64_t *kernel = job->kernel;
    int64_t step = job->stride[2], extent = extent_of(job, 1), is_deep = kernel[0] > 1;
    work.together = job->form == REDUCE || kernel[1] == 1 || job->stride[1] != job->dilation[1] ? 1 : job->size[1] < TOGETHER ? (int)job->size[1] : TOGETHER;
    work.chunk = is_deep && 2 * extent + 16 < job->size[1] ? 2 * extent + 16 : job->size[1];
    work.depth = extent_of(job, 0);
    work.height = extent + (is_deep ? work.chunk : TOGETHER) * job->stride[1];
    if (job->form == REDUCE && !is_deep && is_eager(job))
        work.height = job->dilation[1] + 1;
    int64_t sums = job->form == SEPARABLE ? job->maps * work.height : 0, shares = IN_FLOATS || job->reduce != ADD;
    int64_t inputs = job->form == REDUCE && !shares && !is_deep ? 0 : job->channels * work.depth * work.height;
    while (job->form == REDUCE && (shares ? kernel[1] >> work.levels : is_deep && !work.levels)) {
        work.level_first[work.levels] = sums;
        int64_t part = 1 << work.levels, rest = kernel[1] - part < part ? kernel[1] - part : part;
        work.level_slots[work.levels] = shares ? (rest + 1) * job->dilation[1] + job->stride[1] : extent + 1;
        sums += work.level_slots[work.levels++];
    }
    int64_t most = CACHE / (int64_t)sizeof(T) / (inputs + (is_deep || job->form == REDUCE ? sums : 0) + 4) / job->pixel / step;
    most = most < 2 * extent_of(job, 2) ? 2 * extent_of(job, 2) : most;
    most = most * job->pixel < 8 * BLOCK ? 8 * BLOCK / job->pixel + 1 : most;
    int64_t strips = (job->size[2] + most - 1) / most, count = (job->size[2] + strips - 1) / strips;
    int64_t row = ((count + 1) * step + extent_of(job, 2)) * job->pixel + BLOCK, bytes = row * (int64_t)sizeof(T);
    work.phase = (count + (extent_of(job, 2) - 1) / step) * job->pixel;
    begin_ring(memory, &work.inputs, inputs, bytes);
    begin_ring(memory, &work.sums, sums, bytes);
    int64_t lines = PARTS + (job->form == REDUCE ? 64 - __builtin_clzll((uint64_t)kernel[2]) : (TOGETHER + 1) * job->maps);
    work.lines = TAKE(memory, T *, lines);
    for (int64_t line = 0; line < lines; line++) /* slices have two for each half of a half */
        work.lines[line] = take(memory, bytes * (line == SLICES && is_deep ? 48 : 1));
    work.blank = take(memory, bytes);
    for (int64_t i = 0; i < row; i++)
        work.blank[i] = LANE(job->fill);
    work.outside = take(memory, 2 * bytes);
    for (int64_t i = 0; !IN_FLOATS && i < row; i++) /* the fill value is one of the data's integers */
        OF_TYPE(job->x_type, FILL)
    work.runs = TAKE(memory, Run, row);
    work.made = TAKE(memory, T *, TOGETHER * job->maps);
    work.sources = TAKE(memory, T *, (job->channels * kernel[0] + 1) * (kernel[1] + TOGETHER) + kernel[0]);
    if (job->form != REDUCE)
        begin_products(&work);
    int64_t inside[2] = {0, job->size[2]}; /* outputs that see nothing but neighbours in the data */
    if (job->x_type == TYPE && (step == 1 || job->form != DENSE))
        find_inside(job, inside);
    for (int64_t first = 0, n; first < job->size[2]; first += n) {
        int64_t stop = first < inside[0] ? inside[0] : first < inside[1] ? inside[1] : job->size[2];
        n = stop - first < count ? stop - first : count;
        work.is_direct = job->x_type == TYPE && (step == 1 || job->form != DENSE) && n * job->pixel >= BLOCK &&
                         first >= inside[0] && first + n <= inside[1];
        begin_strip(&work, first, n);
        for (int64_t item = 0; item < job->items; item++) {
            forget(&work.inputs);
            forget(&work.sums);
            work.item = job->x + item * job->x_item;
            char *to = job->y + item * job->y_item + first * job->pixel * size_of(job->y_type);
            for (int64_t y = 0; y < job->size[1]; y += work.chunk)
                for (work.z = 0; work.z < job->size[0]; work.z++)
                    chunk(&work, y, y + work.chunk < job->size[1] ? y + work.chunk : job->size[1],
                                to + work.z * job->y_z);
        }
    }
}

/* Magnitudes in cells: what lies where in the data (convcli.engines.base) */

/* Floats without their sign are in the order of their bits, NaN last. */
#define MAGNITUDE(bits) ((bits) & (Bits)(((uint64_t)1 << (8 * sizeof(Bits) - 1)) - 1))
#define RAISE(top, bits) top = MAGNITUDE(bits) > top ? MAGNITUDE(bits) : top

APART void raise_to(Bits *restrict top, const Bits *restrict row, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        RAISE(top[i], row[i]);
}

INLINE Bits greatest(const Bits *row, int64_t n, int64_t step) {
    Bits found = 0;
    for (int64_t i = 0; i < n; i++)
        RAISE(found, row[i * step]);
    return found;
}

/* The same of each channel of many pixels side by side, of which some are compared together. */
static void find_channels(Bits *cells, const Bits *row, int64_t n, int64_t pixel) {
    int64_t together = FOLD / pixel, size = together * pixel, whole = n / together * together;
    Bits top[FOLD] = {0};
    for (int64_t x = 0; x < whole * pixel; x += size)
        for (int64_t i = 0; i < size; i++)
            RAISE(top[i], row[x + i]);
    for (int64_t i = 0; i < pixel; i++) {
        Bits rest = greatest(row + whole * pixel + i, n - whole, pixel);
        cells[i] = greatest(top + i, together, pixel);
        RAISE(cells[i], rest);
    }
}

/* Set `cells` to the largest magnitude in each of a row. */
APART void find_cells(Bits *cells, const Bits *row, int64_t n, int64_t wide, int64_t pixel) {
    for (int64_t x = 0; x < n; x += wide, cells += pixel) {
        int64_t count = n - x < wide ? n - x : wide;
        if (pixel > 1 && count * pixel >= 2 * FOLD && pixel <= FOLD)
            find_channels(cells, row + x * pixel, count, pixel);
        else
            for (int64_t i = 0; i < pixel; i++)
                cells[i] =
                    pixel == 1 ? greatest(row + x, count, 1) : greatest(row + x * pixel + i, count, pixel);
    }
}

/* Set a row to zero in runs of cells that are zero. */
APART void clear_cells(const Bits *cells, Bits *row, int64_t n, int64_t wide, int64_t pixel) {
    for (int64_t i = 0; i < pixel; i++) {
        const Bits *cell = cells + i;
        for (int64_t x = 0, first = 0; first < n; x += wide, cell += pixel) {
            if (x < n && !*cell)
                continue;
            int64_t stop = x < n ? x : n;
            if (pixel == 1 && first < stop)
                memset(row + first, 0, (size_t)(stop - first) * sizeof(Bits));
            for (; pixel > 1 && first < stop; first++)
                row[first * pixel + i] = 0;
            first = x + wide;
        }
    }
}

/* Find the largest magnitude, of all channels, in each cell of the data, or clear the data in cells of zero. */
static void cells(Job *job, Memory *memory) {
    const int64_t *size = job->size, *cell = job->kernel, pixel = job->pixel, rows = job->channels * cell[0] * cell[1];
    int64_t strip = (CELLS / cell[2] / pixel + 1) * cell[2];
    Bits *top = TAKE(memory, Bits, strip * pixel), *found = (Bits *)(void *)job->y;
    for (int64_t item = 0; item < job->items; item++)
        for (int64_t z = 0; z < size[0]; z += cell[0])
            for (int64_t y = 0; y < size[1]; y += cell[1])
                for (int64_t x = 0, n; x < size[2]; x += strip, found += (n + cell[2] - 1) / cell[2] * pixel) {
                    n = size[2] - x < strip ? size[2] - x : strip;
                    Bits *row = top;
                    memset(top, 0, rows > 1 ? (size_t)(n * pixel) * sizeof(T) : 0);
                    for (int64_t one = 0; one < rows; one++) {
                        int64_t at_z = z + one / cell[1] % cell[0], at_y = y + one % cell[1];
                        if (at_z >= size[0] || at_y >= size[1])
                            continue;
                        const char *from = job->x + item * job->x_item + one / cell[1] / cell[0] * job->x_channel;
                        row = (Bits *)(uintptr_t)(from + at_z * job->x_z + at_y * job->x_y) + x * pixel;
                        if (job->form == CLEAR)
                            clear_cells(found, row, n, cell[2], pixel);
                        else if (rows > 1)
                            raise_to(top, row, n * pixel);
                    }
                    if (job->form == FIND)
                        find_cells(found, rows > 1 ? top : row, n, cell[2], pixel);
                }
}

/* Returns 0, or 1 where memory does not suffice. */
int ENTRY(WIDTH, LANES)(Job *job) {
    Memory memory = {.pieces = NULL};
    int failed = setjmp(memory.failed);
    if (!failed)
        (job->form < FIND ? run : cells)(job, &memory);
    while (memory.pieces) {
        Piece *piece = memory.pieces;
        memory.pieces = piece->next;
        free(piece);
    }
    return failed;
}
