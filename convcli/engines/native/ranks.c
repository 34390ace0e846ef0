/* The loops that rank: the samples of each window that have the asked ranks, for each width of the machine's vectors and
   each size of samples.

   Samples become unsigned integers in the same order (floats by their bits, -0 as 0, NaN last), so that one code serves
   all types.  Small windows run through a network of comparisons, a row of windows at a time; large ones are counted
   in histograms that slide.  Results are samples of the data: their bits depend on nothing else. */

#include <stdlib.h>
#include <string.h>

#include "rows.h"

#if LANES == 5
typedef uint8_t K;
#elif LANES == 6
typedef uint16_t K;
#elif LANES == 7
typedef uint32_t K;
typedef float F;
#else
typedef uint64_t K;
typedef double F;
#endif
#if LANES < 7
typedef K V; /* what is compared */
#else
typedef F V __attribute__((may_alias));
#endif
#define SIGN ((K)((K)1 << (8 * sizeof(K) - 1)))
#define ITEM ((int64_t)sizeof(K))
#define LANE (WIDTH / ITEM) /* keys of a vector */

#define LINE (24 * 1024)   /* bytes of a network's rows that stay in the first-level cache */
#define MOST_ROWS 64       /* of a window whose extremes are found */
#define PLAIN (WIDTH * 4)  /* a row is a multiple of so many bytes */
#define APIECE (4608 / ITEM) /* samples of a row of which medians and extremes are made together */
#define COARSE 16          /* bins of a histogram, each of which is counted in so many others too */
#define FINE 256
#define BINS (COARSE + FINE)
#define TILE 64            /* outputs along each side of a tile, at least */
#define FEW 6              /* samples of a column up to which it has no histogram of its own */
#define CHUNK 32           /* samples of a bin that are looked at together */

typedef uint16_t Count;    /* modulo 2**16: no bin holds more samples */

INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Floats become keys where there is something to flip. */
INLINE K key_of(K bits, K flip) {
#if LANES > 6
    F value;
    if (!flip)
        return bits;
    memcpy(&value, &bits, sizeof(K));
    value += 0;
    memcpy(&bits, &value, sizeof(K));
    bits = value != value ? (K)~SIGN : bits;
    return bits ^ ((K)(0 - (bits >> (8 * sizeof(K) - 1))) | SIGN);
#else
    return bits ^ flip;
#endif
}

INLINE K sample_of(K key, K flip) {
#if LANES > 6
    return !flip ? key : key ^ ((K)((key >> (8 * sizeof(K) - 1)) - 1) | SIGN);
#else
    return key ^ flip;
#endif
}

APART void convert(K *restrict to, const K *restrict from, int64_t n, int64_t step, K flip) {
    if (step == 1 && !flip)
        memcpy(to, from, (size_t)n * sizeof(K));
    else
        for (int64_t i = 0; i < n; i++)
            to[i] = key_of(from[i * step], flip);
}

APART void give(K *restrict to, const K *restrict from, int64_t n, int64_t pixel, int64_t step, K flip) {
    for (int64_t i = 0, run = step > 1 ? pixel : n * pixel; i < n * pixel; i += run)
        for (int64_t c = 0; c < run; c++)
            to[i + c] = sample_of(from[i * step + c], flip);
}

/* Whether there is a NaN among keys, or among floats that are not flipped. */
APART int has_nan(const K *keys, int64_t n, K flip) {
    K found = 0;
    for (int64_t i = 0; LANES > 6 && i < n; i++)
        found |= flip ? keys[i] == (K)-1 : ((const V *)keys)[i] != ((const V *)keys)[i];
    return found != 0;
}

static K fill_of(const Job *job, K flip) {
#if LANES > 6
    F value = (F)job->fill;
    K bits;
    memcpy(&bits, &value, sizeof(K));
    return key_of(bits, flip);
#else
    return key_of((K)(int64_t)job->fill, flip);
#endif
}

/* Where a row of the data lies: row y of slice z, both numbered with their padding; NULL outside. */
INLINE const K *row_of(const Job *job, const char *item, int64_t z, int64_t y) {
    z = job->from[0] ? job->from[0][z] : z;
    y = job->from[1] ? job->from[1][y] : y;
    return z < 0 || y < 0 ? NULL : (const K *)(const void *)(item + z * job->x_z + y * job->x_y);
}

