/* Which variants of the loops this processor, and its system, can run. Itself it needs nothing. */

#define EXPORTED __attribute__((visibility("default"))) int

/* SHA-256 of the files that the library was built of. */
__attribute__((visibility("default"))) const char *daskgmm_loops_sources(void) {
    return LOOPS_SOURCES;
}

#if defined(__x86_64__)
EXPORTED runs_x86_64_v3(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
}
EXPORTED runs_x86_64_v4(void) {
    return runs_x86_64_v3() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#else
EXPORTED runs_aarch64(void) { return 1; }
#endif
