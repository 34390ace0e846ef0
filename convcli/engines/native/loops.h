/* The loops for one type of lanes: T in which sums are made, F in which they are finished. */

typedef T NAME(Vector) __attribute__((vector_size(WIDTH), aligned(sizeof(T)), may_alias));
#define VECTOR NAME(Vector)
#define BLOCK ((int64_t)(4 * WIDTH / sizeof(T))) /* sums of a row that are made in registers at a time */

/* The products of one row of sums, or of two neighbours, which share most of their data. */
typedef struct {
    int64_t taps;      /* of weight zero too */
    int used;          /* products that are made */
    int *ends;         /* where each leaf of the sum's tree ends among them */
    const T **rows;    /* what is multiplied: the row at place[i], offset[i] elements behind its start */
    int *place;
    int64_t *offset;
    T *weights[2];     /* by what, for either row of sums */
    char *which;       /* 1: of the first row of sums, 2: of the second, 3: of both */
} NAME(Products);
#define PRODUCTS NAME(Products)

typedef struct {
    Job *job;
    Memory *memory;
    Ring inputs, sums; /* converted rows; for FOLD all levels, for SEPARABLE results along z */
    int64_t depth, height; /* slices, and rows of each, in the ring of inputs */
    int64_t chunk;     /* rows of outputs that are made of a slice before the next slice */
    int64_t outputs;   /* elements of a row of results in the strip */
    int64_t wide;      /* elements of a row of the input that they need */
    int64_t phase;     /* elements of a row at one of the stride's phases */
    int is_direct;     /* rows are read where they lie */
    int is_paired;     /* two rows of results are made at a time */
    Run *runs;         /* where a row of the input comes from */
    int64_t run_count;
    const char *item;
    int64_t z;
    int levels;        /* of folds along y: of 1, 2, 4 ... rows */
    int64_t begun, come; /* rows of the chunk of which all folds are made */
    int64_t level_first[MOST_LEVELS], level_slots[MOST_LEVELS];
    PRODUCTS *products;
    const T **sources, **made;
    T **lines, *blank;
    char *outside;     /* a row of the fill value, of the data's type */
} NAME(Work);
#define WORK NAME(Work)

/* Sums in registers */

INLINE void NAME(leaf)(const PRODUCTS *all, int first, int last, T *out, T *next, int64_t x) {
    VECTOR a = {0}, b = {0}, c = {0}, d = {0}, e = {0}, f = {0}, g = {0}, h = {0};
    for (int i = first; i < last; i++) {
        const VECTOR *data = (const VECTOR *)(all->rows[i] + x);
        VECTOR p = data[0], q = data[1], r = data[2], s = data[3];
        if (all->which[i] & 1) {
            VECTOR weight = all->weights[0][i] - (VECTOR){0};
            a += weight * p, b += weight * q, c += weight * r, d += weight * s;
        }
        if (all->which[i] & 2) {
            VECTOR weight = all->weights[1][i] - (VECTOR){0};
            e += weight * p, f += weight * q, g += weight * r, h += weight * s;
        }
    }
    VECTOR *to = (VECTOR *)out;
    to[0] = a, to[1] = b, to[2] = c, to[3] = d;
    if (next) {
        to = (VECTOR *)next;
        to[0] = e, to[1] = f, to[2] = g, to[3] = h;
    }
}

/* Set `out`, and `next` where it is there, to BLOCK sums from x on: a few products in turn, many as the sum of their
   halves. */
APART void NAME(add_up)(const PRODUCTS *all, int64_t taps, int *leaf, T *out, T *next, int64_t x) {
    if (taps <= RUN) {
        int first = *leaf ? all->ends[*leaf - 1] : 0;
        NAME(leaf)(all, first, all->ends[(*leaf)++], out, next, x);
        return;
    }
    T rest[2][BLOCK];
    NAME(add_up)(all, taps / 2, leaf, out, next, x);
    NAME(add_up)(all, taps - taps / 2, leaf, rest[0], next ? rest[1] : NULL, x);
    for (int64_t i = 0; i < BLOCK; i++)
        out[i] = (T)(out[i] + rest[0][i]);
    for (int64_t i = 0; next && i < BLOCK; i++)
        next[i] = (T)(next[i] + rest[1][i]);
}

