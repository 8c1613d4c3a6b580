/* LD_PRELOAD shim: the nth call of a server to the system about its data files fails, once or from then on.
 *
 * FAILING_CONTROL names a file that is mapped shared (`struct control`). So a test chooses the call of a running server
 * by writing to it, and the server's children count on in the same place.
 *
 * Counted are opening a data file to write it, writes, syncs, cuts and renames of data files, syncs of folders, and
 * forks; or, if `of_network` is set, writes to TCP connections instead. A data file has `.aof`, `.rdb` or `appendonly`
 * in its path. A FILE writes inside of libc, where this sees nothing: its calls are counted when the server makes them.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum what { OPEN, WRITE, SYNC, FOLDER, CUT, RENAME, FORK };

struct control {
    long long nth;        /* the call that fails, from 1; 0: none does */
    long long kinds;      /* which kinds of calls are counted: a bit for each */
    long long lasts;      /* whether all later ones fail too */
    long long is_torn;    /* a write that fails has written half */
    long long of_network; /* writes to TCP connections are counted, and nothing else */
    long long calls;      /* how many were counted */
    long long failed;     /* how many failed */
    long long last;       /* the kind of the last one that failed */
};

static volatile struct control *control;

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("FAILING_CONTROL");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *page = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (page != MAP_FAILED) control = page;
}

/* Counts a call. Returns whether it is to fail, and sets errno then. */
static int fails(enum what what) {
    static const int reasons[] = {EMFILE, ENOSPC, EIO, EIO, EIO, EIO, EAGAIN};
    long long nth = control ? control->nth : 0;
    if (!nth || !(control->kinds >> what & 1)) return 0;
    long long n = __sync_add_and_fetch(&control->calls, 1);
    if (n < nth || (n > nth && !control->lasts)) return 0;
    __sync_add_and_fetch(&control->failed, 1);
    control->last = what;
    errno = reasons[what];
    return 1;
}

static int is_data(const char *path) {
    struct stat found;
    if (strstr(path, ".aof") || strstr(path, ".rdb") || strstr(path, "appendonly")) return 1;
    return !stat(path, &found) && S_ISDIR(found.st_mode);
}

/* Whether the calls of this file are counted now. */
static int is_counted(int fd) {
    char link[32], path[PATH_MAX];
    int saved = errno, is = 0;
    if (control && control->nth && !control->of_network) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, path, sizeof path - 1);
        if (length > 0 && path[0] == '/') {
            path[length] = 0;
            is = is_data(path);
        }
    }
    errno = saved;
    return is;
}

static int is_named(const char *path) {
    int saved = errno;
    int is = control && control->nth && !control->of_network && is_data(path);
    errno = saved;
    return is;
}

static int is_connection(int fd) {
    int saved = errno, domain = 0;
    socklen_t size = sizeof domain;
    int is = control && control->nth && control->of_network &&
             !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) && domain == AF_INET;
    errno = saved;
    return is;
}

ssize_t write(int fd, const void *data, size_t size) {
    if (is_counted(fd) && fails(WRITE)) {
        if (!control->is_torn || size < 2) return -1;
        return syscall(SYS_write, fd, data, size / 2);
    }
    if (is_connection(fd) && fails(WRITE)) {
        errno = ECONNRESET;
        return -1;
    }
    return syscall(SYS_write, fd, data, size);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (is_connection(fd) && fails(WRITE)) {
        errno = ECONNRESET;
        return -1;
    }
    return syscall(SYS_writev, fd, parts, count);
}

/* The function of libc with this name. */
#define NEXT(name)                 \
    static __typeof__(name) *next; \
    if (!next) next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

size_t fwrite(const void *data, size_t size, size_t count, FILE *stream) {
    NEXT(fwrite);
    if (is_counted(fileno(stream)) && fails(WRITE)) {
        if (control->is_torn) next(data, 1, size * count / 2, stream);
        return 0;
    }
    return next(data, size, count, stream);
}

int fflush(FILE *stream) {
    NEXT(fflush);
    if (stream && is_counted(fileno(stream)) && fails(WRITE)) return EOF;
    return next(stream);
}

int fclose(FILE *stream) {
    NEXT(fclose);
    int is_written = (fcntl(fileno(stream), F_GETFL) & O_ACCMODE) != O_RDONLY;
    if (is_written && is_counted(fileno(stream)) && fails(WRITE)) {
        next(stream);
        return EOF;
    }
    return next(stream);
}

static int synced(int fd, long call) {
    struct stat found;
    if (is_counted(fd) && fails(!fstat(fd, &found) && S_ISDIR(found.st_mode) ? FOLDER : SYNC)) return -1;
    return (int)syscall(call, fd);
}

int fsync(int fd) { return synced(fd, SYS_fsync); }

int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

int ftruncate64(int fd, off64_t size) {
    return is_counted(fd) && fails(CUT) ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

int rename(const char *from, const char *to) {
    return is_named(to) && fails(RENAME) ? -1 : (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}

static int open_at(const char *path, int flags, mode_t mode) {
    int is_written = (flags & O_ACCMODE) != O_RDONLY || flags & O_CREAT;
    if (is_written && is_named(path) && fails(OPEN)) return -1;
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open_at(path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open_at(path, flags, mode);
}

FILE *fopen64(const char *path, const char *mode) {
    NEXT(fopen64);
    return mode[0] != 'r' && is_named(path) && fails(OPEN) ? NULL : next(path, mode);
}

FILE *fopen(const char *path, const char *mode) {
    NEXT(fopen);
    return mode[0] != 'r' && is_named(path) && fails(OPEN) ? NULL : next(path, mode);
}

pid_t fork(void) {
    NEXT(fork);
    return control && control->nth && !control->of_network && fails(FORK) ? -1 : next();
}