/* Set runs of a row of keys; a row that lies outside is set as one run of n. */
static void load(const Job *job, const K *row, const Run *runs, int64_t count, int64_t n, K *to, int64_t pixel, K flip) {
    const Run outside = {0, -1, n / pixel};
    if (!row)
        runs = &outside, count = 1;
    for (; count--; runs++) {
        K *next = to + runs->to * pixel, *stop = next + runs->count * pixel;
        if (runs->from < 0)
            for (K fill = fill_of(job, flip); next < stop;)
                *next++ = fill;
        else {
            const K *from = row + runs->from * job->pixel;
            for (int64_t i = 0; runs->count > LANE && i < runs->count * job->pixel; i += 64 / ITEM)
                __builtin_prefetch((const char *)(from + i) + 2 * job->x_y, 0, 2);
            convert(next, from, runs->count * pixel, pixel == job->pixel ? 1 : job->pixel, flip);
        }
    }
}

/* Cut the next piece off the memory that a job has. */
static void *cut(char **memory, int64_t bytes) {
    char *piece = *memory;
    *memory += (bytes + 63) / 64 * 64;
    return piece;
}

static int64_t rank_of(const Job *job, int64_t item, int64_t map, int64_t z, int64_t y, int64_t x) {
    const int64_t *steps = job->rank_steps, at[] = {item, map, z, y, x};
    const char *place = job->ranks;
    for (int axis = 0; axis < 5; axis++)
        place += at[axis] * steps[axis];
    return *(const int64_t *)(const void *)place;
}

/* Networks: steps of which each sets one line to the smaller ones of two others, or another to the larger, or both.
   The first lines are the rows of the windows; the network is written down in `convcli.engines.native.ranks`. */

enum step { LOW, HIGH, A, SHIFT_A, B, SHIFT_B, NUMBERS };

#define SMALLER(a, b) ((a) < (b) ? (a) : (b))
#define LARGER(a, b) ((a) < (b) ? (b) : (a))

#define STEP(name, does)                                                                                             \
    APART void name(K *restrict low, K *restrict high, const K *a, const K *b, int64_t n) {                          \
        (void)low, (void)high;                                                                                       \
        for (int64_t i = 0; i < n; i++) {                                                                            \
            K one = a[i], other = b[i];                                                                              \
            does;                                                                                                    \
        }                                                                                                            \
    }

STEP(lower, low[i] = SMALLER(one, other))
STEP(raise_to, high[i] = LARGER(one, other))
STEP(exchange, low[i] = SMALLER(one, other); high[i] = LARGER(one, other))

/* Run a network on n outputs of a row, of which `lines` has the inputs and room for the rest. */
static void run_network(const double *steps, int64_t count, V *const *lines, int64_t n, int64_t gap) {
    for (const double *step = steps; step < steps + count * NUMBERS; step += NUMBERS) {
        const K *a = (const K *)(lines[(int)step[A]] + (int64_t)step[SHIFT_A] * gap);
        const K *b = (const K *)(lines[(int)step[B]] + (int64_t)step[SHIFT_B] * gap);
        K *low = step[LOW] < 0 ? NULL : (K *)lines[(int)step[LOW]], *high = step[HIGH] < 0 ? NULL : (K *)lines[(int)step[HIGH]];
        (low && high ? exchange : low ? lower : raise_to)(low, high, a, b, n);
    }
}

/* The medians of 3x3 and 5x5, two rows of outputs at a time: of the samples that both rows' windows hold, those that can
   be a median are left and sorted, and joined with the samples of each row's own. */

#define E(a, b)                                                                                                      \
    {                                                                                                                \
        V low = SMALLER(v[a], v[b]);                                                                                 \
        v[b] = LARGER(v[a], v[b]);                                                                                   \
        v[a] = low;                                                                                                  \
    }
#define SORT_3(a, b, c) E(b, c) E(a, b) E(b, c)
#define SORT_5 E(0, 1) E(3, 4) E(2, 4) E(2, 3) E(1, 4) E(0, 3) E(0, 2) E(1, 3) E(1, 2)
/* Sorted columns of four become the samples of ranks 7 to 12 of 20 (found by search, tested for all columns of bits). */
#define MIDDLE_20                                                                                                    \
    E(11, 12) E(0, 4) E(6, 8) E(10, 14) E(15, 19) E(8, 7) E(2, 3) E(5, 9) E(5, 3) E(7, 9) E(16, 18) E(10, 11)        \
    E(11, 13) E(5, 1) E(3, 15) E(18, 14) E(17, 16) E(6, 8) E(9, 19) E(12, 13) E(0, 8) E(12, 18) E(1, 4) E(2, 10)     \
    E(16, 9) E(7, 4) E(15, 4) E(7, 8) E(10, 11) E(6, 1) E(3, 15) E(10, 7) E(3, 17) E(18, 4) E(11, 12) E(8, 12)       \
    E(16, 17) E(1, 11) E(15, 16) E(11, 8) E(1, 3) E(18, 17) E(16, 18) E(7, 3) E(13, 18) E(8, 15) E(12, 16)           \
    E(13, 16) E(11, 3) E(13, 15) E(11, 8) E(12, 3) E(8, 12) E(7, 11) E(3, 13)

