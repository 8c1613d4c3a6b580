/* LD_PRELOAD shim: shifts the clocks of a process by the milliseconds in a file, and gives it a machine id of its own.
 *
 * CLOCKSHIFT_FILE names the file: two signed native integers of 8 bytes, for the wall clock and for the time since the
 * machine's start. It is mapped shared, so a test changes the clocks of a running server by writing to it. The
 * monotonic clock is not shifted, as on a machine whose clock is set, or that sleeps.
 *
 * CLOCKSHIFT_MACHINE names a folder. Its files `machine` and `boot` are read instead of the system's machine id and
 * boot id.
 *
 * The true time comes from the system call, never from dlsym. dlsym allocates, and would recurse into an allocator that
 * is still starting. (faketime hangs Redis' jemalloc in this way.)
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile long long *shift_ms;
static const char *machine;

__attribute__((constructor)) static void map_shift(void) {
    const char *path = getenv("CLOCKSHIFT_FILE");
    const char *name = getenv("CLOCKSHIFT_MACHINE");
    machine = name ? strdup(name) : NULL; /* servers overwrite the environment with their title */
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *page = mmap(NULL, 2 * sizeof(long long), PROT_READ, MAP_SHARED, fd, 0);
    if (page != MAP_FAILED) shift_ms = page;
    close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    int is_wall = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
    if (failed || !shift_ms || (!is_wall && clock != CLOCK_BOOTTIME)) return failed;
    long long shift = shift_ms[is_wall ? 0 : 1]; /* read once: a test can change it at any time */
    long long ns = now->tv_nsec + shift % 1000 * 1000000LL;
    long long carry = (ns >= 1000000000LL) - (ns < 0);
    now->tv_sec += shift / 1000 + carry;
    now->tv_nsec = ns - carry * 1000000000LL;
    return 0;
}

int open64(const char *path, int flags, ...) {
    char own[PATH_MAX];
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    const char *name = !strcmp(path, "/etc/machine-id")                  ? "machine"
                       : !strcmp(path, "/proc/sys/kernel/random/boot_id") ? "boot"
                                                                          : NULL;
    if (name && machine && snprintf(own, sizeof own, "%s/%s", machine, name) < (int)sizeof own) path = own;
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

/* Valkey opens modules with RTLD_DEEPBIND, so they would call libc directly and get the true time. */
void *dlopen(const char *file, int mode) {
    void *(*next)(const char *, int) = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
    return next(file, mode & ~RTLD_DEEPBIND);
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec t;
    (void)zone; /* obsolete; no server uses it */
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
