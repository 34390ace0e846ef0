/* The loops for one type of lanes: T in which sums are made, F in which they are finished. */

typedef T NAME(Vector) __attribute__((vector_size(WIDTH), aligned(sizeof(T)), may_alias));
#define VECTOR NAME(Vector)
#define LANES ((int64_t)(WIDTH / sizeof(T)))
#define BLOCK (8 * LANES) /* sums that are made in registers at a time */

/* Sources of one output's taps, in the definition's order; `at[i]` of the first i are there, the rest have no weight. */
typedef struct {
    const T **rows;
    T *weights;
    int *at;
    int count;
} NAME(Taps);
#define TAPS NAME(Taps)

typedef struct {
    Job *job;
    Ring inputs, sums;  /* converted rows; for FOLD all levels, for SEPARABLE results along z */
    int64_t first;      /* of the strip, in pixels of the output */
    int64_t outputs;    /* elements of a row of results in the strip */
    int64_t wide;       /* elements of a row of the input that they need */
    int64_t phase;      /* elements of a row at one of the stride's phases */
    int is_direct;      /* rows are read where they lie */
    Run *runs;          /* where a row of the input comes from */
    int run_count;
    const char *item;
    int64_t z;
    int levels;         /* of folds along y: of 1, 2, 4 ... rows */
    int64_t come;       /* rows of which all folds are made */
    int64_t level_first[MOST_LEVELS], level_slots[MOST_LEVELS];
    TAPS *taps;
    T *line, *spare, *blank;
} NAME(Work);
#define WORK NAME(Work)

/* Sums in registers */

INLINE void NAME(whole)(T *out, const T *const *rows, const T *weights, int count, int64_t x) {
    VECTOR a = {0}, b = {0}, c = {0}, d = {0}, e = {0}, f = {0}, g = {0}, h = {0};
    for (int tap = 0; tap < count; tap++) {
        const VECTOR *data = (const VECTOR *)(rows[tap] + x);
        VECTOR weight = weights[tap] - (VECTOR){0};
        a += weight * data[0];
        b += weight * data[1];
        c += weight * data[2];
        d += weight * data[3];
        e += weight * data[4];
        f += weight * data[5];
        g += weight * data[6];
        h += weight * data[7];
    }
    VECTOR *to = (VECTOR *)out;
    to[0] = a, to[1] = b, to[2] = c, to[3] = d, to[4] = e, to[5] = f, to[6] = g, to[7] = h;
}

INLINE void NAME(part)(T *out, const T *const *rows, const T *weights, int count, int64_t x, int64_t n) {
    if (n == LANES) {
        VECTOR sum = {0};
        for (int tap = 0; tap < count; tap++)
            sum += (weights[tap] - (VECTOR){0}) * *(const VECTOR *)(rows[tap] + x);
        *(VECTOR *)out = sum;
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        T sum = 0;
        for (int tap = 0; tap < count; tap++)
            sum = (T)(sum + (T)(weights[tap] * rows[tap][x + i]));
        out[i] = sum;
    }
}

/* Set `out` to the sums of n outputs from x on: a few products in turn, many as the sum of their halves. */
APART void NAME(add_up)(T *out, const TAPS *taps, int lo, int hi, int64_t x, int64_t n) {
    if (hi - lo <= RUN) {
        int first = taps->at[lo], count = taps->at[hi] - first;
        if (n == BLOCK)
            NAME(whole)(out, taps->rows + first, taps->weights + first, count, x);
        else
            NAME(part)(out, taps->rows + first, taps->weights + first, count, x, n);
        return;
    }
    T rest[BLOCK];
    int middle = lo + (hi - lo) / 2;
    NAME(add_up)(out, taps, lo, middle, x, n);
    NAME(add_up)(rest, taps, middle, hi, x, n);
    for (int64_t i = 0; i < n; i++)
        out[i] += rest[i];
}

