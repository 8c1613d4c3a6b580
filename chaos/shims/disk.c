/* LD_PRELOAD shim: a disk that notes what has reached it, and that can be slow or full.
 *
 * DISK_LOG names a file. Each write to an append-only file and each sync of any file in DISK_FOLDER adds a record to it
 * when it has ended (`struct record`): when it began, on the monotonic clock, the file's inode, its size before and
 * after, and what it was. What a power cut leaves of a file is its size at its last sync. Files are told by inode, so
 * a rename changes nothing: it is taken to be on the disk at once, as is what a file has when it is created anew.
 *
 * DISK_CONTROL names a file that is mapped shared, so that a test changes the disk of a running server by writing to
 * it (`struct control`).
 *
 * sync_file_range promises nothing, so it is no sync here. The servers' own logs are written inside of libc, which
 * this cannot see; they work on a full disk.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct control {
    long long sync_delay_us; /* each sync takes so much longer */
    long long is_full;       /* 1: nothing more can be written; 2: half of the next write can, then it is 1 */
};

struct record {
    long long began_ns;
    long long inode;
    long long before;
    long long size;
    long long kind; /* 'w': a write; 's': a sync, which put on the disk what the file had when it began */
};

static volatile struct control *control;
static const char *folder;
static size_t folder_length;
static int log_file = -1;

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("DISK_CONTROL"), *log = getenv("DISK_LOG"), *where = getenv("DISK_FOLDER");
    if (!path || !log || !where) return;
    folder = strdup(where); /* servers overwrite the environment with their title */
    folder_length = strlen(folder);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *page = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (page == MAP_FAILED) return;
    log_file = fcntl(open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644), F_DUPFD_CLOEXEC, 900);
    control = page;
}

static long long now_ns(void) {
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* Whether this is a regular file in the folder. */
static int is_ours(int fd, struct stat *found) {
    char link[32], path[PATH_MAX];
    int saved = errno, is = 0;
    if (control && fd != log_file && !fstat(fd, found) && S_ISREG(found->st_mode)) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, path, sizeof path - 1);
        is = length > (ssize_t)folder_length && !memcmp(path, folder, folder_length) && path[folder_length] == '/';
    }
    errno = saved;
    return is;
}

static void note(int kind, long long began, const struct stat *file, long long size) {
    struct record record = {began, (long long)file->st_ino, (long long)file->st_size, size, kind};
    int saved = errno;
    if (syscall(SYS_write, log_file, &record, sizeof record) != sizeof record) abort();
    errno = saved;
}

ssize_t write(int fd, const void *data, size_t size) {
    struct stat file, after;
    if (!is_ours(fd, &file)) return syscall(SYS_write, fd, data, size);
    if (control->is_full) {
        int is_last = control->is_full == 2 && size > 1;
        control->is_full = 1;
        if (!is_last) {
            errno = ENOSPC;
            return -1;
        }
        size /= 2;
    }
    long long began = now_ns();
    ssize_t written = syscall(SYS_write, fd, data, size);
    if (!fstat(fd, &after)) note('w', began, &file, (long long)after.st_size);
    return written;
}

/* Snapshots are written through a FILE, whose writes are inside of libc. */
size_t fwrite(const void *data, size_t size, size_t count, FILE *stream) {
    static size_t (*next)(const void *, size_t, size_t, FILE *);
    struct stat file;
    if (!next) next = (size_t(*)(const void *, size_t, size_t, FILE *))dlsym(RTLD_NEXT, "fwrite");
    if (control && control->is_full && is_ours(fileno(stream), &file)) {
        errno = ENOSPC;
        return 0;
    }
    return next(data, size, count, stream);
}

static int synced(int fd, long call) {
    struct stat file;
    if (!is_ours(fd, &file)) return (int)syscall(call, fd);
    long long began = now_ns(), delay = control->sync_delay_us;
    struct timespec span = {delay / 1000000, delay % 1000000 * 1000};
    if (delay > 0) nanosleep(&span, NULL);
    int failed = (int)syscall(call, fd);
    if (!failed) note('s', began, &file, (long long)file.st_size);
    return failed;
}

int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }
