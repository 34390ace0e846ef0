/* Which of the loops this processor runs. */

#include "rows.h"

#ifdef _WIN32
#define PUBLIC __declspec(dllexport)
#else
#define PUBLIC __attribute__((visibility("default")))
#endif

int convcli_rows_16(Job *job);
#ifdef __x86_64__
int convcli_rows_32(Job *job);
int convcli_rows_64(Job *job);
#endif

PUBLIC int convcli_abi(void) { return CONVCLI_ABI * 10000 + (int)sizeof(Job); }

/* Returns 1 where vectors of so many bytes may be used. */
PUBLIC int convcli_has(int width) {
#ifdef __x86_64__
    __builtin_cpu_init();
    if (width == 64)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (width == 32)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
    return width == 16 && __builtin_cpu_supports("sse4.2");
#else
    return width == 16;
#endif
}

/* Runs a job with vectors of so many bytes; returns 1 where memory does not suffice. */
PUBLIC int convcli_run(Job *job, int width) {
#ifdef __x86_64__
    if (width == 64)
        return convcli_rows_64(job);
    if (width == 32)
        return convcli_rows_32(job);
#endif
    (void)width;
    return convcli_rows_16(job);
}