/* Where a vector of outputs begins: the second one where vectors lie in memory; it and the last make some again. */
#define VECTORS(to, n)                                                                                               \
    for (int64_t at = 0, from, next = LANE - (int64_t)((uintptr_t)(to) % WIDTH) / ITEM;                              \
         from = least(at, (n) - LANE), at < (n); at = next, next += LANE)
#define LANES_OF(i) _Pragma("GCC unroll 1") for (int64_t i = from; i < from + LANE; i++) /* as one vector, no line of scalars */
#define AHEAD(row, writes) __builtin_prefetch((const char *)((row) + from) + (writes ? to_write : to_read), writes, 3)

#define MEDIAN_9(to, row)                                                                                            \
    {                                                                                                                \
        V v[] = {row[i], row[j], row[k]}, found = four[3];                                                           \
        SORT_3(0, 1, 2)                                                                                              \
        for (int t = 0; t < 3; t++)                                                                                  \
            found = SMALLER(found, LARGER(four[t], v[2 - t]));                                                       \
        to[i] = found + 0; /* not -0 */                                                                              \
    }

APART void median_9(V *restrict to, V *restrict below, const V *const *rows, const V *sorted, int64_t n, int64_t gap, int64_t to_read, int64_t to_write) {
    const V *a = rows[0], *b = rows[1], *c = rows[2], *d = rows[3];
    (void)sorted;
    VECTORS(to, n) {
        AHEAD(c, 0), AHEAD(d, 0), AHEAD(to, 1), AHEAD(below, 1);
        for (int64_t i = from, j = i + gap, k = j + gap; i < from + LANE; i++, j++, k++) {
            V v[] = {b[i], c[i], b[j], c[j], b[k], c[k]};
            E(0, 1) E(2, 3) E(4, 5) E(0, 2) E(0, 4) E(1, 3) E(5, 3) E(2, 4) E(1, 5) E(2, 1) E(4, 5) E(4, 1)
            const V four[] = {v[2], v[4], v[1], v[5]};
            MEDIAN_9(to, a)
            MEDIAN_9(below, d)
        }
    }
}

APART void sort_4(V *restrict to, const V *const *rows, int64_t n, int64_t to_read) {
    const V *one = rows[0], *two = rows[1], *three = rows[2], *four = rows[3];
    VECTORS(to, n) {
        __builtin_prefetch((const char *)(four + from) + to_read, 0, 3);
        LANES_OF(i) {
            V v[] = {one[i], two[i], three[i], four[i]};
            E(0, 1) E(2, 3) E(0, 2) E(1, 3) E(1, 2)
            to[i] = v[0], to[i + APIECE] = v[1], to[i + 2 * APIECE] = v[2], to[i + 3 * APIECE] = v[3];
        }
    }
}

#define MEDIAN_25(to, row)                                                                                           \
    {                                                                                                                \
        V v[] = {row[i], row[i + gap], row[i + 2 * gap], row[i + 3 * gap], row[i + 4 * gap]}, found = six[5];        \
        SORT_5                                                                                                       \
        for (int k = 0; k < 5; k++)                                                                                  \
            found = SMALLER(found, LARGER(six[k], v[4 - k]));                                                        \
        to[i] = found + 0; /* not -0 */                                                                              \
    }
#define FIVE(a) (a)[i], (a)[i + gap], (a)[i + 2 * gap], (a)[i + 3 * gap], (a)[i + 4 * gap]

APART void median_25(V *restrict to, V *restrict below, const V *const *rows, const V *sorted, int64_t n, int64_t gap, int64_t to_read, int64_t to_write) {
    const V *a = rows[0], *f = rows[5];
    VECTORS(to, n) {
        AHEAD(f, 0), AHEAD(to, 1), AHEAD(below, 1);
        LANES_OF(i) {
            V v[] = {FIVE(sorted), FIVE(sorted + APIECE), FIVE(sorted + 2 * APIECE), FIVE(sorted + 3 * APIECE)};
            MIDDLE_20
            const V six[] = {v[11], v[8], v[12], v[3], v[13], v[15]};
            MEDIAN_25(to, a)
            MEDIAN_25(below, f)
        }
    }
}

