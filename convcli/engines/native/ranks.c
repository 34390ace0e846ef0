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
#define SIGN ((K)((K)1 << (8 * sizeof(K) - 1)))
#define INLINE static inline __attribute__((always_inline))
#define APART static __attribute__((noinline))
#define ITEM ((int64_t)sizeof(K))

#define LINE (24 * 1024)   /* bytes of a network's rows that stay in the first-level cache */
#define PLAIN (WIDTH * 4)  /* a row is a multiple of so many bytes */
#define APIECE (3200 / ITEM) /* samples of the columns that are sorted together: no multiple of 4096 bytes */
#define COARSE 16          /* bins of a histogram, each of which is counted in so many others too */
#define FINE 256
#define BINS (COARSE + FINE)
#define TILE 64            /* outputs along each side of a tile, at least */
#define FEW 6              /* samples of a column up to which it has no histogram of its own */
#define CHUNK 32           /* samples of a bin that are looked at together */

typedef uint16_t Count;    /* modulo 2**16: no bin holds more samples */

INLINE K key_of(K bits, K flip) {
#if LANES > 6
    F value;
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
    return key ^ ((K)((key >> (8 * sizeof(K) - 1)) - 1) | SIGN);
#else
    return key ^ flip;
#endif
}

APART void convert(K *restrict to, const K *restrict from, int64_t n, int64_t step, K flip) {
    if (step == 1)
        for (int64_t i = 0; i < n; i++)
            to[i] = key_of(from[i], flip);
    else
        for (int64_t i = 0; i < n; i++)
            to[i] = key_of(from[i * step], flip);
}

