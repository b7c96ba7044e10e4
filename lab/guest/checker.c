/* Usage: checker PORT MIB PAGES_PER_SECOND
 * Keeps rewriting an area of memory and checks it against what it must hold. Every page's content follows from its number
 * and from how often it was written, and that count lives elsewhere in memory; a running checksum of all pages is kept
 * beside it. So a page that is lost, stale or of another moment than the rest is found, at its next turn or by a request.
 *
 * Each client gets one line, after a check of the whole area, and is closed:
 *   ok WRITES SUM          pages written so far, and the checksum
 *   corrupt PAGE WHAT      for ever after, once something was wrong */
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "serve.h"

enum { PAGE_WORDS = 512 };

static uint64_t *area;      /* pages * PAGE_WORDS words */
static uint64_t *written;   /* how often each page was written */
static uint64_t pages, writes, sum;
static char verdict[96];    /* empty as long as all is well */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t seed(uint64_t page) { return mix(page * 0x9e3779b97f4a7c15u + written[page] + 1); }

/* What the page adds to the checksum, or fails when its content is not what it must be. */
static int judge(uint64_t page, uint64_t *total) {
    uint64_t value = seed(page), add = 0;
    for (int i = 0; i < PAGE_WORDS; i++) {
        if (area[page * PAGE_WORDS + i] != value) {
            if (!verdict[0])
                snprintf(verdict, sizeof verdict, "corrupt %lu word %d after %lu writes of it\n", (unsigned long)page, i,
                         (unsigned long)written[page]);
            return 0;
        }
        add += value;
        value += 0x9e3779b97f4a7c15u;
    }
    *total += add;
    return 1;
}

static void rewrite(uint64_t page) {
    uint64_t add = 0, value;
    written[page]++;
    value = seed(page);
    for (int i = 0; i < PAGE_WORDS; i++) {
        area[page * PAGE_WORDS + i] = value;
        add += value;
        value += 0x9e3779b97f4a7c15u;
    }
    sum += add;
}

static void *keep_writing(void *argument) {
    const uint64_t rate = *(uint64_t *)argument, burst = rate / 10 ? rate / 10 : 1;
    uint64_t random = 88172645463325252u;
    for (;;) {
        pthread_mutex_lock(&lock);
        for (uint64_t i = 0; i < burst && !verdict[0]; i++) {
            uint64_t old = 0;
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            if (judge(random % pages, &old)) {
                sum -= old;
                rewrite(random % pages);
                writes++;
            }
        }
        pthread_mutex_unlock(&lock);
        struct timespec pause = {.tv_nsec = (long)(burst * 1000000000u / rate % 1000000000u)};
        nanosleep(&pause, NULL);
    }
    return NULL;
}

static void *serve(void *argument) {
    const int client = *(int *)argument;
    uint64_t total = 0;
    char line[96];
    free(argument);
    pthread_mutex_lock(&lock);
    for (uint64_t page = 0; page < pages && judge(page, &total);) page++;
    if (!verdict[0] && total != sum) snprintf(verdict, sizeof verdict, "corrupt sum %lx is not %lx\n", (unsigned long)sum, (unsigned long)total);
    if (verdict[0])
        memcpy(line, verdict, sizeof line);
    else
        snprintf(line, sizeof line, "ok %lu %016lx\n", (unsigned long)writes, (unsigned long)sum);
    pthread_mutex_unlock(&lock);
    write_all(client, line, strlen(line));
    close(client);
    return NULL;
}

int main(int count, char **words) {
    if (count != 4) return 64;
    uint64_t rate = (uint64_t)atoll(words[3]);
    pages = (uint64_t)atoll(words[2]) << 8;
    area = mmap(NULL, pages << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    written = calloc(pages, sizeof *written);
    if (area == MAP_FAILED || !written || !rate || !pages) {
        fprintf(stderr, "checker: no memory, or nothing to do\n");
        return 1;
    }
    for (uint64_t page = 0; page < pages; page++) rewrite(page);
    int server = listen_on(words[1]);
    pthread_t thread;
    if (pthread_create(&thread, NULL, keep_writing, &rate)) return 1;
    for (;;) {
        int *client = malloc(sizeof *client);
        if (!client) continue;
        *client = next_client(server);
        if (*client < 0 || pthread_create(&thread, NULL, serve, client)) {
            free(client);
            continue;
        }
        pthread_detach(thread);
    }
}
