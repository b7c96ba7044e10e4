#define _GNU_SOURCE
#include "machine.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>

#include "../../../peer.h"

static void keep_from_children(const int ends[2]) {
    for (int i = 0; i < 2; i++) {
        if (fcntl(ends[i], F_SETFD, FD_CLOEXEC) != 0) die("set up a socket");
    }
}

int machine_processor(int place) {
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) die("ask for the processors");
    for (int processor = 0; processor < CPU_SETSIZE; processor++) {
        if (CPU_ISSET(processor, &allowed) && place-- == 0) return processor;
    }
    return -1;
}

void machine_pin(int processor) { pin(processor); }

void machine_connect(int ends[2]) {
    int room = 4 << 20;
    connect_loopback(ends);
    keep_from_children(ends);
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    setsockopt(ends[1], SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
}

void machine_control(int ends[2]) {
    struct timeval patience = {.tv_sec = 60};
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0
        || setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0)
        die("make a socket");
    keep_from_children(ends);
}

pid_t machine_start(char *const arguments[], const char *variable, int third, int fourth) {
    pid_t parent = getpid(), child = fork();
    if (child < 0) die("start a process");
    if (child > 0) return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    // First above both numbers, where neither can overwrite the other.
    third = fcntl(third, F_DUPFD_CLOEXEC, 16);
    fourth = fcntl(fourth, F_DUPFD_CLOEXEC, 16);
    if (third < 0 || fourth < 0 || dup2(third, 3) < 0 || dup2(fourth, 4) < 0) die("hand on a socket");
    if (variable != NULL && putenv((char *)variable) != 0) die("set a variable");
    execv("/proc/self/exe", arguments);
    die("start this program again");
    return -1;
}

uint64_t machine_now(void) { return now(); }

uint64_t machine_spent(pid_t process) {
    clockid_t clock;
    struct timespec time;
    int failure = clock_getcpuclockid(process, &clock);
    if (failure != 0) errno = failure;
    if (failure != 0 || clock_gettime(clock, &time) != 0) die("read a process's clock");
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}