APART void give(K *restrict to, const K *restrict from, int64_t n, int64_t pixel, int64_t step, K flip) {
    if (step == 1)
        for (int64_t i = 0; i < n * pixel; i++)
            to[i] = sample_of(from[i], flip);
    else
        for (int64_t i = 0; i < n; i++)
            for (int64_t c = 0; c < pixel; c++)
                to[i * pixel + c] = sample_of(from[i * step * pixel + c], flip);
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

/* Set n pixels of a row of keys, from sample x of row y of slice z on, where all are numbered with their padding. */
static void load(const Job *job, const char *item, int64_t z, int64_t y, int64_t x, int64_t n, K *to, int64_t pixel, K flip) {
    const int64_t *from = job->from[2];
    z = job->from[0] ? job->from[0][z] : z;
    y = job->from[1] ? job->from[1][y] : y;
    const K *row = (const K *)(const void *)(item + z * job->x_z + y * job->x_y);
    int64_t step = pixel == job->pixel ? 1 : job->pixel;
    K fill = fill_of(job, flip);
    for (int64_t i = 0, next; i < n; i = next) {
        int64_t first = from ? from[x + i] : x + i, is_blank = z < 0 || y < 0 || first < 0;
        for (next = from ? i + 1 : n; next < n && from[x + next] == (first < 0 ? -1 : first + next - i); next++)
            ;
        if (is_blank)
            for (int64_t k = i * pixel; k < next * pixel; k++)
                to[k] = fill;
        else
            convert(to + i * pixel, row + first * job->pixel, (next - i) * pixel, step, flip);
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

APART void lower(K *restrict low, const K *a, const K *b, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        low[i] = SMALLER(a[i], b[i]);
}

APART void raise_to(K *restrict high, const K *a, const K *b, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        high[i] = LARGER(a[i], b[i]);
}

APART void exchange(K *restrict low, K *restrict high, const K *a, const K *b, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        K one = a[i], other = b[i];
        low[i] = SMALLER(one, other);
        high[i] = LARGER(one, other);
    }
}

/* Run a network on n outputs of a row, of which `lines` has the inputs and room for the rest. */
static void run_network(const double *steps, int64_t count, K *const *lines, int64_t n, int64_t gap) {
    for (const double *step = steps; step < steps + count * NUMBERS; step += NUMBERS) {
        const K *a = lines[(int)step[A]] + (int64_t)step[SHIFT_A] * gap;
        const K *b = lines[(int)step[B]] + (int64_t)step[SHIFT_B] * gap;
        if (step[LOW] < 0)
            raise_to(lines[(int)step[HIGH]], a, b, n);
        else if (step[HIGH] < 0)
            lower(lines[(int)step[LOW]], a, b, n);
        else
            exchange(lines[(int)step[LOW]], lines[(int)step[HIGH]], a, b, n);
    }
}

/* The medians of 3x3 and 5x5, in registers: columns are sorted once for all windows that share them; of the sorted rows of
   these the few samples that can be the median are left. */

#define E(a, b)                                                                                                      \
    {                                                                                                                \
        K low = SMALLER(v[a], v[b]);                                                                                 \
        v[b] = LARGER(v[a], v[b]);                                                                                   \
        v[a] = low;                                                                                                  \
    }
#define SORT_3(a, b, c) E(b, c) E(a, b) E(b, c)
#define SORT_5(a, b, c, d, e) E(a, b) E(d, e) E(c, e) E(c, d) E(b, e) E(a, d) E(a, c) E(b, d) E(b, c)
#define MEDIAN_25                                                                                                    \
    SORT_5(0, 5, 10, 15, 20) SORT_5(1, 6, 11, 16, 21) SORT_5(2, 7, 12, 17, 22) SORT_5(3, 8, 13, 18, 23)              \
    SORT_5(4, 9, 14, 19, 24) E(15, 4) E(20, 9) E(20, 4) E(15, 11) E(4, 21) E(4, 11) E(20, 16) E(9, 16) E(20, 4)      \
    E(9, 11) E(16, 21) E(7, 3) E(17, 13) E(17, 3) E(12, 8) E(12, 17) E(8, 3) E(15, 7) E(11, 3) E(11, 7) E(4, 17)     \
    E(21, 17) E(21, 7) E(20, 12) E(16, 13) E(16, 12) E(9, 8) E(9, 16) E(16, 21)

APART void sort_3(K *restrict to, K *const *rows, int64_t n) {
    const K *one = rows[0], *two = rows[1], *three = rows[2];
    for (int64_t i = 0; i < n; i++) {
        K v[] = {one[i], two[i], three[i]};
        SORT_3(0, 1, 2)
        to[i] = v[0], to[i + APIECE] = v[1], to[i + 2 * APIECE] = v[2];
    }
}

APART void sort_5(K *restrict to, K *const *rows, int64_t n) {
    const K *one = rows[0], *two = rows[1], *three = rows[2], *four = rows[3], *five = rows[4];
    for (int64_t i = 0; i < n; i++) {
        K v[] = {one[i], two[i], three[i], four[i], five[i]};
        SORT_5(0, 1, 2, 3, 4)
        to[i] = v[0], to[i + APIECE] = v[1], to[i + 2 * APIECE] = v[2], to[i + 3 * APIECE] = v[3], to[i + 4 * APIECE] = v[4];
    }
}

APART void median_9(K *restrict to, const K *a, int64_t n, int64_t gap) {
    const K *b = a + gap, *c = b + gap;
    for (int64_t i = 0, j = APIECE, k = 2 * APIECE; i < n; i++, j++, k++) {
        K v[] = {a[i], b[i], c[i], a[j], b[j], c[j], a[k], b[k], c[k]};
        SORT_3(0, 1, 2) SORT_3(3, 4, 5) SORT_3(6, 7, 8) SORT_3(2, 4, 6)
        to[i] = v[4];
    }
}

#define COLUMN(a) a[i], a[i + APIECE], a[i + 2 * APIECE], a[i + 3 * APIECE], a[i + 4 * APIECE]

APART void median_25(K *restrict to, const K *a, int64_t n, int64_t gap) {
    const K *b = a + gap, *c = b + gap, *d = c + gap, *e = d + gap;
    for (int64_t i = 0; i < n; i++) {
        K v[] = {COLUMN(a), COLUMN(b), COLUMN(c), COLUMN(d), COLUMN(e)};
        MEDIAN_25
        to[i] = v[21];
    }
}

static int networks(Job *job, K flip) {
    int64_t gap = job->pixel * job->dilation[2], reach = gap * (job->kernel[2] - 1), step = job->stride[2];
    int64_t rows = job->kernel[0] * job->kernel[1], all = ((job->size[2] - 1) * step + 1) * job->pixel;
    int is_median = job->maps == 1 && rows == job->kernel[2] && (rows == 3 || rows == 5) && 4 * reach < APIECE &&
                    rank_of(job, 0, 0, 0, 0, 0) == rows * rows / 2;
    int is_direct = is_median && LANES < 7 && !flip, with_table = job->from[0] || job->from[1] || job->from[2];
    int64_t count_lines = is_median ? rows + 1 : job->lines;
    int64_t bytes = LINE / count_lines / PLAIN * PLAIN, n = is_median ? APIECE : (bytes < 2 * PLAIN ? 2 * PLAIN : bytes) / ITEM;
    int64_t pixels = (n - reach) / job->pixel / step; /* outputs of a piece: the last lines see no further */
    if (n < 4 * reach || pixels < 1) {
        n = (4 * reach + 4 * step * job->pixel) / (PLAIN / ITEM) * (PLAIN / ITEM) + PLAIN / ITEM;
        pixels = (n - reach) / job->pixel / step;
    }
    n = all + reach < n ? (all + reach + PLAIN / ITEM - 1) / (PLAIN / ITEM) * (PLAIN / ITEM) : n;
    int64_t depth = job->kernel[0], height = job->dilation[1] * (job->kernel[1] - 1) + 1, length = n + reach + PLAIN / ITEM;
    int64_t line = (length * ITEM + 63) / 64 * 64, slots = depth * height;
    char *memory = calloc(1, (size_t)((count_lines + slots) * (line + 64) + slots * 8 + 5 * APIECE * ITEM + 256)), *free_from = memory;
    if (!memory)
        return 1;
    int64_t *tags = cut(&free_from, slots * 8);
    K **lines = cut(&free_from, count_lines * (int64_t)sizeof(K *)), *ring = cut(&free_from, slots * line), *sorted = cut(&free_from, 5 * APIECE * ITEM);
    for (int64_t number = rows; number < count_lines; number++)
        lines[number] = cut(&free_from, line);
    for (int64_t item = 0; item < job->items; item++)
        for (int64_t z = 0; z < job->size[0]; z++)
            for (int64_t x = 0; x < job->size[2]; x += pixels) {
                int64_t count = job->size[2] - x < pixels ? job->size[2] - x : pixels;
                int64_t wide = (count - 1) * step + 1 + reach / job->pixel;
                memset(tags, -1, (size_t)slots * 8);
                for (int64_t y = 0; y < job->size[1]; y++) {
                    for (int64_t row = 0; row < rows; row++) {
                        int64_t k = row / job->kernel[1], at = y * job->stride[1] + row % job->kernel[1] * job->dilation[1];
                        int64_t slot = k * height + at % height;
                        const char *item_at = job->x + item * job->x_item + (z * job->stride[0] + k * job->dilation[0]) * job->x_z;
                        lines[row] = ring + slot * (line / ITEM);
                        if (is_direct && !with_table)
                            lines[row] = (K *)(uintptr_t)(item_at + at * job->x_y) + x * step * job->pixel;
                        else if (tags[slot] != at)
                            load(job, job->x + item * job->x_item, z * job->stride[0] + k * job->dilation[0], at, x * step,
                                 wide, lines[row], job->pixel, flip);
                        tags[slot] = at;
                    }
                    K *place = (K *)(void *)(job->y + item * job->y_item + z * job->y_z + y * job->y_y) + x * job->pixel;
                    if (is_median) {
                        K *made = is_direct && step == 1 ? place : lines[rows];
                        int64_t outputs = ((count - 1) * step + 1) * job->pixel;
                        (rows == 3 ? sort_3 : sort_5)(sorted, lines, outputs + reach);
                        (rows == 3 ? median_9 : median_25)(made, sorted, outputs, gap);
                        if (made != place)
                            give(place, made, count, job->pixel, step, flip);
                        continue;
                    }
                    run_network(job->weights, job->steps, lines, n, gap);
                    for (int64_t map = 0; map < job->maps; map++) {
                        const double *found = job->weights + job->steps * NUMBERS + 2 * map;
                        give((K *)(void *)((char *)place + map * job->y_map), lines[(int)found[0]] + (int64_t)found[1] * gap, count,
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
    int64_t tall = job->size[1] - y0 < slide->tall ? job->size[1] - y0 : slide->tall;
    int64_t wide = job->size[2] - x0 < slide->wide ? job->size[2] - x0 : slide->wide;
    int64_t height = (tall - 1) * stride[1] + kernel[1];
    slide->rows = height * kernel[0];
    slide->columns = (wide - 1) * stride[2] + kernel[2];
    slide->size = slide->rows * slide->columns;
    for (int64_t row = 0; row < slide->rows; row++)
        load(job, job->x + item * job->x_item + channel * ITEM, z * stride[0] + row / height, y0 * stride[1] + row % height,
             x0 * stride[2], slide->columns, slide->keys + row * slide->columns, 1, slide->flip);
    if (slide->is_sorted)
        sort(slide);
    else
        for (int64_t i = 0; i < slide->size; i++)
            slide->bins[i] = (uint8_t)slide->keys[i];
    if (!slide->is_direct)
        memset(slide->histograms, 0, (size_t)(slide->columns * BINS) * sizeof(Count));
    for (int64_t y = 0, seen = 0; y < tall; y++) {
        int64_t first = y * stride[1], gone = first - stride[1];
        if (!slide->is_direct && y && stride[1] < kernel[1])
            count_rows(slide, gone, first, (Count)-1);
        else if (!slide->is_direct && y)
            count_rows(slide, gone, gone + kernel[1], (Count)-1);
        if (!slide->is_direct)
            count_rows(slide, seen > first ? seen : first, first + kernel[1], 1);
        seen = first + kernel[1];
        memset(slide->sum, 0, BINS * sizeof(Count));
        for (int64_t x = 0, counted = 0; x < wide; x++) {
            int64_t left = x * stride[2], before = left - stride[2];
            if (x && stride[2] == 1 && !slide->is_direct)
                replace(slide->sum, slide->histograms + (counted) * BINS, slide->histograms + before * BINS);
            else {
                if (x)
                    count_columns(slide, first, before, left < counted ? left : counted, (Count)-1);
                count_columns(slide, first, counted > left ? counted : left, left + kernel[2], 1);
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

INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static int histograms(Job *job, K flip) {
    const int64_t *kernel = job->kernel, *stride = job->stride;
    Slide slide = {.job = job, .flip = flip};
    slide.is_sorted = ITEM > 1 || kernel[0] * kernel[1] * kernel[2] > UINT16_MAX;
    slide.is_direct = kernel[0] * kernel[1] <= FEW;
    slide.tall = least(job->size[1], most(1, most(TILE, kernel[1]) / stride[1]));
    slide.wide = least(job->size[2], most(1, most(most(TILE, kernel[2] * (slide.is_sorted ? 1 : 3)), TILE * TILE / slide.tall) / stride[2]));
    int64_t columns = (slide.wide - 1) * stride[2] + kernel[2], n = kernel[0] * ((slide.tall - 1) * stride[1] + kernel[1]) * columns;
    int64_t counts = slide.is_direct ? 0 : columns * BINS, item = slide.is_sorted ? 2 * ITEM + 2 * 4 + 2 * 2 + 1 : ITEM + 1;
    char *memory = malloc((size_t)(n * item + (counts + BINS + 2 * CHUNK) * 2 + 640)), *free_from = memory;
    if (!memory)
        return 1;
    slide.keys = cut(&free_from, n * ITEM), slide.bins = cut(&free_from, n);
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
    K flip = job->with_sign ? SIGN : 0;
    return (job->form == NETWORK ? networks : histograms)(job, flip);
}