/* How many outputs are made at once when n are left of a row of `size`, and from where: the last ones may be made twice. */
INLINE int64_t NAME(step)(int64_t x, int64_t size, int64_t *from) {
    int64_t n = size - x, made = n >= BLOCK || (size >= BLOCK && n > 2 * LANES) ? BLOCK : size >= LANES ? LANES : n;
    *from = x + made > size ? size - made : x;
    return made;
}

#ifndef SHORT
static void NAME(pass)(T *out, const TAPS *taps, int64_t size) {
    int64_t from, n;
    for (int64_t x = 0; x < size; x = from + n) {
        n = NAME(step)(x, size, &from);
        NAME(add_up)(out + from, taps, 0, taps->count, from, n);
    }
}
#endif

/* From sums to results */

#ifndef SHORT
#define EACH(do)                                                                                                     \
    for (int64_t i = 0; i < n; i++)                                                                                  \
        values[i] = do;

static void NAME(scale)(const Job *job, F *values, int64_t n, int64_t map) {
    F factor = (F)job->factor;
    if (job->scale == TIMES)
        EACH(values[i] * factor)
    else if (job->scale == DIVIDED_BY)
        EACH(values[i] / factor)
    if (job->bias) {
        F bias = (F)job->bias[map];
        EACH(values[i] + bias)
    }
}

/* Add a map's results to those of the maps before it. */
static void NAME(join)(const Job *job, F *total, F *values, int64_t n, int is_first) {
    if (job->combine == MAGNITUDE)
        EACH(values[i] * values[i])
    for (int64_t i = 0; i < n; i++)
        if (job->combine == MAXIMUM && !is_first)
            total[i] = total[i] > values[i] || total[i] != total[i] ? total[i] : values[i];
        else
            total[i] = is_first ? values[i] : total[i] + values[i];
}

/* Round n values, count and cut what is outside, and store them. */
#define STORE(type)                                                                                                  \
    if (job->fits)                                                                                                   \
        for (int64_t i = 0; i < n; i++)                                                                              \
            ((type *)to)[i] = (type)(int32_t)ROUNDED(values[i]);                                                     \
    else                                                                                                             \
        for (int64_t i = 0; i < n; i++) {                                                                            \
            F value = (F)ROUNDED(values[i]);                                                                         \
            nans += value != value;                                                                                  \
            clipped += (value < low) | (value > top);                                                                \
            value = value > low ? value : low; /* NaN too */                                                         \
            ((type *)to)[i] = (type)(int32_t)(value < top ? value : top);                                            \
        }