/* Set a row to the extremes of 2 to 4 rows; or two, to those of the first three of four and of the last three. */
/* Halves of the widest vectors, of which only every other one crosses a line of the cache, are a fifth faster here. */
#if WIDTH == 64 && defined(__GNUC__) && !defined(__clang__)
#define HALVES __attribute__((target("prefer-vector-width=256")))
#else
#define HALVES
#endif
#define EXTREME(name, of)                                                                                            \
    HALVES APART void name(V *restrict to, V *restrict below, const V *const *rows, int64_t n, int64_t to_read, int64_t to_write) {\
        const V *a = rows[0], *b = rows[1], *c = rows[2], *d = rows[3];                                              \
        VECTORS(to, n) {                                                                                             \
            AHEAD(c, 0), AHEAD(d, 0), AHEAD(to, 1), AHEAD(below, 1);                                                 \
            LANES_OF(i) {                                                                                            \
                V v[] = {a[i], b[i], c[i], d[i]}, both = of(v[1], v[2]);                                             \
                to[i] = of(both, v[0]) + 0;                                                                          \
                below[i] = of(both, v[3]) + 0;                                                                       \
            }                                                                                                        \
        }                                                                                                            \
    }                                                                                                                \
    HALVES APART void name##_all(V *restrict to, const V *const *rows, int64_t n, int64_t to_read) {                        \
        const V *a = rows[0], *b = rows[1], *c = rows[2], *d = rows[3];                                              \
        const int64_t to_write = 0;                                                                                  \
        VECTORS(to, n) {                                                                                             \
            AHEAD(a, 0);                                                                                             \
            LANES_OF(i) {                                                                                            \
                V v[] = {a[i], b[i], c[i], d[i]}, one = of(v[0], v[1]), other = of(v[2], v[3]);                      \
                to[i] = of(one, other) + 0;                                                                          \
            }                                                                                                        \
        }                                                                                                            \
    }
EXTREME(least_of, SMALLER)
EXTREME(greatest_of, LARGER)

static void medians(V *const *to, const V *const *rows, int64_t tall, V *sorted, int64_t n, int64_t gap, const int64_t *ahead) {
    if (tall == 5)
        sort_4(sorted, rows + 1, n + 4 * gap, ahead[0]);
    (tall == 3 ? median_9 : median_25)(to[0], to[1], rows, sorted, n, gap, ahead[0], ahead[1]);
}

/* Set n keys to those of as many runs of neighbours, each `gap` apart. */
static void extremes_along(const Job *job, int is_top, V *to, const V *from, V *const *scratch, int64_t n, int64_t to_read) {
    int64_t gap = job->pixel * job->dilation[2], size = job->kernel[2];
    for (int64_t wide = 1, next, turn = 1; wide < size; wide = next, turn = !turn) {
        const V *rows[4];
        next = least(4 * wide, size);
        for (int64_t row = 0; row < 4; row++)
            rows[row] = from + least(row * wide, next - wide) * gap;
        V *made = next == size ? to : scratch[turn];
        (is_top ? greatest_of_all : least_of_all)(made, rows, n + (size - next) * gap, wide > 1 ? 0 : to_read);
        from = made;
    }
}

/* Set two rows of outputs to the extremes of all rows but the last, and of all but the first. */
static void extremes_down(int is_top, V *const *to, const V *const *rows, int64_t tall, V *const *scratch, int64_t n, int64_t to_read, int64_t to_write) {
    const V *four[] = {rows[0], rows[1], rows[tall - 1], rows[tall]};
    for (int64_t row = 2, turn = 0; row < tall - 1; row += 3, turn = !turn) {
        const V *merged[] = {four[1], rows[row], rows[least(row + 1, tall - 2)], rows[least(row + 2, tall - 2)]};
        (is_top ? greatest_of_all : least_of_all)(scratch[turn], merged, n, 0);
        four[1] = scratch[turn];
    }
    (is_top ? greatest_of : least_of)(to[0], to[1], four, n, to_read, to_write);
}

/* Set keys to those at certain places of a row, of which -1 stands for the fill value. */
static void gather(K *to, const K *row, const int64_t *places, int64_t n, K fill) {
    for (int64_t i = 0; i < n; i++)
        to[i] = row && places[i] >= 0 ? row[places[i]] : fill;
}

/* Set the ends of a row of n outputs to those that were made of what the ends see, one behind the other. */
INLINE void give_ends(V *to, const V *from, int64_t n, int64_t first, int64_t last, int64_t reach) {
    memcpy(to, from, (size_t)first * sizeof(K));
    memcpy(to + n - last, from + first + reach, (size_t)last * sizeof(K));
}

enum way { STEPS, MEDIANS, EXTREMES };

