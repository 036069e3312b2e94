/* Loaded before libc (LD_PRELOAD) into classifyd and its workers: logs everything that changes
 * files under one folder, in one order across all processes, and can let an fsync fail.
 *
 *   FAULTS_ROOT   the folder, without links
 *   FAULTS_LOG    gets a record for every change that was made; trials/disk.py reads it
 *   FAULTS_STATE  shared by all processes: `struct state`, and the lock that gives the order
 *
 * Not seen: what is written through a mapping (its making is logged as `unseen`), by C's stdio, and
 * by system calls without libc. A call that this file does not know by its effect is logged as
 * `unseen`, too.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CREATE = 1, WRITE, TRUNCATE, RENAME, LINK, UNLINK, MKDIR, SYMLINK, FSYNC, UNSEEN };

struct record { /* as trials/disk.py unpacks it */
    uint32_t operation, error, first_length, second_length;
    uint64_t inode, offset;
};

struct state {          /* as trials/faults.py makes it */
    uint64_t records;   /* written so far */
    uint64_t fsyncs;    /* asked for so far */
    uint64_t failing;   /* this one of them fails with EIO and does nothing; 0: none */
    uint64_t then;      /* 0: the program is told; 1: it is not, as if it had tried again and been
                           told that all is well; 2: the whole group of processes dies by SIGKILL */
    uint64_t killing;   /* at this record the whole group of processes dies by SIGKILL; if that is a
                           write, after the first half of it; 0: never */
};

static const char *root;
static size_t root_length;
static int log_fd = -1, lock_fd = -1;
static struct state *state;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

#define REAL(type, name, ...)                                    \
    static type (*real)(__VA_ARGS__);                            \
    if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

static int high(int fd) { /* out of the way of a program's own numbers */
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, 400);
    close(fd);
    return moved;
}

__attribute__((constructor)) static void begin(void) {
    const char *folder = getenv("FAULTS_ROOT"), *log = getenv("FAULTS_LOG");
    const char *shared = getenv("FAULTS_STATE");
    if (!folder || !log || !shared) return;
    log_fd = high(syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
    lock_fd = high(syscall(SYS_openat, AT_FDCWD, shared, O_RDWR | O_CLOEXEC));
    if (log_fd < 0 || lock_fd < 0) abort();
    state = (void *)syscall(SYS_mmap, NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED,
                            lock_fd, 0);
    if (state == MAP_FAILED) abort();
    root_length = strlen(folder);
    root = folder;
}

/* While it is held, no other process changes a file or writes a record. A process that is killed
 * lets go of it. */
static void lock(void) {
    pthread_mutex_lock(&mutex);
    while (flock(lock_fd, LOCK_EX) && errno == EINTR) {}
}

static void unlock(void) {
    int kept = errno;
    flock(lock_fd, LOCK_UN);
    pthread_mutex_unlock(&mutex);
    errno = kept;
}

static int is_inside(const char *path) {
    return root && !strncmp(path, root, root_length) &&
           (path[root_length] == '/' || !path[root_length]);
}

/* The absolute path of a name, with all links on the way to it resolved but the name itself. */
static int named(int folder, const char *name, char *path) {
    char joined[2 * PATH_MAX], whole[PATH_MAX], *slash;
    int kept = errno;
    if (!root || !name) return 0;
    if (name[0] == '/') {
        snprintf(joined, sizeof joined, "%s", name);
    } else {
        char link[64];
        ssize_t length;
        if (folder == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
        else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        length = readlink(link, whole, sizeof whole - 1);
        if (length < 0) return errno = kept, 0;
        whole[length] = 0;
        snprintf(joined, sizeof joined, "%s/%s", whole, name);
    }
    for (size_t end = strlen(joined); end > 1 && joined[end - 1] == '/';) joined[--end] = 0;
    slash = strrchr(joined, '/');
    *slash = 0;
    if (!realpath(*joined ? joined : "/", whole)) return errno = kept, 0;
    errno = kept;
    return snprintf(path, PATH_MAX, "%s/%s", whole, slash + 1) < PATH_MAX && is_inside(path);
}

/* Whether a descriptor leads to a file or folder under the root. */
static int opened(int fd, struct stat *found, char *path) {
    char link[64];
    int kept = errno, inside = 0;
    if (root && !fstat(fd, found) && (S_ISREG(found->st_mode) || S_ISDIR(found->st_mode))) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, path, PATH_MAX - 1);
        if (length > 0) {
            path[length] = 0;
            inside = is_inside(path);
        }
    }
    errno = kept;
    return inside;
}

static int is_last(void) { return state->killing && state->records + 1 >= state->killing; }

