// A limit of the machine for remusd's benchmark: what OpenSSL moves by itself between two processes over TCP loopback, under the
// protocol and cipher that remusd uses. One side sends as many bytes as an epoch has, the other reads them and answers with one.
//
// Usage: tls-limit PRIMARY-CPU STANDBY-CPU, with a control socket as descriptor 3, which says "move BYTES TIMES REST", REST in
// microseconds. It answers "ready" once, and to each order a line "sample TIME" for each of them, in nanoseconds.
#define _GNU_SOURCE
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <signal.h>
#include <sys/prctl.h>

#include "peer.h"

enum { control = 3, piece = 256 << 10, window = 1 << 20 };

static void die_of_tls(const char *what) {
    ERR_print_errors_fp(stderr);
    die(what);
}

static void connect_pair(int ends[2]) {
    int room = 4 << 20;
    connect_loopback(ends);
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    setsockopt(ends[1], SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
}

static void make_identity(SSL_CTX *context) {
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    X509 *certificate = X509_new();
    if (!key || !certificate) die_of_tls("make a key");
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 86400);
    X509_set_pubkey(certificate, key);
    if (!X509_sign(certificate, key, NULL) || SSL_CTX_use_certificate(context, certificate) != 1
        || SSL_CTX_use_PrivateKey(context, key) != 1)
        die_of_tls("make a certificate");
}

static SSL *begin(int socket, int accepting) {
    SSL_CTX *context = SSL_CTX_new(TLS_method());
    if (!context || SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1
        || SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256") != 1)
        die_of_tls("set up TLS");
    if (accepting) make_identity(context);
    SSL *connection = SSL_new(context);
    if (!connection || SSL_set_fd(connection, socket) != 1) die_of_tls("set up TLS");
    if ((accepting ? SSL_accept(connection) : SSL_connect(connection)) != 1) die_of_tls("shake hands");
    return connection;
}

// Both sides are told by pipe how much is coming: the answers are the only bytes the other way.
struct order {
    uint64_t bytes, times, rest;
};

static void stand_by(int socket, int orders) {
    SSL *connection = begin(socket, 1);
    uint8_t *room = malloc(window);
    if (!room) die("make room");
    struct order order;
    while (read(orders, &order, sizeof order) == sizeof order) {
        for (uint64_t i = 0; i < order.times; i++) {
            for (uint64_t left = order.bytes; left > 0;) {
                int got = SSL_read(connection, room, (int)(left < window ? left : window));
                if (got <= 0) _exit(0);
                left -= (uint64_t)got;
            }
            if (SSL_write(connection, "", 1) != 1) _exit(0);
        }
    }
    _exit(0);
}

int main(int count, char **arguments) {
    if (count != 3) {
        fprintf(stderr, "Usage: tls-limit PRIMARY-CPU STANDBY-CPU\n");
        return 64;
    }
    FILE *said = fdopen(control, "r"), *results = fdopen(dup(control), "w");
    if (!said || !results) die("open the control socket");
    signal(SIGPIPE, SIG_IGN);
    int ends[2], orders[2];
    connect_pair(ends);
    if (pipe(orders) != 0) die("make a pipe");
    pid_t standby = fork();
    if (standby < 0) die("start the standby");
    if (standby == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ends[0]);
        close(orders[1]);
        pin(atoi(arguments[2]));
        stand_by(ends[1], orders[0]);
    }
    close(ends[1]);
    close(orders[0]);
    pin(atoi(arguments[1]));
    SSL *connection = begin(ends[0], 0);
    fputs("ready\n", results);
    fflush(results);

    struct order order;
    while (fscanf(said, " move %lu %lu %lu", &order.bytes, &order.times, &order.rest) == 3) {
        uint8_t *memory = malloc(order.bytes + 1);
        if (!memory || write(orders[1], &order, sizeof order) != sizeof order) die("begin");
        memset(memory, 7, order.bytes);
        for (uint64_t i = 0; i < order.times; i++) {
            if (order.rest > 0) usleep((useconds_t)order.rest);
            uint64_t began = now();
            for (uint64_t done = 0; done < order.bytes;) {
                uint64_t left = order.bytes - done;
                int put = SSL_write(connection, memory + done, (int)(left < piece ? left : piece));
                if (put <= 0) die_of_tls("send");
                done += (uint64_t)put;
            }
            char answer;
            if (SSL_read(connection, &answer, 1) != 1) die_of_tls("hear the answer");
            fprintf(results, "sample %llu\n", (unsigned long long)(now() - began));
        }
        fflush(results);
        free(memory);
    }
    return 0;
}
