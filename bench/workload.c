/* Usage: workload key-value|first-byte|incompressible
 * Keeps writing to 64 MiB of memory, a round for each line that comes in on the second serial port, and says "done" after
 * each: so that how much an epoch holds does not depend on how fast the machine happens to be. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    PAGE_WORDS = 512,
    PAGES = 16384,
    WORDS = PAGES * PAGE_WORDS,
    RECORD_WORDS = 8,
    RECORDS_A_ROUND = 120000, /* 7 a page */
};

static uint64_t *area;
static uint64_t state = 88172645463325252u;

/* Marsaglia's xorshift64, times an odd number (Vigna's xorshift64*): nothing that compresses. */
static uint64_t next(void) {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545f4914f6cdd1du;
}

static void rewrite_all(void) {
    for (int word = 0; word < WORDS; word++) area[word] = next();
}

static void write_records(void) {
    for (int record = 0; record < RECORDS_A_ROUND; record++) {
        uint64_t *slot = area + (next() >> 16) % (WORDS / RECORD_WORDS) * RECORD_WORDS;
        for (int word = 0; word < RECORD_WORDS; word++) slot[word] = next();
    }
}

static void write_first_bytes(void) {
    for (int page = 0; page < PAGES; page++) (*(unsigned char *)(area + page * PAGE_WORDS))++;
}

int main(int count, char **words) {
    static const struct {
        const char *name;
        void (*round)(void);
    } kinds[] = {{"key-value", write_records}, {"first-byte", write_first_bytes}, {"incompressible", rewrite_all}};
    void (*round)(void) = NULL;
    for (unsigned kind = 0; count == 2 && kind < sizeof kinds / sizeof *kinds; kind++)
        if (!strcmp(words[1], kinds[kind].name)) round = kinds[kind].round;
    if (!round) return 64;
    area = mmap(NULL, WORDS * sizeof *area, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const int port = open("/dev/ttyS1", O_RDWR);
    if (area == MAP_FAILED || port < 0) {
        perror("workload");
        return 1;
    }
    rewrite_all();
    for (const char *answer = "ready\n";; answer = "done\n") {
        char letter;
        if (write(port, answer, strlen(answer)) < 0) return 1;
        do {
            if (read(port, &letter, 1) != 1) return 1;
        } while (letter != '\n');
        round();
    }
}