static void record(int operation, int error, uint64_t inode, uint64_t offset, const void *first,
                   size_t first_length, const void *second, size_t second_length) {
    int kept = errno;
    struct record head = {operation, error, first_length, second_length, inode, offset};
    struct iovec parts[] = {{&head, sizeof head},
                            {(void *)first, first_length},
                            {(void *)second, second_length}};
    size_t size = sizeof head + first_length + second_length;
    if (syscall(SYS_writev, log_fd, parts, 3) != (ssize_t)size) abort();
    state->records++;
    if (state->killing && state->records >= state->killing) {
        syscall(SYS_kill, 0, SIGKILL);
        /* A worker may not end others. The main process ends at its own next record. */
        syscall(SYS_kill, getpid(), SIGKILL);
        pause();
    }
    errno = kept;
}

static void record_names(int operation, uint64_t inode, const char *first, const char *second) {
    record(operation, 0, inode, 0, first, strlen(first), second, second ? strlen(second) : 0);
}

static void unseen(const char *call, const char *path) { record_names(UNSEEN, 0, call, path); }

static uint64_t inode_of(const char *path) {
    struct stat found;
    return lstat(path, &found) ? 0 : found.st_ino;
}

/* Opening */

static int open_any(int folder, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX];
    int changes = flags & (O_CREAT | O_TRUNC);
    if ((flags & O_TMPFILE) == O_TMPFILE || !changes || !named(folder, name, path))
        return syscall(SYS_openat, folder, name, flags, mode);
    lock();
    int was_there = !access(path, F_OK);
    int fd = syscall(SYS_openat, folder, name, flags, mode);
    struct stat found;
    if (fd >= 0 && !fstat(fd, &found)) {
        if (!was_there) record_names(CREATE, found.st_ino, path, NULL);
        else if (flags & O_TRUNC) record(TRUNCATE, 0, found.st_ino, 0, NULL, 0, NULL, 0);
    }
    unlock();
    return fd;
}

#define OPEN(name)                                       \
    int name(const char *path, int flags, ...) {         \
        va_list rest;                                    \
        va_start(rest, flags);                           \
        mode_t mode = va_arg(rest, mode_t);              \
        va_end(rest);                                    \
        return open_any(AT_FDCWD, path, flags, mode);    \
    }
#define OPENAT(name)                                       \
    int name(int folder, const char *path, int flags, ...) { \
        va_list rest;                                      \
        va_start(rest, flags);                             \
        mode_t mode = va_arg(rest, mode_t);                \
        va_end(rest);                                      \
        return open_any(folder, path, flags, mode);        \
    }
OPEN(open) OPEN(open64) OPENAT(openat) OPENAT(openat64)

/* Writing */

static ssize_t write_at(int fd, const void *data, size_t size, off_t offset, int anywhere) {
    struct stat found;
    char path[PATH_MAX];
    if (!opened(fd, &found, path))
        return anywhere ? syscall(SYS_write, fd, data, size)
                        : syscall(SYS_pwrite64, fd, data, size, offset);
    lock();
    if (is_last()) size -= size / 2;
    ssize_t done = anywhere ? syscall(SYS_write, fd, data, size)
                            : syscall(SYS_pwrite64, fd, data, size, offset);
    if (done > 0) {
        if (fcntl(fd, F_GETFL) & O_APPEND) {
            fstat(fd, &found);
            offset = found.st_size - done;
        } else if (anywhere) {
            offset = lseek(fd, 0, SEEK_CUR) - done;
        }
        record(WRITE, 0, found.st_ino, offset, data, done, NULL, 0);
    }
    unlock();
    return done;
}

ssize_t write(int fd, const void *data, size_t size) { return write_at(fd, data, size, 0, 1); }

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    return write_at(fd, data, size, offset, 0);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    return write_at(fd, data, size, offset, 0);
}

/* A write of less than was asked for is allowed: the first part, then. */
ssize_t writev(int fd, const struct iovec *parts, int count) {
    struct stat found;
    char path[PATH_MAX];
    if (!opened(fd, &found, path)) return syscall(SYS_writev, fd, parts, count);
    for (int part = 0; part < count; part++)
        if (parts[part].iov_len) return write_at(fd, parts[part].iov_base, parts[part].iov_len, 0, 1);
    return 0;
}

int ftruncate(int fd, off_t size) {
    struct stat found;
    char path[PATH_MAX];
    if (!opened(fd, &found, path)) return syscall(SYS_ftruncate, fd, size);
    lock();
    int failed = syscall(SYS_ftruncate, fd, size);
    if (!failed) record(TRUNCATE, 0, found.st_ino, size, NULL, 0, NULL, 0);
    unlock();
    return failed;
}

int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

/* Names */

#define CHANGE(call, log)    \
    lock();                  \
    int failed = call;       \
    if (!failed) log;        \
    unlock();                \
    return failed

int renameat2(int from, const char *old, int to, const char *new, unsigned flags) {
    char first[PATH_MAX], second[PATH_MAX];
    int inside = named(from, old, first) + 2 * named(to, new, second);
    if (!inside) return syscall(SYS_renameat2, from, old, to, new, flags);
    CHANGE(syscall(SYS_renameat2, from, old, to, new, flags),
           inside == 3 && !flags ? record_names(RENAME, 0, first, second)
                                 : unseen("rename", inside & 1 ? first : second));
}

