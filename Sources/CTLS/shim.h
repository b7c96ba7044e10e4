#ifndef CTLS_SHIM_H
#define CTLS_SHIM_H

// OpenSSL 3 for Swift: what is a macro there, and what must look at errors before anything else runs. Every name that is
// ours is prefixed CTLS_.

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/socket.h>
#include <time.h>

#if OPENSSL_VERSION_MAJOR < 3
#error "remusd needs OpenSSL 3"
#endif

// ---- The wire below a connection: a socket, read and written without waiting and without SIGPIPE, whatever its mode.
// OpenSSL's own socket BIO does neither.

struct CTLS_wire {
    int socket;
    /// errno of the last call that failed; 0 if none did.
    int error;
    /// The peer has closed its end.
    int ended;
};

static inline int CTLS_wire_read(BIO *bio, char *target, size_t count, size_t *done) {
    struct CTLS_wire *wire = (struct CTLS_wire *)BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t got = recv(wire->socket, target, count, MSG_DONTWAIT);
    if (got > 0) {
        *done = (size_t)got;
        return 1;
    }
    *done = 0;
    if (got == 0) {
        wire->ended = 1;
    } else if (errno == EAGAIN || errno == EINTR) {
        BIO_set_retry_read(bio);
    } else {
        wire->error = errno;
    }
    return 0;
}

static inline int CTLS_wire_write(BIO *bio, const char *bytes, size_t count, size_t *done) {
    struct CTLS_wire *wire = (struct CTLS_wire *)BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t put = send(wire->socket, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put >= 0) {
        *done = (size_t)put;
        return 1;
    }
    *done = 0;
    if (errno == EAGAIN || errno == EINTR) {
        BIO_set_retry_write(bio);
    } else {
        wire->error = errno;
    }
    return 0;
}

static inline long CTLS_wire_control(BIO *bio, int command, long number, void *pointer) {
    (void)number;
    (void)pointer;
    switch (command) {
    case BIO_CTRL_FLUSH: return 1;
    case BIO_CTRL_EOF: return ((struct CTLS_wire *)BIO_get_data(bio))->ended;
    default: return 0;
    }
}

/// The method of such wires; NULL without memory.
static inline BIO_METHOD *CTLS_wire_method(void) {
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "remusd wire");
    if (method == NULL) return NULL;
    BIO_meth_set_read_ex(method, CTLS_wire_read);
    BIO_meth_set_write_ex(method, CTLS_wire_write);
    BIO_meth_set_ctrl(method, CTLS_wire_control);
    return method;
}

/// Lets a connection speak over `wire`, which must outlive it. 1, or 0 without memory.
static inline int CTLS_attach(SSL *ssl, BIO_METHOD *method, struct CTLS_wire *wire) {
    BIO *bio = BIO_new(method);
    if (bio == NULL) return 0;
    BIO_set_data(bio, wire);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    return 1;
}

// ---- One step of a connection, judged before errno and the error queue can change.

static const int CTLS_MOVED = 0, CTLS_WANTS_READ = 1, CTLS_WANTS_WRITE = 2, CTLS_ENDED = 3, CTLS_SYSTEM = 4, CTLS_REFUSED = 5;

struct CTLS_result {
    /// One of the above.
    int outcome;
    /// CTLS_SYSTEM: errno. CTLS_REFUSED: a reason of sslerr.h, 1000 and more for an alert of the peer's (RFC 8446, 6).
    int code;
    /// CTLS_MOVED: bytes.
    size_t count;
};

static inline struct CTLS_result CTLS_judge(SSL *ssl, const struct CTLS_wire *wire, int returned, size_t count) {
    struct CTLS_result result = {CTLS_MOVED, 0, count};
    if (returned == 1) return result;
    switch (SSL_get_error(ssl, returned)) {
    case SSL_ERROR_WANT_READ: result.outcome = CTLS_WANTS_READ; break;
    case SSL_ERROR_WANT_WRITE: result.outcome = CTLS_WANTS_WRITE; break;
    case SSL_ERROR_ZERO_RETURN: result.outcome = CTLS_ENDED; break;
    default:
        if (wire->ended) {
            result.outcome = CTLS_ENDED;
        } else if (wire->error != 0) {
            result.outcome = CTLS_SYSTEM;
            result.code = wire->error;
        } else {
            result.outcome = CTLS_REFUSED;
            result.code = ERR_GET_REASON(ERR_peek_error());
        }
    }
    ERR_clear_error();
    return result;
}

static inline struct CTLS_result CTLS_handshake(SSL *ssl, const struct CTLS_wire *wire) {
    ERR_clear_error();
    return CTLS_judge(ssl, wire, SSL_do_handshake(ssl), 0);
}

