/* Which of the loops this processor runs. */

#include "rows.h"

#ifdef _WIN32
#define PUBLIC __declspec(dllexport)
#else
#define PUBLIC __attribute__((visibility("default")))
#endif
#define LANES(width) ENTRY(width, 0), ENTRY(width, 1), ENTRY(width, 2), ENTRY(width, 3), ENTRY(width, 4), RANKS(width)
#define RANKS(width) ENTRY(width, 5), ENTRY(width, 6), ENTRY(width, 7), ENTRY(width, 8)
#define DECLARE(width) Loops LANES(width);
#define RUN(width) ((Loops *[]){LANES(width)})[job->lanes](job)

typedef int Loops(Job *);

DECLARE(16)
DECLARE(32)
DECLARE(64)

PUBLIC int convcli_abi(void) { return CONVCLI_ABI * 10000 + (int)sizeof(Job); }

/* Returns 1 where vectors of so many bytes may be used. */
PUBLIC int convcli_has(int width) {
#ifdef __x86_64__
    __builtin_cpu_init();
    return width == 16   ? __builtin_cpu_supports("sse4.2")
           : width == 32 ? __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2")
                         : width == 64 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
    return width == 16;
#endif
}

/* Runs a job with vectors of so many bytes; returns 1 where memory does not suffice. */
PUBLIC int convcli_run(Job *job, int width) {
#ifdef __x86_64__
    if (width > 16)
        return width == 64 ? RUN(64) : RUN(32);
#endif
    return RUN(16);
}

/* Runs a job on data that lie so many bytes further, with its results as many bytes further. */
PUBLIC int convcli_run_elsewhere(const Job *job, int64_t x, int64_t y, int width) {
    Job moved = *job;
    moved.x += x, moved.y += y;
    return convcli_run(&moved, width);
}
