/* What the guest's small servers share: listening, and writing all of a line. */
#ifndef SERVE_H
#define SERVE_H

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static inline int listen_on(const char *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(port))};
    int on = 1, server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (server < 0 || bind(server, (struct sockaddr *)&address, sizeof address) || listen(server, 64)) {
        perror("listen");
        exit(1);
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_IGN);
    return server;
}

static inline int next_client(int server) {
    int on = 1, client = accept(server, NULL, NULL);
    if (client >= 0) setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return client;
}

/* Whether all of it went out. */
static inline int write_all(int client, const char *data, size_t length) {
    while (length > 0) {
        ssize_t done = write(client, data, length);
        if (done <= 0) return 0;
        data += done;
        length -= (size_t)done;
    }
    return 1;
}

#endif