/* Where the block begins that holds output x of a row: the last one goes back and makes some outputs again. */
INLINE int64_t NAME(start)(int64_t x, int64_t size) { return x + BLOCK > size && size >= BLOCK ? size - BLOCK : x; }

static void NAME(find)(PRODUCTS *all, const T *const *sources) {
    for (int i = 0; i < all->used; i++)
        all->rows[i] = sources[all->place[i]] + all->offset[i];
}

/* Note the products of the taps lo to hi of (planes, tall, wide), whose columns have these offsets. */
static void NAME(begin_leaves)(PRODUCTS *all, int *leaf, const double *weights, int64_t lo, int64_t hi, int64_t tall,
                               int64_t wide, const int64_t *offsets, int is_paired, int skip_zeros) {
    if (hi - lo > RUN) {
        int64_t middle = lo + (hi - lo) / 2;
        NAME(begin_leaves)(all, leaf, weights, lo, middle, tall, wide, offsets, is_paired, skip_zeros);
        NAME(begin_leaves)(all, leaf, weights, middle, hi, tall, wide, offsets, is_paired, skip_zeros);
        return;
    }
    for (int64_t plane = lo / wide / tall; plane <= (hi - 1) / wide / tall; plane++) {
        int64_t first = lo / wide - plane * tall, last = (hi - 1) / wide - plane * tall;
        for (int64_t y = first > 0 ? first : 0; y <= (last < tall ? last : tall - 1) + is_paired; y++)
            for (int64_t x = 0; x < wide; x++) {
                int which = 0;
                for (int64_t of = 0; of <= is_paired; of++) {
                    int64_t tap = (plane * tall + y - of) * wide + x;
                    int is_there = y >= of && y < tall + of && tap >= lo && tap < hi;
                    all->weights[of][all->used] = 0;
                    if (is_there && !(skip_zeros && weights[tap] == 0)) {
                        all->weights[of][all->used] = LANE(weights[tap]);
                        which |= 1 << of;
                    }
                }
                all->which[all->used] = (char)which;
                all->place[all->used] = (int)(plane * (tall + is_paired) + y);
                all->offset[all->used] = offsets[x];
                all->used += which != 0;
            }
    }
    all->ends[(*leaf)++] = all->used;
}

static void NAME(begin)(WORK *work, PRODUCTS *all, const double *weights, int64_t planes, int64_t tall, int64_t wide,
                        const int64_t *offsets, int is_paired, int skip_zeros) {
    int64_t most = 2 * planes * tall * wide + 1;
    int leaf = 0;
    all->taps = planes * tall * wide;
    all->ends = take(work->memory, most * (int64_t)sizeof(int));
    all->rows = take(work->memory, most * (int64_t)sizeof(T *));
    all->place = take(work->memory, most * (int64_t)sizeof(int));
    all->offset = take(work->memory, most * (int64_t)sizeof(int64_t));
    all->weights[0] = take(work->memory, most * (int64_t)sizeof(T));
    all->weights[1] = take(work->memory, most * (int64_t)sizeof(T));
    all->which = take(work->memory, most);
    all->used = 0;
    NAME(begin_leaves)(all, &leaf, weights, 0, all->taps, tall, wide, offsets, is_paired, skip_zeros);
}

#ifndef SHORT
static void NAME(pass)(const PRODUCTS *all, T *out, T *next, int64_t size) {
    for (int64_t x = 0; x < size; x += BLOCK) {
        int64_t from = NAME(start)(x, size);
        int leaf = 0;
        NAME(add_up)(all, all->taps, &leaf, out + from, next ? next + from : NULL, from);
    }
}
#endif

/* From sums to results */

#define EACH(do)                                                                                                     \
    for (int64_t i = 0; i < n; i++)                                                                                  \
        to[i] = do;

