/*
 * Preloaded into a process (LD_PRELOAD), counts its system calls on what lies below one directory,
 * and at the k-th of them kills the process, makes the call fail, or cuts a transfer short: then as
 * many bytes are really read or written as it says. Told what to do by readlink(2) of names below
 * /@interfere/, which needs no binding:
 *
 *   /@interfere/arm/<which>/<how>/<k>/<calls>  from the k-th call on, for so many calls
 *   /@interfere/off, /@interfere/on           calls are neither counted nor disturbed; and again
 *   /@interfere/count                          is a link to "<calls counted> <the first one hit or ->"
 *
 * which: a sum of the classes below. how: -1 kill, -2 half of a transfer, -3 do it and lose the answer
 * (what the server says when it is asked once more: it is gone, it is there), else an errno.
 *
 * From the environment, for as long as the process lives:
 *   INTERFERE_RANDOM=<seed>,<which>/<how>/<n>,…   n of a million calls of those classes, by chance
 *   INTERFERE_CLOCK_MS=<ms>                       its clock is ahead by so much; monotonic ones are not
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { CHANGES = 1, LOOKS = 2, BY_NAME = 4, OPENS = 8, MOVES_BYTES = 16, NAMES = 32 };
enum { KILL = -1, HALF = -2, LOST = -3 };
#define FDS 65536

static atomic_int counting, which, how, first, calls, counted;
static _Atomic(const char *) hit;
static atomic_char below[FDS];

#define REAL(result, name, ...)                      \
  static result (*real)(__VA_ARGS__);                \
  if (!real) real = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static int is_below_fd(int fd) { return fd >= 0 && fd < FDS && below[fd]; }

static int is_below(const char *path) {
  static const char *root;
  if (!root) root = getenv("INTERFERE_BELOW");
  if (!root || !path) return 0;
  if (!strncmp(path, "/proc/self/fd/", 14)) return is_below_fd(atoi(path + 14));
  return !strncmp(path, root, strlen(root));
}

#define RULES 8
static struct { int which, how, of_a_million; } rules[RULES];
static int rules_count = -1;
static _Atomic(unsigned long long) dice;

static void read_rules(void) {
  const char *at = getenv("INTERFERE_RANDOM");
  int count = 0;
  if (at) dice = strtoull(at, NULL, 10) * 2 + 1;
  while (at && (at = strchr(at, ',')) && count < RULES) {
    at++;
    if (sscanf(at, "%d/%d/%d", &rules[count].which, &rules[count].how, &rules[count].of_a_million) == 3)
      count++;
  }
  rules_count = count;
}

/* By chance; 0: go on. */
static int fate(int class) {
  if (rules_count < 0) read_rules();
  for (int n = 0; n < rules_count; n++) {
    if (!(class & rules[n].which)) continue;
    unsigned long long mixed = atomic_fetch_add(&dice, 0x9e3779b97f4a7c15ull);
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ull;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebull;
    if ((mixed ^ (mixed >> 31)) % 1000000 < (unsigned)rules[n].of_a_million) return rules[n].how;
  }
  return 0;
}

static int strike(int how) {
  if (how == KILL) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
  }
  if (how == HALF || how == LOST) return how;
  errno = how;
  return -1;
}

/* 0: go on; else -1 and errno, HALF, or LOST. */
static int meddle(const char *name, int class) {
  int struck = fate(class);
  if (struck) return strike(struck);
  if (!counting || !(class & which)) return 0;
  int at = atomic_fetch_add(&counted, 1) + 1;
  if (at < first || at >= first + calls) return 0;
  if (!hit) hit = name;
  return strike(how);
}

/* The server did it, and is asked again because its answer was lost. */
static int lose(int done, int error) {
  if (done) return done;
  errno = error;
  return -1;
}

static int opened(const char *path, int fd) {
  if (fd >= 0 && fd < FDS) below[fd] = is_below(path);
  return fd;
}

static int any_open(const char *name, const char *path, int flags, mode_t mode) {
  REAL(int, "open64", const char *, int, ...);
  int class = BY_NAME | OPENS | (flags & (O_CREAT | O_TRUNC) ? CHANGES : LOOKS);
  if (flags & O_EXCL) class |= NAMES;
  int struck = is_below(path) ? meddle(name, class) : 0;
  if (struck == -1) return -1;
  int fd = real(path, flags, mode);
  if (struck != LOST || fd < 0) return opened(path, fd);
  close(fd);
  errno = EEXIST;
  return -1;
}