/* Medians and extremes of floats compare them as they are: windows that hold NaN become anything, and extremes stop there. */
static int networks(Job *job, K flip) {
    const int64_t *kernel = job->kernel, tall = kernel[1], depth = kernel[0], rows = depth * tall;
    int64_t gap = job->pixel * job->dilation[2], reach = gap * (kernel[2] - 1), step = job->stride[2];
    int64_t all = ((job->size[2] - 1) * step + 1) * job->pixel, rank = depth > 1 || job->maps > 1 ? -1 : rank_of(job, 0, 0, 0, 0, 0);
    int is_square = tall == kernel[2] && (tall == 3 || tall == 5) && 4 * (reach + step * job->pixel) < APIECE, is_top = rank > 0;
    enum way way = rank < 0 || rows * kernel[2] == 1 ? STEPS : !job->steps ? EXTREMES : is_square && rank == tall * tall / 2 ? MEDIANS : STEPS;
    int two = way != STEPS && job->stride[1] == job->dilation[1]; /* rows of outputs at a time */
    flip = LANES > 6 && way != STEPS ? 0 : flip;
    int is_plain = !flip && way != STEPS, is_along = way == EXTREMES && kernel[2] > 1;
    int64_t spare = way == STEPS ? job->lines - rows : 4, bytes = way == STEPS ? LINE / job->lines / PLAIN * PLAIN : APIECE * ITEM;
    int64_t n = (bytes < 2 * PLAIN ? 2 * PLAIN : bytes) / ITEM, pixels = (n - reach) / job->pixel / step;
    if (n < 4 * reach || pixels < 1) { /* outputs of a piece: the last lines see no further */
        n = (4 * reach + 4 * step * job->pixel) / (PLAIN / ITEM) * (PLAIN / ITEM) + PLAIN / ITEM;
        pixels = (n - reach) / job->pixel / step;
    }
    n = all + reach < n ? (all + reach + PLAIN / ITEM - 1) / (PLAIN / ITEM) * (PLAIN / ITEM) : n;
    int64_t height = job->dilation[1] * (tall - 1 + two) + 1, length = n + reach + PLAIN / ITEM;
    int64_t line = (length * ITEM + 63) / 64 * 64, pitch = line / ITEM, slots = depth * height;
    int64_t pointers = 2 * (rows + 1 + spare) * (int64_t)sizeof(K *), bytes_of_runs = length * (int64_t)sizeof(Run), bytes_of_sorted = way == MEDIANS ? 5 * APIECE * ITEM : 0;
    char *memory = malloc((size_t)((spare + slots + 1) * line + slots * 8 + pointers + bytes_of_runs + bytes_of_sorted + 512)), *free_from = memory;
    if (!memory)
        return 1;
    int64_t *tags = cut(&free_from, slots * 8), *places = cut(&free_from, bytes_of_runs);
    Run *runs = (Run *)(void *)places; /* of a row, or the places of its ends */
    V **lines = cut(&free_from, pointers), *ring = cut(&free_from, slots * line);
    V *sorted = cut(&free_from, bytes_of_sorted), **scratch = lines + rows + (way != STEPS);
    const V **data = (const V **)(void *)(scratch + spare);
    K *blank = cut(&free_from, line), fill = fill_of(job, flip);
    for (int64_t number = 0; number < spare; number++)
        scratch[number] = cut(&free_from, line);
    for (int64_t at = 0, pieces = (job->size[2] + pixels - 1) / pixels; at < job->items * job->size[0] * pieces; at++) {
        int64_t z = at / pieces % job->size[0], x = at % pieces * pixels;
        const char *item = job->x + at / pieces / job->size[0] * job->x_item;
        char *to = job->y + at / pieces / job->size[0] * job->y_item + z * job->y_z + x * job->pixel * ITEM;
        int64_t count = least(job->size[2] - x, pixels), wide = ((count - 1) * step + 1) * job->pixel;
        int64_t parts_of = find_runs(job, x * step, (wide + reach) / job->pixel, runs);
        int is_direct = is_plain && step == 1 && wide >= LANE; /* outputs are made where they are wanted */
        /* The outputs from the first on see neighbours of the data, which are read there; then the last ones come. */
        const Run *run = runs;
        for (int64_t i = 1; i < parts_of; i++)
            run = runs[i].from >= 0 && runs[i].count > run->count ? runs + i : run;
        int64_t before = (run->from - run->to) * job->pixel, first = run->to * job->pixel, n_inside = run->count * job->pixel - reach;
        int is_inside = is_plain && run->from >= 0 && n_inside >= most(LANE, 2 * reach) && (reach || n_inside == wide);
        if (!is_inside)
            first = 0, n_inside = most(wide, LANE);
        int64_t last = is_inside ? wide - first - n_inside : 0, ends = first + last ? first + last + 2 * reach : 0;
        for (int64_t i = 0; i < ends; i++) {
            int64_t place = i < first + reach ? i : wide + reach - ends + i, from = x * step + place / job->pixel;
            from = job->from[2] ? job->from[2][from] : from;
            places[i] = from < 0 ? -1 : from * job->pixel + place % job->pixel;
        }
        const int64_t ahead[] = {is_inside ? 2 * job->stride[1] * job->x_y : 0, is_direct ? 2 * job->y_y : 0}, none[] = {0, 0};
        if (is_inside)
            for (int64_t i = 0; i < n_inside + reach; i++)
                blank[i] = fill;
        memset(tags, -1, (size_t)slots * 8);
        for (int64_t y = 0; y < job->size[1]; y += 1 + two) {
            y -= two && y && y + 1 == job->size[1]; /* the last two go back */
            int more = two && y + 1 < job->size[1];
            int64_t base = y * job->stride[1] % height;
            V *made[2] = {scratch[2], scratch[3]}, *inside[2];
            for (int of = 0; of < 2; of++) {
                made[of] = is_direct && of <= more ? (V *)(void *)(to + (y + of) * job->y_y) : made[of];
                inside[of] = made[of] + first;
            }
            for (int64_t k = 0, row = 0; k < depth; k++)
                for (int64_t j = 0; j < tall + more; j++, row++) {
                    int64_t number = y * job->stride[1] + j * job->dilation[1], slot = base + j * job->dilation[1];
                    slot += (k - (slot >= height)) * height;
                    const V *from = (const V *)row_of(job, item, z * job->stride[0] + k * job->dilation[0], number);
                    lines[row] = ring + slot * pitch;
                    V *keys = is_along ? scratch[3] : lines[row];
                    data[row] = !is_inside ? keys : from ? from + before + first : (const V *)blank;
                    if (tags[slot] == number)
                        continue;
                    tags[slot] = number;
                    if (!is_inside)
                        load(job, (const K *)from, runs, parts_of, wide + reach, (K *)keys, job->pixel, flip);
                    else
                        gather((K *)keys, (const K *)from, places, ends, fill);
                    job->nans |= has_nan((K *)keys, is_inside ? ends : wide + reach, flip) ||
                                 (is_inside && has_nan((const K *)data[row], n_inside + reach, flip));
                    if (is_along)
                        extremes_along(job, is_top, lines[row] + first, data[row], scratch, n_inside, ahead[0]);
                    if (is_along && ends) {
                        extremes_along(job, is_top, scratch[2], keys, scratch, most(ends - reach, LANE), 0);
                        give_ends(lines[row], scratch[2], wide, first, last, reach);
                    }
                }
            if (job->nans && way == EXTREMES)
                break;
            if (way == STEPS)
                run_network(job->weights, job->steps, lines, n, gap);
            else if (!more)
                lines[rows] = lines[0], data[rows] = data[0];
            if (way == MEDIANS)
                medians(inside, data, tall, sorted, n_inside, gap, ahead);
            else if (way == EXTREMES && tall > 1)
                extremes_down(is_top, made, is_along ? (const V *const *)lines : data, tall, scratch, most(wide, LANE), is_along ? 0 : ahead[0], ahead[1]);
            if (way == MEDIANS && ends) {
                medians(scratch, (const V *const *)lines, tall, sorted, most(ends - reach, LANE), gap, none);
                for (int of = 0; of <= more; of++)
                    give_ends(made[of], scratch[of], wide, first, last, reach);
            }
            for (int64_t of = 0; of < (way == STEPS ? job->maps : 1 + more); of++) {
                const double *found = job->weights + job->steps * NUMBERS + 2 * of;
                const V *from = way == STEPS ? lines[(int)found[0]] + (int64_t)found[1] * gap : tall > 1 ? made[of] : lines[of];
                if (way == STEPS || !is_direct || tall == 1)
                    give((K *)(void *)(to + (way == STEPS ? y * job->y_y + of * job->y_map : (y + of) * job->y_y)), (const K *)from, count,
                         job->pixel, step, flip);
            }
        }
    }
    free(memory);
    return 0;
}