/* What convcli.pixels.render.render does. */
APART void NAME(store)(Job *job, F *restrict values, int64_t n, char *restrict to) {
    F anchor = (F)job->anchor, width = (F)job->width, times = (F)job->times, offset = (F)job->offset;
    F low = (F)job->low, top = (F)job->top;
    int32_t clipped = 0, nans = 0;
    if (!job->is_rendered) {
        memcpy(to, values, (size_t)n * sizeof(F));
        return;
    }
    if (job->is_absolute)
        EACH(values[i] < 0 ? -values[i] : values[i])
    if (anchor != 0)
        EACH(values[i] - anchor)
    if (width != 1)
        EACH(values[i] / width)
    if (times != 1)
        EACH(values[i] * times)
    if (offset != 0)
        EACH(values[i] + offset)
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
#define FINISH(name) NAME(name)
#else
#define FINISH(name) JOINED(name, float)
#endif

/* Make a row of results of one map, or of what several combine to, from the sums of their taps. */
static void NAME(emit)(WORK *work, int64_t maps, int64_t map, char *to) {
    Job *job = work->job;
    int64_t from, n, size = work->outputs;
    for (int64_t x = 0; x < size; x = from + n) {
        F total[BLOCK], *made = total;
        T sums[BLOCK];
        n = NAME(step)(x, size, &from);
        for (int64_t index = map; index < map + maps; index++) {
            NAME(add_up)(sums, work->taps + index, 0, work->taps[index].count, from, n);
#ifdef SHORT
            F values[BLOCK];
            for (int64_t i = 0; i < n; i++)
                values[i] = job->with_sign ? (F)(int16_t)sums[i] : (F)sums[i];
#else
            F *values = sums;
#endif
            FINISH(scale)(job, values, n, index);
            if (job->combine == NONE)
                FINISH(store)(job, values + x - from, n - x + from, to + x * size_of(job->y_type));
            else
                FINISH(join)(job, made, values, n, index == map);
        }
        if (job->combine == NONE)
            continue;
        if (job->combine == MAGNITUDE)
            for (int64_t i = 0; i < n; i++)
                total[i] = ROOT(total[i]);
        FINISH(store)(job, total + x - from, n - x + from, to + x * size_of(job->y_type));
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

/* Sort a row by the phases of the stride: neighbours of a phase then lie beside each other. */
static void NAME(split)(const WORK *work, T *to, const T *from) {
    int64_t step = work->job->stride[2], pixel = work->job->pixel, all = work->wide / pixel;
    for (int64_t rest = 0; rest < step; rest++, to += work->phase)
        for (int64_t i = 0; i * step + rest < all; i++)
            for (int64_t c = 0; c < pixel; c++)
                to[i * pixel + c] = from[(i * step + rest) * pixel + c];
}

static void NAME(read)(const WORK *work, T *to, const char *from) {
    const Job *job = work->job;
    for (const Run *run = work->runs; run < work->runs + work->run_count; run++) {
        T *place = to + run->to * job->pixel;
        int64_t n = run->count * job->pixel;
        if (from && run->from >= 0)
            NAME(convert)(place, from + run->from * job->pixel * size_of(job->x_type), job->x_type, n);
        else
            for (int64_t i = 0; i < n; i++)
                place[i] = LANE(job->fill);
    }
}

static const T *NAME(row)(WORK *work, int64_t place, int64_t channel, int64_t z, int64_t y, int in_phases) {
    const Job *job = work->job;
    Ring *ring = &work->inputs;
    int64_t extent = extent_of(job, 1) + job->stride[1], slot = place * extent + y % extent, tag = z << 32 | y;
    z = job->from[0] ? job->from[0][z] : z;
    y = job->from[1] ? job->from[1][y] : y;
    const char *from = z < 0 || y < 0 ? NULL : work->item + channel * job->x_channel + z * job->x_z + y * job->x_y;
    if (work->is_direct)
        return from ? (const T *)from + work->runs->from * job->pixel : work->blank;
    T *to = (T *)(ring->rows + slot * ring->bytes);
    if (ring->tags[slot] != tag) {
        ring->tags[slot] = tag;
        if (in_phases && job->stride[2] > 1) {
            NAME(read)(work, work->spare, from);
            NAME(split)(work, to, work->spare);
        } else
            NAME(read)(work, to, from);
    }
    return to;
}

/* The place of a tap in a row: each phase of the stride is a run of its own. */
static int64_t NAME(offset)(const WORK *work, int64_t tap) {
    int64_t distance = tap * work->job->dilation[2], step = work->job->stride[2];
    return distance % step * work->phase + distance / step * work->job->pixel;
}

static void NAME(dense_row)(WORK *work, int64_t y, char *to) {
    const Job *job = work->job;
    const int64_t *kernel = job->kernel;
    for (int64_t channel = 0, tap = 0; channel < job->channels; channel++)
        for (int64_t k = 0; k < kernel[0]; k++)
            for (int64_t j = 0; j < kernel[1]; j++) {
                int64_t z = work->z * job->stride[0] + k * job->dilation[0];
                int64_t place = channel * kernel[0] + k;
                const T *row = NAME(row)(work, place, channel, z, y * job->stride[1] + j * job->dilation[1], 1);
                for (int64_t i = 0; i < kernel[2]; i++, tap++)
                    for (int64_t map = 0; map < job->maps; map++) {
                        TAPS *taps = work->taps + map;
                        if (taps->at[tap + 1] > taps->at[tap])
                            taps->rows[taps->at[tap]] = row + NAME(offset)(work, i);
                    }
            }
    if (job->combine != NONE) {
        NAME(emit)(work, job->maps, 0, to);
        return;
    }
    for (int64_t map = 0; map < job->maps; map++)
        NAME(emit)(work, 1, map, to + map * job->y_map);
}

#ifndef SHORT
/* Separable kernels: a pass along z into a ring, one along y into a line, one along x.
   A term has three sets of taps; those along x are where `emit` looks for them, the others behind all of these. */

INLINE int NAME(does_nothing)(const WORK *work, const TAPS *taps, int axis) {
    return taps->count == 1 && taps->at[1] == 1 && taps->weights[0] == 1 && work->job->stride[axis] == 1;
}

static const T *NAME(along_z)(WORK *work, int64_t term, int64_t y) {
    const Job *job = work->job;
    TAPS *taps = work->taps + job->maps + 2 * term;
    int64_t z = work->z * job->stride[0];
    if (NAME(does_nothing)(work, taps, 0))
        return NAME(row)(work, 0, 0, z, y, 0);
    Ring *ring = &work->sums;
    int64_t extent = extent_of(job, 1), slot = term * extent + y % extent;
    T *to = (T *)(ring->rows + slot * ring->bytes);
    if (ring->tags[slot] != (work->z << 32 | y)) {
        ring->tags[slot] = work->z << 32 | y;
        for (int64_t k = 0; k < job->kernel[0]; k++)
            if (taps->at[k + 1] > taps->at[k])
                taps->rows[taps->at[k]] = NAME(row)(work, k, 0, z + k * job->dilation[0], y, 0);
        NAME(pass)(to, taps, work->wide);
    }
    return to;
}

static void NAME(separable_row)(WORK *work, int64_t y, char *to) {
    const Job *job = work->job;
    int64_t step = job->stride[2], line = step * work->phase;
    for (int64_t term = 0; term < job->maps; term++) {
        TAPS *taps = work->taps + job->maps + 2 * term + 1, *last = work->taps + term;
        T *sums = work->line + term * line;
        const T *row;
        if (NAME(does_nothing)(work, taps, 1))
            row = NAME(along_z)(work, term, y);
        else {
            for (int64_t j = 0; j < job->kernel[1]; j++)
                if (taps->at[j + 1] > taps->at[j])
                    taps->rows[taps->at[j]] =
                        NAME(along_z)(work, term, y * job->stride[1] + j * job->dilation[1]);
            T *made = step > 1 ? work->spare : sums;
            NAME(pass)(made, taps, work->wide);
            row = made;
        }
        if (step > 1) {
            NAME(split)(work, sums, row);
            row = sums;
        }
        for (int64_t i = 0; i < job->kernel[2]; i++)
            if (last->at[i + 1] > last->at[i])
                last->rows[last->at[i]] = row + NAME(offset)(work, i);
    }
    NAME(emit)(work, job->maps, 0, to);
}

/* Windows that share their parts: the folds of 1, 2, 4 ... neighbours, from which each size is put together. */

APART void NAME(fold)(int64_t how, T *out, const T *a, const T *b, int64_t n) {
    if (how == ADD)
        for (int64_t i = 0; i < n; i++)
            out[i] = a[i] + b[i];
    else if (how == GREATEST)
        for (int64_t i = 0; i < n; i++)
            out[i] = a[i] > b[i] || a[i] != a[i] ? a[i] : b[i];
    else
        for (int64_t i = 0; i < n; i++)
            out[i] = a[i] < b[i] || a[i] != a[i] ? a[i] : b[i];
}

static const T *NAME(fold_level)(WORK *work, int level, int64_t y);

/* Put a row of windows together.  Wide parts come first: making narrower ones leaves them where they are. */
static const T *NAME(fold_rows)(WORK *work, int64_t y, T *out) {
    const Job *job = work->job;
    int64_t size = job->kernel[1], step = job->dilation[1];
    const T *parts[MOST_LEVELS], *total = NULL;
    for (int level = work->levels - 1; level >= 0; level--)
        if (size >> level & 1)
            parts[level] = NAME(fold_level)(work, level, y + (size >> (level + 1) << (level + 1)) * step);
    for (int level = 0; level < work->levels; level++)
        if (size >> level & 1) {
            if (total)
                NAME(fold)(job->fold, out, parts[level], total, work->wide);
            total = total ? out : parts[level];
        }
    return total;
}

/* The same along z, which shares nothing: halves of halves, in the same tree. */
static const T *NAME(fold_slices)(WORK *work, int64_t y, int64_t first, int64_t count, T *out) {
    const Job *job = work->job;
    int64_t z = work->z * job->stride[0];
    int64_t high = 1;
    while (2 * high <= count)
        high *= 2;
    if (count == 1)
        return NAME(row)(work, first, 0, z + first * job->dilation[0], y, 0);
    int64_t left = high == count ? high / 2 : high;
    const T *a = NAME(fold_slices)(work, y, first, left, out);
    const T *b = NAME(fold_slices)(work, y, first + left, count - left, out + work->wide);
    NAME(fold)(job->fold, out, a, b, work->wide);
    return out;
}

static const T *NAME(fold_level)(WORK *work, int level, int64_t y) {
    const Job *job = work->job;
    if (level == 0 && job->kernel[0] == 1)
        return NAME(row)(work, 0, 0, work->z * job->stride[0], y, 0);
    Ring *ring = &work->sums;
    int64_t slot = work->level_first[level] + y % work->level_slots[level];
    T *to = (T *)(ring->rows + slot * ring->bytes);
    if (ring->tags[slot] != (work->z << 32 | y)) {
        if (level == 0) {
            const T *made = NAME(fold_slices)(work, y, 0, job->kernel[0], work->spare);
            memcpy(to, made, (size_t)work->wide * sizeof(T));
        } else {
            const T *a = NAME(fold_level)(work, level - 1, y);
            const T *b = NAME(fold_level)(work, level - 1, y + (job->dilation[1] << (level - 1)));
            NAME(fold)(job->fold, to, a, b, work->wide);
        }
        ring->tags[slot] = work->z << 32 | y;
    }
    return to;
}

/* Running sums of rows, where these are exact: of the first row from all, then by what comes and what goes. */
static void NAME(run_down)(WORK *work, int64_t y, T *sums) {
    const Job *job = work->job;
    int64_t size = job->kernel[1], n = work->wide;
    for (; work->come < y + size; work->come++) {
        if (work->come >= size) {
            const T *gone = NAME(fold_level)(work, 0, work->come - size);
            for (int64_t i = 0; i < n; i++)
                sums[i] -= gone[i];
        } else if (work->come == 0)
            memset(sums, 0, (size_t)n * sizeof(T));
        const T *row = NAME(fold_level)(work, 0, work->come);
        for (int64_t i = 0; i < n; i++)
            sums[i] += row[i];
    }
}

/* The same along a row, from left to right. */
static void NAME(run_along)(const WORK *work, T *total, const T *sums, int64_t all) {
    int64_t gap = work->job->kernel[2] * work->job->pixel, pixel = work->job->pixel;
    int32_t *each = (int32_t *)work->spare;
    for (int64_t i = 0; i < all + gap - pixel; i++)
        each[i] = (int32_t)(i < gap ? sums[i] : sums[i] - sums[i - gap]);
    for (int64_t c = 0; c < pixel; c++) {
        int32_t sum = 0;
        int64_t i = c;
        for (; i < gap - pixel; i += pixel)
            sum += each[i];
        for (int64_t x = c; x < all; x += pixel, i += pixel)
            each[i] = sum += each[i];
    }
    for (int64_t x = 0; x < all; x++)
        total[x] = (T)each[x + gap - pixel];
}

/* The same by windows that share their parts. */
static void NAME(fold_along)(const WORK *work, T *total, T *parts, int64_t all) {
    const Job *job = work->job;
    int64_t size = job->kernel[2], gap = job->dilation[2] * job->pixel, n = work->wide;
    for (int level = 0, is_first = 1; size >> level; level++) {
        if (size >> level & 1) {
            const T *part = parts + (size >> (level + 1) << (level + 1)) * gap;
            if (is_first)
                memcpy(total, part, (size_t)all * sizeof(T));
            else
                NAME(fold)(job->fold, total, part, total, all);
            is_first = 0;
        }
        if (size >> (level + 1)) {
            n -= gap << level;
            NAME(fold)(job->fold, parts, parts, parts + (gap << level), n);
        }
    }
}

static void NAME(fold_row)(WORK *work, int64_t y, char *to) {
    Job *job = work->job;
    int64_t step = job->stride[2], all = work->wide - job->pixel * (extent_of(job, 2) - 1);
    T *parts = work->line, *total = work->line + work->wide;
    y *= job->stride[1];
    if (job->is_exact)
        NAME(run_down)(work, y, parts);
    else if (2 * job->stride[1] <= job->kernel[1]) /* windows overlap much: make each part when its last row comes */
        for (; work->come < y + extent_of(job, 1); work->come++)
            for (int level = 1; level < work->levels; level++) {
                int64_t place = work->come - job->dilation[1] * ((1 << level) - 1);
                if (place >= 0)
                    NAME(fold_level)(work, level, place);
            }
    if (job->is_exact)
        NAME(run_along)(work, total, parts, all);
    else {
        const T *rows = NAME(fold_rows)(work, y, parts);
        if (rows != parts)
            memcpy(parts, rows, (size_t)work->wide * sizeof(T));
        NAME(fold_along)(work, total, parts, all);
    }
    for (int64_t i = 0; step > 1 && i < work->outputs / job->pixel; i++)
        memmove(total + i * job->pixel, total + i * step * job->pixel, (size_t)job->pixel * sizeof(T));
    for (int64_t x = 0; x < work->outputs; x += BLOCK) {
        int64_t n = work->outputs - x < BLOCK ? work->outputs - x : BLOCK;
        NAME(scale)(job, total + x, n, 0);
        NAME(store)(job, total + x, n, to + x * size_of(job->y_type));
    }
}
#endif

/* All rows */

static int NAME(begin_taps)(TAPS *taps, const double *weights, int64_t count, int skip_zeros) {
    taps->count = (int)count;
    taps->rows = malloc((size_t)count * sizeof(T *));
    taps->weights = malloc((size_t)count * sizeof(T));
    taps->at = malloc((size_t)(count + 1) * sizeof(int));
    if (!taps->rows || !taps->weights || !taps->at)
        return 0;
    taps->at[0] = 0;
    for (int64_t tap = 0; tap < count; tap++) {
        int there = !skip_zeros || weights[tap] != 0;
        if (there)
            taps->weights[taps->at[tap]] = LANE(weights[tap]);
        taps->at[tap + 1] = taps->at[tap] + there;
    }
    return 1;
}

/* All taps of a job: of dense kernels one set a map, of separable ones one set a term and axis. */
static int NAME(begin_all_taps)(WORK *work) {
    const Job *job = work->job;
    const int64_t *kernel = job->kernel, count = job->channels * kernel[0] * kernel[1] * kernel[2];
    int made = 1;
    for (int64_t map = 0; map < job->maps && made; map++) {
        const double *weights = job->weights + map * (job->form == DENSE ? count : kernel[0] + kernel[1] + kernel[2]);
        if (job->form == DENSE) {
            made = NAME(begin_taps)(work->taps + map, weights, count, job->finite != 0);
            continue;
        }
        TAPS *before = work->taps + job->maps + 2 * map;
        made = NAME(begin_taps)(before, weights, kernel[0], 0) &&
               NAME(begin_taps)(before + 1, weights + kernel[0], kernel[1], 0) &&
               NAME(begin_taps)(work->taps + map, weights + kernel[0] + kernel[1], kernel[2], 0);
    }
    return made;
}

static void NAME(strip)(WORK *work, int64_t first, int64_t count) {
    const Job *job = work->job;
    int64_t step = job->stride[2], reach = extent_of(job, 2) - 1;
    work->first = first;
    work->outputs = count * job->pixel;
    work->wide = ((count - 1) * step + reach + 1) * job->pixel;
    work->phase = (count + reach / step) * job->pixel;
    work->run_count = 0;
    for (int64_t place = 0, n = work->wide / job->pixel; place < n; place++) {
        int64_t from = job->from[2] ? job->from[2][first * step + place] : first * step + place;
        Run *last = work->runs + work->run_count - 1;
        if (work->run_count && from == (last->from < 0 ? -1 : last->from + last->count))
            last->count++;
        else
            work->runs[work->run_count++] = (Run){place, from, 1};
    }
    for (int64_t i = 0; i < work->wide; i++)
        work->blank[i] = LANE(job->fill);
    for (int64_t item = 0; item < job->items; item++)
        for (int64_t z = 0; z < job->size[0]; z++) {
            work->item = job->x + item * job->x_item;
            work->z = z;
            work->come = 0;
            forget(&work->inputs);
            forget(&work->sums);
            char *to = job->y + item * job->y_item + z * job->y_z + first * job->pixel * size_of(job->y_type);
            for (int64_t y = 0; y < job->size[1]; y++, to += job->y_y) {
#ifndef SHORT
                if (job->form == SEPARABLE) {
                    NAME(separable_row)(work, y, to);
                    continue;
                }
                if (job->form == FOLD) {
                    NAME(fold_row)(work, y, to);
                    continue;
                }
#endif
                NAME(dense_row)(work, y, to);
            }
        }
}

static int NAME(run)(Job *job) {
    WORK work = {.job = job};
    int64_t step = job->stride[2], extent = extent_of(job, 1), sets = job->form == FOLD ? 0 : 3 * job->maps;
    int64_t inputs = job->channels * job->kernel[0] * (extent + job->stride[1]), sums = 0;
    work.is_direct = job->x_type == TYPE && !job->from[2] && (step == 1 || job->form != DENSE);
    if (job->form == SEPARABLE)
        sums = job->maps * extent;
    while (job->form == FOLD && (job->is_exact ? !work.levels : job->kernel[1] >> work.levels)) {
        work.level_first[work.levels] = sums;
        work.level_slots[work.levels] = ((1 << work.levels) + 1) * job->dilation[1] + job->stride[1];
        if (job->is_exact)
            work.level_slots[0] = extent + 1;
        sums += work.level_slots[work.levels++];
    }
    int64_t most = STRIP / (int64_t)sizeof(T) / (inputs + sums) / job->pixel / step;
    most = most < 2 * extent_of(job, 2) ? 2 * extent_of(job, 2) : most;
    most = most * job->pixel < 4 * BLOCK ? 4 * BLOCK / job->pixel + 1 : most;
    int64_t strips = (job->size[2] + most - 1) / most, count = (job->size[2] + strips - 1) / strips;
    int64_t row = ((count + 1) * step + extent_of(job, 2)) * job->pixel, bytes = row * (int64_t)sizeof(T);
    int64_t lines = job->form == DENSE ? 0 : job->form == FOLD ? 2 : job->maps;
    int made = ring_of(&work.inputs, work.is_direct ? 0 : inputs, bytes) & ring_of(&work.sums, sums, bytes);
    work.line = malloc((size_t)((lines + 1) * bytes));
    work.spare = malloc((size_t)(24 * bytes));
    work.blank = malloc((size_t)bytes);
    work.runs = malloc((size_t)row * sizeof(Run));
    work.taps = calloc((size_t)(sets + 1), sizeof(TAPS));
    made = made && work.line && work.spare && work.blank && work.runs && work.taps && (sets == 0 || NAME(begin_all_taps)(&work));
    for (int64_t first = 0; made && first < job->size[2]; first += count)
        NAME(strip)(&work, first, job->size[2] - first < count ? job->size[2] - first : count);
    for (int64_t set = 0; work.taps && set < sets; set++) {
        free(work.taps[set].rows);
        free(work.taps[set].weights);
        free(work.taps[set].at);
    }
    free_ring(&work.inputs);
    free_ring(&work.sums);
    free(work.line);
    free(work.spare);
    free(work.blank);
    free(work.runs);
    free(work.taps);
    return !made;
}

#undef VECTOR
#undef LANES
#undef BLOCK
#undef TAPS
#undef WORK
#undef FINISH
#undef CONVERT
#undef STORE
#undef EACH
