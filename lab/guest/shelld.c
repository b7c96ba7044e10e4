/* Usage: shelld PORT
 * Gives each client a shell without a terminal: what the lab's cases use to act inside the guest. */
#include "serve.h"

int main(int count, char **words) {
    if (count != 2) return 64;
    int server = listen_on(words[1]);
    for (;;) {
        int client = next_client(server);
        if (client < 0) continue;
        if (fork() == 0) {
            signal(SIGPIPE, SIG_DFL);
            signal(SIGCHLD, SIG_DFL);
            for (int fd = 0; fd < 3; fd++) dup2(client, fd);
            if (client > 2) close(client);  /* Or what the shell leaves running would keep the connection. */
            execl("/bin/sh", "sh", (char *)NULL);
            return 127;
        }
        close(client);
    }
}