/* Histograms: each column of a window has one, and their sum slides along the row.  Samples of 8 bits are their bins;
   others are sorted in each tile, so that bins hold equally many, and those of the bin that has the rank are looked
   through. */

typedef struct {
    Job *job;
    K flip;
    int64_t rows, columns, size; /* samples of a tile: of all slices, along a row, all */
    int64_t tall, wide;          /* outputs of a full tile */
    int is_sorted, shift;        /* keys of neighbouring ranks share a bin, 2**shift of them */
    int is_direct;               /* columns are short: their samples are counted one by one */
    K *keys, *other;
    uint32_t *order, *other_order;
    uint16_t *xs, *ys;           /* where the samples lie, by their ranks */
    uint8_t *bins;
    Count *histograms, *sum;
    Run *runs;                   /* of a row of the tile */
} Slide;

/* Sort the keys of a tile: digit by digit, places beside them. */
static void sort(Slide *slide) {
    int64_t n = slide->size;
    for (int64_t i = 0; i < n; i++)
        slide->order[i] = (uint32_t)i;
    for (int digit = 0; digit < 8 * (int)ITEM; digit += 8) {
        int64_t starts[256] = {0}, sum = 0;
        for (int64_t i = 0; i < n; i++)
            starts[slide->keys[i] >> digit & 255]++;
        if (starts[slide->keys[0] >> digit & 255] == n)
            continue;
        for (int value = 0; value < 256; value++) {
            int64_t count = starts[value];
            starts[value] = sum;
            sum += count;
        }
        for (int64_t i = 0; i < n; i++) {
            int64_t place = starts[slide->keys[i] >> digit & 255]++;
            slide->other[place] = slide->keys[i];
            slide->other_order[place] = slide->order[i];
        }
        K *keys = slide->keys;
        uint32_t *order = slide->order;
        slide->keys = slide->other, slide->other = keys;
        slide->order = slide->other_order, slide->other_order = order;
    }
    for (slide->shift = 0; n > (int64_t)FINE << slide->shift; slide->shift++)
        ;
    for (int64_t i = 0; i < n; i++) {
        uint32_t place = slide->order[i];
        slide->bins[place] = (uint8_t)(i >> slide->shift);
        slide->xs[i] = (uint16_t)(place % slide->columns);
        slide->ys[i] = (uint16_t)(place / slide->columns % (slide->rows / slide->job->kernel[0]));
    }
    memset(slide->xs + n, -1, CHUNK * sizeof(uint16_t)); /* in no window */
    memset(slide->ys + n, -1, CHUNK * sizeof(uint16_t));
}