#define OPEN(name)                              \
  int name(const char *path, int flags, ...) {  \
    va_list rest;                               \
    va_start(rest, flags);                      \
    mode_t mode = va_arg(rest, mode_t);         \
    va_end(rest);                               \
    return any_open("open", path, flags, mode); \
  }
OPEN(open)
OPEN(open64)

#define BY_PATH(name, class, parameters, given, path)              \
  int name parameters {                                            \
    static int(*real) parameters;                                  \
    if (!real) real = (int(*) parameters)dlsym(RTLD_NEXT, #name);  \
    if (is_below(path) && meddle(#name, class | BY_NAME)) return -1; \
    return real given;                                             \
  }
#define NAMING(name, lost, parameters, given, path)                               \
  int name parameters {                                                           \
    static int(*real) parameters;                                                 \
    if (!real) real = (int(*) parameters)dlsym(RTLD_NEXT, #name);                 \
    int struck = is_below(path) ? meddle(#name, CHANGES | BY_NAME | NAMES) : 0;    \
    if (struck == -1) return -1;                                                  \
    return struck == LOST ? lose(real given, lost) : real given;                  \
  }
struct statfs64;
struct dirent64;
NAMING(rename, ENOENT, (const char *a, const char *b), (a, b), b)
NAMING(link, EEXIST, (const char *a, const char *b), (a, b), b)
NAMING(symlink, EEXIST, (const char *a, const char *b), (a, b), b)
NAMING(unlink, ENOENT, (const char *a), (a), a)
NAMING(mkdir, EEXIST, (const char *a, mode_t m), (a, m), a)
NAMING(rmdir, ENOENT, (const char *a), (a), a)
BY_PATH(chmod, CHANGES, (const char *a, mode_t m), (a, m), a)
BY_PATH(access, LOOKS, (const char *a, int m), (a, m), a)
BY_PATH(statfs64, LOOKS, (const char *a, struct statfs64 *s), (a, s), a)
BY_PATH(scandir64, LOOKS | OPENS,
        (const char *a, struct dirent64 ***l, int (*f)(const struct dirent64 *),
         int (*c)(const struct dirent64 **, const struct dirent64 **)),
        (a, l, f, c), a)

int utimensat(int at, const char *path, const struct timespec *times, int flags) {
  REAL(int, "utimensat", int, const char *, const struct timespec *, int);
  int is_ours = path ? is_below(path) : is_below_fd(at);
  if (is_ours && meddle("utimensat", CHANGES | BY_NAME)) return -1;
  return real(at, path, times, flags);
}

#define BY_FD(name, class, parameters, given)                      \
  int name parameters {                                            \
    static int(*real) parameters;                                  \
    if (!real) real = (int(*) parameters)dlsym(RTLD_NEXT, #name);  \
    if (is_below_fd(fd) && meddle(#name, class)) return -1;        \
    return real given;                                             \
  }
BY_FD(fsync, CHANGES, (int fd), (fd))
BY_FD(fdatasync, CHANGES, (int fd), (fd))
BY_FD(fchmod, CHANGES, (int fd, mode_t m), (fd, m))
BY_FD(futimens, CHANGES, (int fd, const struct timespec *t), (fd, t))
BY_FD(ftruncate64, CHANGES, (int fd, off64_t to), (fd, to))

/* A close that fails has closed all the same (close(2)). */
int close(int fd) {
  REAL(int, "close", int);
  int is_ours = is_below_fd(fd);
  if (is_ours) below[fd] = 0;
  int failed = is_ours ? meddle("close", LOOKS) : 0;
  int error = errno;
  int result = real(fd);
  if (failed) errno = error;
  return failed ? -1 : result;
}

#define TRANSFER(name, class, parameters, given, given_half)           \
  ssize_t name parameters {                                            \
    static ssize_t(*real) parameters;                                  \
    if (!real) real = (ssize_t(*) parameters)dlsym(RTLD_NEXT, #name);  \
    int only = length > 1 ? MOVES_BYTES : 0;                           \
    int failed = is_below_fd(fd) ? meddle(#name, class | only) : 0;    \
    if (failed == -1) return -1;                                       \
    return failed == HALF ? real given_half : real given;              \
  }
TRANSFER(read, LOOKS, (int fd, void *b, size_t length), (fd, b, length), (fd, b, length / 2))
TRANSFER(write, CHANGES, (int fd, const void *b, size_t length), (fd, b, length),
         (fd, b, length / 2))
TRANSFER(pread64, LOOKS, (int fd, void *b, size_t length, off64_t at), (fd, b, length, at),
         (fd, b, length / 2, at))
TRANSFER(pwrite64, CHANGES, (int fd, const void *b, size_t length, off64_t at),
         (fd, b, length, at), (fd, b, length / 2, at))

int ioctl(int fd, unsigned long request, ...) {
  REAL(int, "ioctl", int, unsigned long, ...);
  va_list rest;
  va_start(rest, request);
  void *given = va_arg(rest, void *);
  va_end(rest);
  if (is_below_fd(fd) && meddle("ioctl", CHANGES)) return -1;
  return real(fd, request, given);
}

static int any_fcntl(int fd, int what, void *given) {
  REAL(int, "fcntl64", int, int, ...);
  int is_lock = what == F_OFD_SETLK || what == F_SETLK;
  if (is_lock && is_below_fd(fd) && meddle("fcntl", CHANGES)) return -1;
  return real(fd, what, given);
}

#define FCNTL(name)                       \
  int name(int fd, int what, ...) {       \
    va_list rest;                         \
    va_start(rest, what);                 \
    void *given = va_arg(rest, void *);   \
    va_end(rest);                         \
    return any_fcntl(fd, what, given);    \
  }
FCNTL(fcntl)
FCNTL(fcntl64)

static long long ahead_ms(void) {
  static long long ms = -1;
  if (ms == -1) {
    const char *given = getenv("INTERFERE_CLOCK_MS");
    ms = given ? atoll(given) : 0;
  }
  return ms;
}

int clock_gettime(clockid_t which_clock, struct timespec *now) {
  REAL(int, "clock_gettime", clockid_t, struct timespec *);
  int result = real(which_clock, now);
  if (which_clock != CLOCK_REALTIME && which_clock != CLOCK_REALTIME_COARSE) return result;
  now->tv_sec += ahead_ms() / 1000;
  return result;
}

int gettimeofday(struct timeval *now, void *zone) {
  struct timespec precise;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &precise);
  now->tv_sec = precise.tv_sec;
  now->tv_usec = precise.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *into) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (into) *into = now.tv_sec;
  return now.tv_sec;
}

/* How libuv asks for what a file is. */
long syscall(long number, ...) {
  REAL(long, "syscall", long, ...);
  va_list rest;
  va_start(rest, number);
  long given[6];
  for (int n = 0; n < 6; n++) given[n] = va_arg(rest, long);
  va_end(rest);
  /* How libuv closes some files; their numbers are used again for what is not below. */
  if (number == SYS_close && is_below_fd((int)given[0])) below[given[0]] = 0;
  if (number == SYS_statx) {
    const char *path = (const char *)given[1];
    int is_open = !path || !*path;
    int is_ours = is_open ? is_below_fd((int)given[0]) : is_below(path);
    if (is_ours && meddle(is_open ? "fstat" : "stat", LOOKS | (is_open ? 0 : BY_NAME))) return -1;
  }
  return real(number, given[0], given[1], given[2], given[3], given[4], given[5]);
}

ssize_t readlink(const char *path, char *into, size_t length) {
  REAL(ssize_t, "readlink", const char *, char *, size_t);
  static const char mark[] = "/@interfere/";
  if (strncmp(path, mark, sizeof mark - 1)) {
    if (is_below(path) && meddle("readlink", LOOKS | BY_NAME)) return -1;
    return real(path, into, length);
  }
  int w, h, k, n;
  const char *told = path + sizeof mark - 1;
  if (sscanf(told, "arm/%d/%d/%d/%d", &w, &h, &k, &n) == 4) {
    which = w;
    how = h;
    first = k;
    calls = n;
    counted = 0;
    hit = NULL;
    counting = 1;
  } else if (!strcmp(told, "off")) counting = 0;
  else if (!strcmp(told, "on")) counting = 1;
  return snprintf(into, length, "%d %s", counted, hit ? hit : "-");
}