/* Set `to`, which may be `sums`, to what a map's sums are worth, with its bias. */
APART void NAME(scale)(const Job *job, F *to, const T *sums, int64_t n, int64_t map) {
    F factor = (F)job->factor;
    int32_t sign = job->with_sign ? 0x8000 : 0; /* shorts are counted modulo 2**16 */
    (void)sign;
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

#ifndef SHORT
/* Add a map's results to those of the maps before it. */
static void NAME(join)(const Job *job, F *to, F *values, int64_t n, int is_first) {
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
#define STORE(type)                                                                                                  \
    if (job->fits)                                                                                                   \
        for (int64_t i = 0; i < n; i++)                                                                              \
            ((type *)place)[i] = (type)(int32_t)ROUNDED(to[i]);                                                      \
    else                                                                                                             \
        for (int64_t i = 0; i < n; i++) {                                                                            \
            F value = (F)ROUNDED(to[i]);                                                                             \
            nans += value != value;                                                                                  \
            clipped += (value < low) | (value > top);                                                                \
            value = value > low ? value : low; /* NaN too */                                                         \
            ((type *)place)[i] = (type)(int32_t)(value < top ? value : top);                                         \
        }

/* What convcli.pixels.render.render does. */
APART void NAME(store)(Job *job, F *restrict to, int64_t n, char *restrict place) {
    F anchor = (F)job->anchor, width = (F)job->width, times = (F)job->times, offset = (F)job->offset;
    F low = (F)job->low, top = (F)job->top;
    int32_t clipped = 0, nans = 0;
    if (!job->is_rendered) {
        memcpy(place, to, (size_t)n * sizeof(F));
        return;
    }
    if (job->is_absolute)
        EACH(to[i] < 0 ? -to[i] : to[i])
    if (anchor != 0)
        EACH(to[i] - anchor)
    if (width != 1)
        EACH(to[i] / width)
    if (times != 1)
        EACH(to[i] * times)
    if (offset != 0)
        EACH(to[i] + offset)
    switch (job->y_type) {
    case U8:
        STORE(uint8_t) break;
    case I8:
        STORE(int8_t) break;
    case U16:
        STORE(uint16_t) break;
    default:
        STORE(int16_t)
    }
    job->clipped += clipped;
    job->nans += nans;
}
#endif

#define ROUND(type)                                                                                                  \
    for (int64_t i = 0; i < n; i++)                                                                                  \
        ((type *)place)[i] = (type)(int32_t)ROUNDED(COUNTED(sums[i]) * factor);

/* Store n sums of a map as results; mostly they are only scaled and rounded. */
APART void NAME(finish)(Job *job, const T *sums, int64_t n, int64_t map, char *restrict place) {
    F values[BLOCK], factor = (F)(job->scale == TIMES ? job->factor : 1);
    int32_t sign = job->with_sign ? 0x8000 : 0;
    (void)sign;
    if (job->is_rounded && job->y_type == U8)
        ROUND(uint8_t)
    else if (job->is_rounded && job->y_type == U16)
        ROUND(uint16_t)
    else {
        NAME(scale)(job, values, sums, n, map);
        FINISH(store)(job, values, n, place);
    }
}

/* Make one row of results, or two, of a map or of what several combine to; the first `done` of them are made again. */
static void NAME(emit)(WORK *work, int64_t maps, int64_t map, int count, int done, char *to) {
    Job *job = work->job;
    int64_t n, size = work->outputs, item = size_of(job->y_type);
    int in_place = IN_FLOATS && !job->is_rendered && job->combine == NONE && size >= BLOCK;
    for (int64_t x = 0; x < size; x += BLOCK) {
        int64_t from = NAME(start)(x, size), again = x - from;
        n = size - from < BLOCK ? size - from : BLOCK;
        F total[2][BLOCK];
        for (int64_t index = map; index < map + maps; index++) {
            T sums[2][BLOCK], *made[2] = {sums[0], sums[1]};
            int leaf = 0;
            for (int row = 0; in_place && row < count; row++)
                made[row] = (T *)(to + row * job->y_y) + from;
            const PRODUCTS *all = work->products + index;
            NAME(add_up)(all, all->taps, &leaf, made[0], count > 1 ? made[1] : NULL, from);
            for (int row = in_place ? 0 : done; row < count; row++) {
                F scaled[BLOCK], *values = IN_FLOATS ? (F *)(void *)made[row] : scaled;
                if (job->combine == NONE && !in_place) {
                    NAME(finish)(job, made[row] + again, n - again, index, to + row * job->y_y + x * item);
                    continue;
                }
                NAME(scale)(job, values, made[row], n, index);
                if (!in_place)
                    FINISH(join)(job, total[row], values, n, index == map);
            }
        }
        for (int row = done; job->combine != NONE && row < count; row++) {
            for (int64_t i = 0; job->combine == MAGNITUDE && i < n; i++)
                total[row][i] = ROOT(total[row][i]);
            FINISH(store)(job, total[row] + again, n - again, to + row * job->y_y + x * item);
        }
    }
}

/* Rows of the input */

#define CONVERT(type)                                                                                                \
    for (int64_t i = 0; i < n; i++)                                                                                  \
        to[i] = (T)((const type *)from)[i];

APART void NAME(convert)(T *restrict to, const char *restrict from, int64_t type, int64_t n) {
    switch (type) {
    case U8:
        CONVERT(uint8_t) break;
    case I8:
        CONVERT(int8_t) break;
    case U16:
        CONVERT(uint16_t) break;
    case I16:
        CONVERT(int16_t) break;
    case F32:
        CONVERT(float) break;
    default:
        CONVERT(double)
    }
}

static void NAME(read)(const WORK *work, T *to, const char *from) {
    const Job *job = work->job;
    for (const Run *run = work->runs; run < work->runs + work->run_count; run++) {
        T *place = to + run->to * job->pixel;
        int64_t n = run->count * job->pixel;
        if (from && run->from >= 0)
            NAME(convert)(place, from + run->from * job->pixel * size_of(job->x_type), job->x_type, n);
        else
            memcpy(place, work->blank, (size_t)n * sizeof(T));
    }
}

/* Sort a row by the phases of the stride: neighbours of a phase then lie beside each other. */
static void NAME(split)(const WORK *work, T *to, const T *from) {
    int64_t step = work->job->stride[2], pixel = work->job->pixel, all = work->wide / pixel;
    for (int64_t rest = 0; rest < step; rest++, to += work->phase)
        for (int64_t i = 0; i * step + rest < all; i++)
            for (int64_t c = 0; c < pixel; c++)
                to[i * pixel + c] = from[(i * step + rest) * pixel + c];
}

/* Where a row of the data begins; NULL outside. */
static const char *NAME(data)(const WORK *work, int64_t channel, int64_t z, int64_t y) {
    const Job *job = work->job;
    z = job->from[0] ? job->from[0][z] : z;
    y = job->from[1] ? job->from[1][y] : y;
    return z < 0 || y < 0 ? NULL : work->item + channel * job->x_channel + z * job->x_z + y * job->x_y;
}

static const T *NAME(row)(WORK *work, int64_t channel, int64_t z, int64_t y, int in_phases) {
    const char *from = NAME(data)(work, channel, z, y);
    if (work->is_direct)
        return from ? (const T *)from + work->runs->from * work->job->pixel : work->blank;
    int is_there;
    int64_t slot = (channel * work->depth + z % work->depth) * work->height + y % work->height;
    T *to = slot_of(&work->inputs, slot, z, y, &is_there);
    if (is_there)
        return to;
    if (in_phases && work->job->stride[2] > 1) {
        NAME(read)(work, work->lines[0], from);
        NAME(split)(work, to, work->lines[0]);
    } else
        NAME(read)(work, to, from);
    return to;
}

/* All taps */

static void NAME(dense_rows)(WORK *work, int64_t y, int done, char *to) {
    const Job *job = work->job;
    const T **source = work->sources;
    for (int64_t channel = 0; channel < job->channels; channel++)
        for (int64_t k = 0; k < job->kernel[0]; k++)
            for (int64_t j = 0; j < job->kernel[1] + work->is_paired; j++)
                *source++ = NAME(row)(work, channel, work->z * job->stride[0] + k * job->dilation[0],
                                      y * job->stride[1] + j * job->dilation[1], 1);
    for (int64_t map = 0; map < job->maps; map++)
        NAME(find)(work->products + map, work->sources);
    for (int64_t map = 0; map < (job->combine == NONE ? job->maps : 1); map++)
        NAME(emit)(work, job->combine == NONE ? 1 : job->maps, map, 1 + work->is_paired, done, to + map * job->y_map);
}

#ifndef SHORT
/* Separable kernels: a pass along z into a ring, one along y into lines, one along x.
   A term has three sets of products; those along x are where `emit` looks for them, the others behind all of these. */

INLINE int NAME(does_nothing)(const WORK *work, const PRODUCTS *all, int axis) {
    return all->taps == 1 && all->weights[0][0] == 1 && work->job->stride[axis] == 1;
}

static const T *NAME(along_z)(WORK *work, int64_t term, int64_t y) {
    const Job *job = work->job;
    PRODUCTS *all = work->products + job->maps + 2 * term;
    int64_t z = work->z * job->stride[0];
    int is_there;
    if (NAME(does_nothing)(work, all, 0))
        return NAME(row)(work, 0, z, y, 0);
    T *to = slot_of(&work->sums, (term * work->height) + y % work->height, work->z, y, &is_there);
    if (is_there)
        return to;
    for (int64_t k = 0; k < job->kernel[0]; k++)
        work->sources[k] = NAME(row)(work, 0, z + k * job->dilation[0], y, 0);
    NAME(find)(all, work->sources);
    NAME(pass)(all, to, NULL, work->wide);
    return to;
}

static void NAME(separable_rows)(WORK *work, int64_t y, int done, char *to) {
    const Job *job = work->job;
    for (int64_t term = 0; term < job->maps; term++) {
        PRODUCTS *all = work->products + job->maps + 2 * term + 1;
        T **lines = work->lines + LINES + 3 * term;
        const T **rows = work->sources + job->kernel[0];
        for (int64_t j = 0; j < job->kernel[1] + work->is_paired; j++)
            rows[j] = NAME(along_z)(work, term, y * job->stride[1] + j * job->dilation[1]);
        work->made[2 * term] = rows[0], work->made[2 * term + 1] = rows[work->is_paired];
        if (!NAME(does_nothing)(work, all, 1)) {
            NAME(find)(all, rows);
            NAME(pass)(all, lines[0], work->is_paired ? lines[1] : NULL, work->wide);
            work->made[2 * term] = lines[0], work->made[2 * term + 1] = lines[1];
        }
    }
    for (int row = 0; row <= work->is_paired; row++) {
        for (int64_t term = 0; term < job->maps; term++) {
            const T *from = work->made[2 * term + row], *phases = work->lines[LINES + 3 * term + 2];
            if (job->stride[2] > 1)
                NAME(split)(work, work->lines[LINES + 3 * term + 2], from);
            NAME(find)(work->products + term, job->stride[2] > 1 ? &phases : &from);
        }
        NAME(emit)(work, job->maps, 0, 1, row < done, to + row * job->y_y);
    }
}
#endif

/* Windows that share their parts: the folds of 1, 2, 4 ... neighbours, from which each size is put together. */

APART void NAME(fold)(int64_t how, T *to, const T *a, const T *b, int64_t n) {
    if (how == ADD)
        EACH((T)(a[i] + b[i]))
    else if (how == GREATEST)
        EACH(a[i] > b[i] || a[i] != a[i] ? a[i] : b[i])
    else
        EACH(a[i] < b[i] || a[i] != a[i] ? a[i] : b[i])
}

/* Along z nothing is shared: halves of halves, in the same tree. */
static const T *NAME(fold_slices)(WORK *work, int64_t y, int64_t first, int64_t count, T *to, T *spare) {
    const Job *job = work->job;
    int64_t left = 1;
    if (count == 1)
        return NAME(row)(work, 0, work->z * job->stride[0] + first * job->dilation[0], y, 0);
    while (2 * left < count)
        left *= 2;
    const T *a = NAME(fold_slices)(work, y, first, left, to, spare);
    const T *b = NAME(fold_slices)(work, y, first + left, count - left, spare, spare + work->wide + BLOCK);
    NAME(fold)(job->fold, to, a, b, work->wide);
    return to;
}

/* The fold of 2**level rows from y on. */
static const T *NAME(fold_level)(WORK *work, int level, int64_t y) {
    const Job *job = work->job;
    int is_there;
    if (level == 0 && job->kernel[0] == 1)
        return NAME(row)(work, 0, work->z * job->stride[0], y, 0);
    int64_t slot = work->level_first[level] + y % work->level_slots[level];
    T *to = slot_of(&work->sums, slot, work->z, y, &is_there);
    if (is_there)
        return to;
    if (level == 0)
        return NAME(fold_slices)(work, y, 0, job->kernel[0], to, work->lines[LINES]);
    const T *a = NAME(fold_level)(work, level - 1, y);
    const T *b = NAME(fold_level)(work, level - 1, y + (job->dilation[1] << (level - 1)));
    NAME(fold)(job->fold, to, a, b, work->wide);
    return to;
}

/* Put a row of windows together.  Wide parts come first: making narrower ones leaves them where they are. */
static const T *NAME(fold_down)(WORK *work, int64_t y, T *to) {
    const Job *job = work->job;
    int64_t size = job->kernel[1], step = job->dilation[1];
    const T *parts[MOST_LEVELS], *total = NULL;
    if (2 * job->stride[1] <= size) /* windows overlap much: make each part when its last row comes */
        for (; work->come < y + extent_of(job, 1); work->come++)
            for (int level = 1; level < work->levels; level++)
                if (work->come - work->begun >= step * ((1 << level) - 1))
                    NAME(fold_level)(work, level, work->come - step * ((1 << level) - 1));
    for (int level = work->levels - 1; level >= 0; level--)
        if (size >> level & 1)
            parts[level] = NAME(fold_level)(work, level, y + (size >> (level + 1) << (level + 1)) * step);
    for (int level = 0; level < work->levels; level++)
        if (size >> level & 1) {
            if (total)
                NAME(fold)(job->fold, to, parts[level], total, work->wide);
            total = total ? to : parts[level];
        }
    return total;
}

#define SLIDE(type)                                                                                                  \
    for (int64_t i = 0; i < n; i++)                                                                                  \
        sums[i] = (T)(sums[i] + (T)((const type *)come)[i] - (T)(gone ? ((const type *)gone)[i] : 0));

APART void NAME(slide)(T *restrict sums, const char *come, const char *gone, int64_t type, int64_t n) {
    switch (type) {
    case U8:
        SLIDE(uint8_t) break;
    case I8:
        SLIDE(int8_t) break;
    case U16:
        SLIDE(uint16_t) break;
    case I16:
        SLIDE(int16_t) break;
    default:
        SLIDE(T)
    }
}

/* Running sums of rows, where these are exact: of the first row from all, then by what comes and what goes. */
static const T *NAME(run_down)(WORK *work, int64_t y, T *sums) {
    const Job *job = work->job;
    int64_t size = job->kernel[1], item = size_of(job->x_type) * job->pixel, whole = work->begun + size;
    if (work->come == work->begun)
        memset(sums, 0, (size_t)work->wide * sizeof(T));
    for (; work->come < y + size; work->come++) {
        if (job->kernel[0] > 1) {
            const T *come = NAME(fold_level)(work, 0, work->come);
            const T *gone = work->come < whole ? NULL : NAME(fold_level)(work, 0, work->come - size);
            NAME(slide)(sums, (const char *)come, (const char *)gone, -1, work->wide);
            continue;
        }
        int64_t z = work->z * job->stride[0];
        const char *come = NAME(data)(work, 0, z, work->come), *gone = NULL;
        if (work->come >= whole)
            gone = NAME(data)(work, 0, z, work->come - size);
        for (const Run *run = work->runs; run < work->runs + work->run_count; run++) {
            const char *of = come && run->from >= 0 ? come + run->from * item : work->outside;
            const char *less = gone && run->from >= 0 ? gone + run->from * item : work->outside;
            NAME(slide)(sums + run->to * job->pixel, of, work->come < whole ? NULL : less, job->x_type,
                        run->count * job->pixel);
        }
    }
    return sums;
}

/* Fold along a row of `all` windows, by windows that share their parts. */
static const T *NAME(fold_along)(const WORK *work, const T *row, int64_t all) {
    const Job *job = work->job;
    int64_t size = job->kernel[2], gap = job->dilation[2] * job->pixel, n = work->wide;
    const T *parts = row, *total = NULL, *held = NULL;
    for (int level = 0; size >> level; level++) {
        if (size >> level & 1) {
            const T *part = parts + (size >> (level + 1) << (level + 1)) * gap;
            if (total)
                NAME(fold)(job->fold, work->lines[4], part, total, all);
            held = total ? NULL : parts;
            total = total ? work->lines[4] : part;
        }
        if (size >> (level + 1)) { /* into a line that holds neither the parts nor the total */
            int line = 1;
            while (work->lines[line] == parts || work->lines[line] == held)
                line++;
            NAME(fold)(job->fold, work->lines[line], parts, parts + (gap << level), n -= gap << level);
            parts = work->lines[line];
        }
    }
    return total;
}

static void NAME(fold_row)(WORK *work, int64_t y, char *to) {
    Job *job = work->job;
    int64_t step = job->stride[2], all = work->wide - job->pixel * (extent_of(job, 2) - 1);
    const T *row = job->is_exact ? NAME(run_down)(work, y * job->stride[1], work->lines[LINES - 1])
                                 : NAME(fold_down)(work, y * job->stride[1], work->lines[0]);
    const T *total = NAME(fold_along)(work, row, all);
    if (step > 1) {
        T *kept = work->lines[LINES - 2];
        for (int64_t i = 0; i < work->outputs; i++)
            kept[i] = total[i / job->pixel * step * job->pixel + i % job->pixel];
        total = kept;
    }
    if (IN_FLOATS && !job->is_rendered) {
        NAME(scale)(job, (F *)(void *)to, total, work->outputs, 0);
        return;
    }
    for (int64_t x = 0; x < work->outputs; x += BLOCK) {
        int64_t n = work->outputs - x < BLOCK ? work->outputs - x : BLOCK;
        NAME(finish)(job, total + x, n, 0, to + x * size_of(job->y_type));
    }
}

/* All rows */

static void NAME(begin_strip)(WORK *work, int64_t first, int64_t count) {
    const Job *job = work->job;
    int64_t step = job->stride[2], reach = extent_of(job, 2) - 1;
    work->outputs = count * job->pixel;
    work->wide = ((count - 1) * step + reach + 1) * job->pixel;
    work->run_count = 0;
    for (int64_t place = 0, n = work->wide / job->pixel; place < n; place++) {
        int64_t from = job->from[2] ? job->from[2][first * step + place] : first * step + place;
        Run *last = work->runs + work->run_count - 1;
        if (work->run_count && from == (last->from < 0 ? -1 : last->from + last->count))
            last->count++;
        else
            work->runs[work->run_count++] = (Run){place, from, 1};
    }
}

/* Make the rows of a chunk of one slice. */
static void NAME(chunk)(WORK *work, int64_t from, int64_t stop, char *to) {
    const Job *job = work->job;
    work->come = work->begun = from * job->stride[1];
    for (int64_t y = from; y < stop; y += 1 + work->is_paired) {
        int done = work->is_paired && y + 1 == stop; /* an odd row: the one before it is made again */
        char *place = to + (y - done) * job->y_y;
        if (job->form == DENSE)
            NAME(dense_rows)(work, y - done, done, place);
        else if (job->form == FOLD)
            NAME(fold_row)(work, y, place);
#ifndef SHORT
        else
            NAME(separable_rows)(work, y - done, done, place);
#endif
    }
}

/* Note all products of a job: of dense kernels a set for each map, of separable ones one for each term and axis. */
static void NAME(begin_products)(WORK *work) {
    const Job *job = work->job;
    const int64_t *kernel = job->kernel, count = job->channels * kernel[0] * kernel[1] * kernel[2];
    int64_t *offsets = take(work->memory, kernel[2] * (int64_t)sizeof(int64_t)), none = 0;
    int skip = job->finite != 0, pair = work->is_paired;
    for (int64_t i = 0; i < kernel[2]; i++) { /* each phase of the stride is a run of its own */
        int64_t distance = i * job->dilation[2], step = job->stride[2];
        offsets[i] = distance % step * work->phase + distance / step * job->pixel;
    }
    work->products = take(work->memory, 3 * job->maps * (int64_t)sizeof(PRODUCTS));
    for (int64_t map = 0; map < job->maps; map++) {
        PRODUCTS *along = work->products + map, *before = work->products + job->maps + 2 * map;
        const double *weights = job->weights + map * (kernel[0] + kernel[1] + kernel[2]);
        if (job->form == DENSE) {
            NAME(begin)(work, along, job->weights + map * count, job->channels * kernel[0], kernel[1], kernel[2],
                        offsets, pair, skip);
            continue;
        }
        NAME(begin)(work, before, weights, kernel[0], 1, 1, &none, 0, 0);
        NAME(begin)(work, before + 1, weights + kernel[0], 1, kernel[1], 1, &none, pair, 0);
        NAME(begin)(work, along, weights + kernel[0] + kernel[1], 1, 1, kernel[2], offsets, 0, 0);
    }
}

static void NAME(run)(Job *job, Memory *memory) {
    WORK work = {.job = job, .memory = memory};
    const int64_t *kernel = job->kernel;
    int64_t step = job->stride[2], extent = extent_of(job, 1), sums = 0, is_deep = kernel[0] > 1;
    work.is_paired = job->form != FOLD && job->stride[1] == job->dilation[1] && job->size[1] > 1;
    work.chunk = is_deep && 2 * extent + 16 < job->size[1] ? 2 * extent + 16 : job->size[1];
    work.depth = extent_of(job, 0);
    work.height = extent + (is_deep ? work.chunk : 2) * job->stride[1];
    int64_t inputs = job->form == FOLD && job->is_exact && !is_deep ? 0 : job->channels * work.depth * work.height;
    if (job->form == SEPARABLE)
        sums = job->maps * work.height;
    while (job->form == FOLD && (job->is_exact ? is_deep && !work.levels : kernel[1] >> work.levels)) {
        work.level_first[work.levels] = sums;
        work.level_slots[work.levels] = job->is_exact ? extent + 1 : ((1 << work.levels) + 1) * job->dilation[1] + job->stride[1];
        sums += work.level_slots[work.levels++];
    }
    int64_t most = (is_deep ? 2 : 1) * CACHE / (int64_t)sizeof(T) / (inputs + (is_deep || job->form == FOLD ? sums : 0) + 4) / job->pixel / step;
    most = most < 2 * extent_of(job, 2) ? 2 * extent_of(job, 2) : most;
    most = most * job->pixel < 8 * BLOCK ? 8 * BLOCK / job->pixel + 1 : most;
    int64_t strips = (job->size[2] + most - 1) / most, count = (job->size[2] + strips - 1) / strips;
    int64_t row = ((count + 1) * step + extent_of(job, 2)) * job->pixel + BLOCK, bytes = row * (int64_t)sizeof(T);
    work.phase = (count + (extent_of(job, 2) - 1) / step) * job->pixel;
    begin_ring(memory, &work.inputs, inputs, bytes);
    begin_ring(memory, &work.sums, sums, bytes);
    int64_t lines = LINES + (job->form == FOLD ? 1 : 3 * job->maps);
    work.lines = take(memory, lines * (int64_t)sizeof(T *));
    for (int64_t line = 0; line < lines; line++) /* the last one of folds is one for each half of the slices */
        work.lines[line] = take(memory, bytes * (job->form == FOLD && line == LINES ? 24 : 1));
    work.blank = take(memory, bytes);
    work.outside = take(memory, 2 * bytes);
    for (int64_t i = 0; i < row; i++)
        work.blank[i] = LANE(job->fill);
    for (int64_t i = 0; job->is_exact && i < row; i++) /* the fill value is one of the data's integers */
        if (size_of(job->x_type) == 1)
            work.outside[i] = (char)(int)job->fill;
        else
            ((uint16_t *)(void *)work.outside)[i] = (uint16_t)(int)job->fill;
    work.runs = take(memory, row * (int64_t)sizeof(Run));
    work.made = take(memory, 2 * job->maps * (int64_t)sizeof(T *));
    work.sources = take(memory, (job->channels * kernel[0] * (kernel[1] + 1) + kernel[0] + kernel[1] + 1) * (int64_t)sizeof(T *));
    if (job->form != FOLD)
        NAME(begin_products)(&work);
    int64_t inside[2] = {0, job->size[2]}; /* outputs that see nothing but neighbours in the data */
    if (job->x_type == TYPE && (step == 1 || job->form != DENSE))
        find_inside(job, inside);
    for (int64_t first = 0, n; first < job->size[2]; first += n) {
        int64_t stop = first < inside[0] ? inside[0] : first < inside[1] ? inside[1] : job->size[2];
        n = stop - first < count ? stop - first : count;
        work.is_direct = job->x_type == TYPE && (step == 1 || job->form != DENSE) && n * job->pixel >= BLOCK &&
                         first >= inside[0] && first + n <= inside[1];
        NAME(begin_strip)(&work, first, n);
        for (int64_t item = 0; item < job->items; item++) {
            forget(&work.inputs);
            forget(&work.sums);
            work.item = job->x + item * job->x_item;
            char *to = job->y + item * job->y_item + first * job->pixel * size_of(job->y_type);
            for (int64_t y = 0; y < job->size[1]; y += work.chunk)
                for (work.z = 0; work.z < job->size[0]; work.z++)
                    NAME(chunk)(&work, y, y + work.chunk < job->size[1] ? y + work.chunk : job->size[1],
                                to + work.z * job->y_z);
        }
    }
}

#undef VECTOR
#undef BLOCK
#undef PRODUCTS
#undef WORK
#undef EACH
#undef STORE
#undef CONVERT
#undef ROUND
#undef SLIDE
