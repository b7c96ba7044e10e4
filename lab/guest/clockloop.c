/* Usage: clockloop PAGES
 * Looks at the processor's clock each millisecond, writes to that many pages each 100 ms, and remembers whenever the clock jumped:
 * then the guest stood still. It goes on until there is something to read. Then it prints, in ticks of that clock (which goes on
 * while a guest is suspended, as the kernel's clocks do not):
 *   gap TICKS       one line for each jump of more than GAP milliseconds, less the millisecond that was meant
 *   total TICKS     from its start to its end: what the gaps, and the suspensions in the kernel's log, are of
 * What one millisecond has in ticks it finds out by itself, as the least of many short sleeps. */
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <x86intrin.h>

enum { GAP = 3, TURNS = 100, MOST = 1 << 14 };

static uint64_t gaps[MOST];

static void sleep_a_millisecond(void) {
    const struct timespec time = {.tv_nsec = 1000000};
    nanosleep(&time, NULL);
}

int main(int count, char **words) {
    if (count != 2) return 64;
    const long pages = atol(words[1]);
    /* As large as it must be: a guest of 128 MiB has some twenty to spare. */
    const size_t size = pages > 0 ? (size_t)pages : 1;
    volatile uint8_t *area = mmap(NULL, size << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (area == MAP_FAILED || pages < 0) {
        fprintf(stderr, "clockloop: no memory\n");
        return 1;
    }
    uint64_t millisecond = UINT64_MAX;
    for (int turn = 0; turn < TURNS; turn++) {
        const uint64_t before = __rdtsc();
        sleep_a_millisecond();
        const uint64_t length = __rdtsc() - before;
        if (length < millisecond) millisecond = length;
    }
    struct pollfd end = {.fd = 0, .events = POLLIN};
    const uint64_t start = __rdtsc();
    uint64_t last = start, owed = 0, page = 0, found = 0;
    while (poll(&end, 1, 0) == 0) {
        sleep_a_millisecond();
        uint64_t now = __rdtsc(), passed = now - last;
        if (passed > GAP * millisecond) {
            if (found < MOST) gaps[found] = passed - millisecond;
            found++;
            passed = millisecond; /* Nobody makes up for work while it stood still. */
        }
        owed += passed * (uint64_t)pages;
        for (; owed >= 100 * millisecond; owed -= 100 * millisecond) area[page++ % size << 12]++;
        last = now;
    }
    for (uint64_t i = 0; i < found && i < MOST; i++) printf("gap %llu\n", (unsigned long long)gaps[i]);
    printf("total %llu\n", (unsigned long long)(last - start));
    return 0;
}