int renameat(int from, const char *old, int to, const char *new) {
    return renameat2(from, old, to, new, 0);
}

int rename(const char *old, const char *new) {
    return renameat2(AT_FDCWD, old, AT_FDCWD, new, 0);
}

int linkat(int from, const char *old, int to, const char *new, int flags) {
    char second[PATH_MAX];
    if (!named(to, new, second)) return syscall(SYS_linkat, from, old, to, new, flags);
    CHANGE(syscall(SYS_linkat, from, old, to, new, flags),
           record_names(LINK, inode_of(second), second, NULL));
}

int link(const char *old, const char *new) { return linkat(AT_FDCWD, old, AT_FDCWD, new, 0); }

int unlinkat(int folder, const char *name, int flags) {
    char path[PATH_MAX];
    if (!named(folder, name, path)) return syscall(SYS_unlinkat, folder, name, flags);
    CHANGE(syscall(SYS_unlinkat, folder, name, flags), record_names(UNLINK, 0, path, NULL));
}

int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }

int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }

int mkdirat(int folder, const char *name, mode_t mode) {
    char path[PATH_MAX];
    if (!named(folder, name, path)) return syscall(SYS_mkdirat, folder, name, mode);
    CHANGE(syscall(SYS_mkdirat, folder, name, mode),
           record_names(MKDIR, inode_of(path), path, NULL));
}

int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

int symlinkat(const char *target, int folder, const char *name) {
    char path[PATH_MAX];
    if (!named(folder, name, path)) return syscall(SYS_symlinkat, target, folder, name);
    CHANGE(syscall(SYS_symlinkat, target, folder, name),
           record_names(SYMLINK, inode_of(path), path, target));
}

int symlink(const char *target, const char *name) { return symlinkat(target, AT_FDCWD, name); }

/* Durability */

static int sync_any(int fd, long call) {
    struct stat found;
    char path[PATH_MAX];
    if (!opened(fd, &found, path)) return syscall(call, fd);
    lock();
    int failed = 0, is_hidden = 0;
    if (++state->fsyncs == state->failing) {
        failed = -1;
        errno = EIO;
        is_hidden = state->then == 1;
        if (state->then == 2) state->killing = 1;
    } else {
        failed = syscall(call, fd);
    }
    record(FSYNC, failed ? errno : 0, found.st_ino, 0, path, strlen(path), NULL, 0);
    unlock();
    return is_hidden ? 0 : failed;
}

int fsync(int fd) { return sync_any(fd, SYS_fsync); }

int fdatasync(int fd) { return sync_any(fd, SYS_fdatasync); }

/* One process ends another: not between a change and its record. */

int kill(pid_t process, int signal) {
    if (!root) return syscall(SYS_kill, process, signal);
    lock();
    int failed = syscall(SYS_kill, process, signal);
    unlock();
    return failed;
}

/* What the model does not know */

static void refuse(int fd, const char *call) {
    struct stat found;
    char path[PATH_MAX];
    if (!opened(fd, &found, path) || !found.st_nlink) return; /* without a name, nothing is left */
    lock();
    unseen(call, path);
    unlock();
}

void *mmap64(void *address, size_t size, int access, int flags, int fd, off64_t offset) {
    if (fd >= 0 && access & PROT_WRITE && (flags & MAP_TYPE) != MAP_PRIVATE) refuse(fd, "mmap");
    return (void *)syscall(SYS_mmap, address, size, access, flags, fd, offset);
}

void *mmap(void *address, size_t size, int access, int flags, int fd, off_t offset) {
    return mmap64(address, size, access, flags, fd, offset);
}

#define REFUSE(type, name, fd, parameters, arguments) \
    type name parameters {                            \
        REAL(type, name, PARAMETERS parameters);      \
        refuse(fd, #name);                            \
        return real arguments;                        \
    }
#define PARAMETERS(...) __VA_ARGS__
REFUSE(ssize_t, pwritev, fd, (int fd, const struct iovec *v, int n, off_t at), (fd, v, n, at))
REFUSE(ssize_t, pwritev64, fd, (int fd, const struct iovec *v, int n, off64_t at), (fd, v, n, at))
REFUSE(ssize_t, sendfile, out, (int out, int in, off_t *at, size_t n), (out, in, at, n))
REFUSE(ssize_t, sendfile64, out, (int out, int in, off64_t *at, size_t n), (out, in, at, n))
REFUSE(ssize_t, copy_file_range, out,
       (int in, off64_t *from, int out, off64_t *at, size_t n, unsigned flags),
       (in, from, out, at, n, flags))
REFUSE(int, fallocate, fd, (int fd, int mode, off_t at, off_t n), (fd, mode, at, n))
REFUSE(int, fallocate64, fd, (int fd, int mode, off64_t at, off64_t n), (fd, mode, at, n))
REFUSE(int, posix_fallocate, fd, (int fd, off_t at, off_t n), (fd, at, n))
REFUSE(int, posix_fallocate64, fd, (int fd, off64_t at, off64_t n), (fd, at, n))
