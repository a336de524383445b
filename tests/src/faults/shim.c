/* Between a node and its disk and clock: what LD_PRELOAD puts before libc's calls.
 *
 * The control file is mapped, so that a test changes what happens while the node runs. Only files
 * whose path contains "/data/" are meddled with, and only the wall clock: a monotonic clock does
 * not jump.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

/* The order of `shim::Field`. */
struct control {
    volatile int64_t clock_ms;
    volatile int64_t sync_delay_us;
    volatile int64_t sync_errno;
    volatile int64_t write_errno;
    volatile int64_t write_limit;
    volatile int64_t syncs;
    volatile int64_t writes;
    volatile int64_t faults;
};

static struct control *control;

static void load(void) __attribute__((constructor));
static void load(void) {
    const char *path = getenv("PORTCULLIS_TEST_SHIM");
    if (!path) return;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *at = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED) control = at;
}

static int is_data(int fd) {
    char name[64], path[4096];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(name, path, sizeof path - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    return strstr(path, "/data/") != NULL;
}

/* 0, or the errno with which a write of so many bytes fails. */
static int write_fault(int fd, size_t bytes) {
    if (!control || !is_data(fd)) return 0;
    __sync_fetch_and_add(&control->writes, 1);
    if (!control->write_errno) return 0;
    /* Some room is left, as on a disk that fills up in the middle of a transaction. */
    if (__sync_sub_and_fetch(&control->write_limit, (int64_t)bytes) > 0) return 0;
    __sync_fetch_and_add(&control->faults, 1);
    return (int)control->write_errno;
}

static int sync_fault(int fd) {
    if (!control || !is_data(fd)) return 0;
    __sync_fetch_and_add(&control->syncs, 1);
    if (control->sync_delay_us > 0) {
        __sync_fetch_and_add(&control->faults, 1);
        usleep((useconds_t)control->sync_delay_us);
    }
    if (!control->sync_errno) return 0;
    __sync_fetch_and_add(&control->faults, 1);
    return (int)control->sync_errno;
}

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t bytes) {
    REAL(write);
    int fault = write_fault(fd, bytes);
    if (fault) { errno = fault; return -1; }
    return real(fd, data, bytes);
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t at) {
    REAL(pwrite);
    int fault = write_fault(fd, bytes);
    if (fault) { errno = fault; return -1; }
    return real(fd, data, bytes, at);
}

ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t at) {
    REAL(pwrite64);
    int fault = write_fault(fd, bytes);
    if (fault) { errno = fault; return -1; }
    return real(fd, data, bytes, at);
}

int fsync(int fd) {
    REAL(fsync);
    int fault = sync_fault(fd);
    if (fault) { errno = fault; return -1; }
    return real(fd);
}

int fdatasync(int fd) {
    REAL(fdatasync);
    int fault = sync_fault(fd);
    if (fault) { errno = fault; return -1; }
    return real(fd);
}

int clock_gettime(clockid_t clock, struct timespec *out) {
    REAL(clock_gettime);
    int result = real(clock, out);
    if (result == 0 && control && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t ms = control->clock_ms;
        int64_t ns = out->tv_nsec + (ms % 1000) * 1000000;
        out->tv_sec += ms / 1000;
        if (ns < 0) { ns += 1000000000; out->tv_sec -= 1; }
        if (ns >= 1000000000) { ns -= 1000000000; out->tv_sec += 1; }
        out->tv_nsec = ns;
    }
    return result;
}
