/* LD_PRELOAD shim: shifts the wall clock of one process by the milliseconds that stand in a file.
 *
 * The file (8 bytes, a signed native integer) is named by CLOCKSHIFT_FILE and mapped shared, so a test steps the
 * clock of a running server by writing to it. Only the wall clock moves; the monotonic clock stays true, as on a
 * machine whose clock is set. The true time comes from the system call, never from dlsym: that allocates, and would
 * recurse into an allocator that is itself starting (faketime hangs Redis' jemalloc so).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile long long *shift_ms;

__attribute__((constructor)) static void map_shift(void) {
    const char *path = getenv("CLOCKSHIFT_FILE");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *page = mmap(NULL, sizeof(long long), PROT_READ, MAP_SHARED, fd, 0);
    if (page != MAP_FAILED) shift_ms = page;
    close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (failed || !shift_ms || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return failed;
    long long shift = *shift_ms; /* read once: a test may write it meanwhile */
    long long ns = now->tv_nsec + shift % 1000 * 1000000LL;
    long long carry = (ns >= 1000000000LL) - (ns < 0);
    now->tv_sec += shift / 1000 + carry;
    now->tv_nsec = ns - carry * 1000000000LL;
    return 0;
}

/* Valkey gives modules their own libc (RTLD_DEEPBIND): they would be told the true time. */
void *dlopen(const char *file, int mode) {
    void *(*next)(const char *, int) = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
    return next(file, mode & ~RTLD_DEEPBIND);
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec t;
    (void)zone; /* obsolete; no server asks for it */
    clock_gettime(CLOCK_REALTIME, &t);
    *now = (struct timeval){.tv_sec = t.tv_sec, .tv_usec = t.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *out) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (out) *out = t.tv_sec;
    return t.tv_sec;
}