static inline struct CTLS_result CTLS_read(SSL *ssl, const struct CTLS_wire *wire, void *target, size_t count) {
    size_t done = 0;
    ERR_clear_error();
    return CTLS_judge(ssl, wire, SSL_read_ex(ssl, target, count, &done), done);
}

static inline struct CTLS_result CTLS_peek(SSL *ssl, const struct CTLS_wire *wire) {
    char byte;
    size_t done = 0;
    ERR_clear_error();
    return CTLS_judge(ssl, wire, SSL_peek_ex(ssl, &byte, 1, &done), done);
}

static inline struct CTLS_result CTLS_write(SSL *ssl, const struct CTLS_wire *wire, const void *bytes, size_t count) {
    size_t done = 0;
    ERR_clear_error();
    return CTLS_judge(ssl, wire, SSL_write_ex(ssl, bytes, count, &done), done);
}

/// OpenSSL's words for a reason of its TLS part; NULL for none.
static inline const char *CTLS_reason(int code) { return ERR_reason_error_string(ERR_PACK(ERR_LIB_SSL, 0, code)); }

// ---- What every connection of ours is held to. All of it are macros.

/// TLS 1.3 only, X25519, Ed25519 keys, no tickets, no resumption, a certificate from both sides. 1, or 0 if this OpenSSL
/// cannot.
static inline int CTLS_configure(SSL_CTX *context, const char *suites) {
    SSL_CTX_set_options(
        context,
        SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
            SSL_OP_PRIORITIZE_CHACHA
    );
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    // What an unknown peer may make us keep: one small certificate.
    SSL_CTX_set_max_cert_list(context, 4096);
    // Several records with each read.
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, 64 << 10);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1 && SSL_CTX_set_num_tickets(context, 0) == 1 &&
           SSL_CTX_set1_groups_list(context, "X25519") == 1 && SSL_CTX_set1_sigalgs_list(context, "ed25519") == 1 &&
           SSL_CTX_set_ciphersuites(context, suites) == 1;
}

/// Whether this processor has instructions for AES.
static inline int CTLS_has_aes(void) {
#if defined(__x86_64__)
    return __builtin_cpu_supports("aes") != 0;
#elif defined(__aarch64__)
    return (getauxval(AT_HWCAP) & (1UL << 3)) != 0; // HWCAP_AES of asm/hwcap.h
#else
    return 0;
#endif
}

// ---- Keys and certificates.

/// A new Ed25519 key; NULL if there is none. EVP_PKEY_Q_keygen() is variadic.
static inline EVP_PKEY *CTLS_new_key(void) { return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"); }

/// A certificate that `key` signs for itself, for `name`, valid in [from, until] (seconds since 1970); NULL if that fails.
static inline X509 *CTLS_new_certificate(EVP_PKEY *key, const char *name, int64_t from, int64_t until) {
    X509 *certificate = X509_new();
    unsigned char serial[8];
    if (certificate == NULL) return NULL;
    X509_NAME *subject = X509_get_subject_name(certificate);
    uint64_t number = 0;
    int made = RAND_bytes(serial, sizeof serial) == 1;
    memcpy(&number, serial, sizeof serial);
    made = made && X509_set_version(certificate, X509_VERSION_3) == 1 &&
           ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), number >> 1) == 1 &&
           ASN1_TIME_set(X509_getm_notBefore(certificate), (time_t)from) != NULL &&
           ASN1_TIME_set(X509_getm_notAfter(certificate), (time_t)until) != NULL &&
           X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0) == 1 &&
           X509_set_issuer_name(certificate, subject) == 1 && X509_set_pubkey(certificate, key) == 1 &&
           X509_sign(certificate, key, NULL) > 0;
    if (made) return certificate;
    X509_free(certificate);
    return NULL;
}

/// The SHA-256 of a certificate's public key, as a SubjectPublicKeyInfo (RFC 5280, 4.1). 1, or 0 without memory.
static inline int CTLS_pin(const X509 *certificate, unsigned char *pin) {
    unsigned char *encoded = NULL;
    int count = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &encoded);
    if (count <= 0) return 0;
    int made = EVP_Digest(encoded, (size_t)count, pin, NULL, EVP_sha256(), NULL);
    OPENSSL_free(encoded);
    return made;
}

/// When a certificate ends, in seconds since 1970; INT64_MIN if it does not say so properly.
static inline int64_t CTLS_end(const X509 *certificate) {
    struct tm parts;
    if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &parts) != 1) return INT64_MIN;
    return (int64_t)timegm(&parts);
}

#endif
