/* Which variants of the loops this processor, and its system, can run. Itself it needs nothing. */

#define EXPORTED(type) __attribute__((visibility("default"))) type

/* SHA-256 of the files that the library was built of. */
EXPORTED(const char *) daskgmm_loops_sources(void) { return LOOPS_SOURCES; }

#if defined(__x86_64__)
#include <cpuid.h>

/* Asked of the processor itself: not every compiler's library has __builtin_cpu_supports. */
enum { FMA = 1u << 12, OSXSAVE = 1u << 27, BMI = 1u << 3, AVX2 = 1u << 5, BMI2 = 1u << 8 };
enum { MOVBE = 1u << 22, POPCNT = 1u << 23, F16C = 1u << 29, LZCNT = 1u << 5 };
enum { AVX512F = 1u << 16, AVX512DQ = 1u << 17, AVX512CD = 1u << 28, AVX512BW = 1u << 30 };
#define AVX512VL (1u << 31)

static int has(unsigned found, unsigned wanted) { return (found & wanted) == wanted; }

/* Registers that the system keeps for a process: bits 1, 2 of AVX, 5 to 7 of AVX-512 besides. */
static int keeps(unsigned wanted) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return has(low, wanted);
}

EXPORTED(int) runs_x86_64_v3(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
    if (!has(c, FMA | OSXSAVE | MOVBE | POPCNT | F16C) || !keeps(0x06)) return 0;
    if (!__get_cpuid(0x80000001, &a, &b, &c, &d) || !has(c, LZCNT)) return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && has(b, BMI | AVX2 | BMI2);
}
EXPORTED(int) runs_x86_64_v4(void) {
    unsigned a, b, c, d;
    if (!runs_x86_64_v3() || !keeps(0xe6)) return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) &&
           has(b, AVX512F | AVX512DQ | AVX512CD | AVX512BW | AVX512VL);
}
#else
EXPORTED(int) runs_aarch64(void) { return 1; }
#endif