INLINE void count(Count *histogram, int bin, Count times) {
    histogram[bin / (FINE / COARSE)] += times;
    histogram[COARSE + bin] += times;
}

/* Count rows from..stop of all columns, of each slice, once or minus once. */
static void count_rows(Slide *slide, int64_t from, int64_t stop, Count times) {
    int64_t depth = slide->job->kernel[0], height = slide->rows / depth;
    for (int64_t z = 0; z < depth; z++)
        for (int64_t y = from; y < stop; y++) {
            const uint8_t *bins = slide->bins + (z * height + y) * slide->columns;
            for (int64_t x = 0; x < slide->columns; x++)
                count(slide->histograms + x * BINS, bins[x], times);
        }
}

APART void replace(Count *restrict sum, const Count *come, const Count *gone) {
    for (int bin = 0; bin < BINS; bin++)
        sum[bin] += come[bin] - gone[bin];
}

APART void add(Count *restrict sum, const Count *come, Count times) {
    for (int bin = 0; bin < BINS; bin++)
        sum[bin] += come[bin] * times;
}

/* Count the samples of columns from..stop, in the window's rows from y on, once or minus once. */
static void count_columns(Slide *slide, int64_t y, int64_t from, int64_t stop, Count times) {
    const int64_t *kernel = slide->job->kernel;
    int64_t height = slide->rows / kernel[0];
    for (int64_t x = from; x < stop; x++)
        if (!slide->is_direct)
            add(slide->sum, slide->histograms + x * BINS, times);
        else
            for (int64_t row = 0; row < kernel[0] * kernel[1]; row++)
                count(slide->sum, slide->bins[(row / kernel[1] * height + y + row % kernel[1]) * slide->columns + x], times);
}

/* Return the key of a rank among the samples of the window at x, y. */
INLINE K find(const Slide *slide, int64_t rank, int64_t x, int64_t y) {
    const Count *sum = slide->sum;
    int64_t bin = 0;
    for (; rank >= sum[bin]; bin++)
        rank -= sum[bin];
    for (bin = COARSE + bin * (FINE / COARSE); rank >= sum[bin]; bin++)
        rank -= sum[bin];
    bin -= COARSE;
    if (!slide->is_sorted)
        return (K)bin;
    uint16_t wide = (uint16_t)slide->job->kernel[2], tall = (uint16_t)slide->job->kernel[1];
    for (int64_t i = bin << slide->shift;; i += CHUNK) {
        const uint16_t *xs = slide->xs + i, *ys = slide->ys + i;
        uint16_t inside[CHUNK], seen = 0;
        for (int k = 0; k < CHUNK; k++) {
            inside[k] = ((uint16_t)(xs[k] - (uint16_t)x) < wide) & ((uint16_t)(ys[k] - (uint16_t)y) < tall);
            seen += inside[k];
        }
        if (rank < seen)
            for (int k = 0;; k++)
                if (inside[k] && !rank--)
                    return slide->keys[i + k];
        rank -= seen;
    }
}

