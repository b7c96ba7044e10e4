/* Usage: sequence PORT MILLISECONDS
 * Sends to each client the numbers from 1 upwards, one a line, one each so many milliseconds: a client that finds one
 * missing or twice has been shown two histories. */
#include "serve.h"

int main(int count, char **words) {
    if (count != 3) return 64;
    int server = listen_on(words[1]);
    for (;;) {
        int client = next_client(server);
        if (client < 0) continue;
        if (fork() == 0) {
            char line[32];
            for (unsigned long number = 1;; number++) {
                int length = snprintf(line, sizeof line, "%lu\n", number);
                if (!write_all(client, line, (size_t)length)) return 0;
                usleep((useconds_t)atoi(words[2]) * 1000);
            }
        }
        close(client);
    }
}