static void slide_tile(Slide *slide, int64_t item, int64_t z, int64_t y0, int64_t x0, int64_t channel) {
    Job *job = slide->job;
    const int64_t *kernel = job->kernel, *stride = job->stride;
    int64_t tall = least(job->size[1] - y0, slide->tall), wide = least(job->size[2] - x0, slide->wide);
    int64_t height = (tall - 1) * stride[1] + kernel[1];
    slide->rows = height * kernel[0];
    slide->columns = (wide - 1) * stride[2] + kernel[2];
    slide->size = slide->rows * slide->columns;
    int64_t runs = find_runs(job, x0 * stride[2], slide->columns, slide->runs);
    for (int64_t row = 0; row < slide->rows; row++)
        load(job, row_of(job, job->x + item * job->x_item + channel * ITEM, z * stride[0] + row / height, y0 * stride[1] + row % height),
             slide->runs, runs, slide->columns, slide->keys + row * slide->columns, 1, slide->flip);
    job->nans |= has_nan(slide->keys, slide->size, slide->flip);
    if (slide->is_sorted)
        sort(slide);
    else
        for (int64_t i = 0; i < slide->size; i++)
            slide->bins[i] = (uint8_t)slide->keys[i];
    if (!slide->is_direct)
        memset(slide->histograms, 0, (size_t)(slide->columns * BINS) * sizeof(Count));
    for (int64_t y = 0, seen = 0; y < tall; y++) {
        int64_t first = y * stride[1], gone = first - stride[1];
        if (!slide->is_direct && y)
            count_rows(slide, gone, gone + least(stride[1], kernel[1]), (Count)-1);
        if (!slide->is_direct)
            count_rows(slide, most(seen, first), first + kernel[1], 1);
        seen = first + kernel[1];
        memset(slide->sum, 0, BINS * sizeof(Count));
        for (int64_t x = 0, counted = 0; x < wide; x++) {
            int64_t left = x * stride[2], before = left - stride[2];
            if (x && stride[2] == 1 && !slide->is_direct)
                replace(slide->sum, slide->histograms + (counted) * BINS, slide->histograms + before * BINS);
            else {
                if (x)
                    count_columns(slide, first, before, least(left, counted), (Count)-1);
                count_columns(slide, first, most(counted, left), left + kernel[2], 1);
            }
            counted = left + kernel[2];
            for (int64_t map = 0; map < job->maps; map++) {
                char *to = job->y + item * job->y_item + map * job->y_map + z * job->y_z + (y0 + y) * job->y_y;
                int64_t rank = rank_of(job, item * job->pixel + channel, map, z, y0 + y, x0 + x);
                ((K *)(void *)to)[(x0 + x) * job->pixel + channel] = sample_of(find(slide, rank, left, first), slide->flip);
            }
        }
    }
}

static int histograms(Job *job, K flip) {
    const int64_t *kernel = job->kernel, *stride = job->stride;
    Slide slide = {.job = job, .flip = flip};
    slide.is_sorted = ITEM > 1 || kernel[0] * kernel[1] * kernel[2] > UINT16_MAX;
    slide.is_direct = kernel[0] * kernel[1] <= FEW;
    slide.tall = least(job->size[1], most(1, most(TILE, kernel[1]) / stride[1]));
    slide.wide = least(job->size[2], most(1, most(most(TILE, kernel[2] * (slide.is_sorted ? 1 : 3)), TILE * TILE / slide.tall) / stride[2]));
    int64_t columns = (slide.wide - 1) * stride[2] + kernel[2], n = kernel[0] * ((slide.tall - 1) * stride[1] + kernel[1]) * columns;
    int64_t counts = slide.is_direct ? 0 : columns * BINS, item = slide.is_sorted ? 2 * ITEM + 2 * 4 + 2 * 2 + 1 : ITEM + 1;
    char *memory = malloc((size_t)(n * item + (counts + BINS + 2 * CHUNK) * 2 + columns * (int64_t)sizeof(Run) + 704)), *free_from = memory;
    if (!memory)
        return 1;
    slide.keys = cut(&free_from, n * ITEM), slide.bins = cut(&free_from, n);
    slide.runs = cut(&free_from, columns * (int64_t)sizeof(Run));
    slide.sum = cut(&free_from, BINS * 2), slide.histograms = cut(&free_from, counts * 2);
    if (slide.is_sorted) {
        slide.other = cut(&free_from, n * ITEM);
        slide.order = cut(&free_from, n * 4), slide.other_order = cut(&free_from, n * 4);
        slide.xs = cut(&free_from, (n + CHUNK) * 2), slide.ys = cut(&free_from, (n + CHUNK) * 2);
    }
    for (int64_t one = 0; one < job->items; one++)
        for (int64_t z = 0; z < job->size[0]; z++)
            for (int64_t y = 0; y < job->size[1]; y += slide.tall)
                for (int64_t x = 0; x < job->size[2]; x += slide.wide)
                    for (int64_t channel = 0; channel < job->pixel; channel++)
                        slide_tile(&slide, one, z, y, x, channel);
    free(memory);
    return 0;
}

/* Returns 0, or 1 where memory does not suffice. */
int ENTRY(WIDTH, LANES)(Job *job) {
    K flip = job->with_sign || LANES > 6 ? SIGN : 0;
    return (job->form == NETWORK ? networks : histograms)(job, flip);
}
