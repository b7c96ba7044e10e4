#ifndef COPENSSL_SHIM_H
#define COPENSSL_SHIM_H

// OpenSSL 3 for Swift: what is a macro there, or variadic. Every name that is ours is prefixed COpenSSL_.

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <string.h>

#if OPENSSL_VERSION_MAJOR < 3
#error "needs OpenSSL 3"
#endif

static const int COpenSSL_ED25519 = EVP_PKEY_ED25519;

/// TLS 1.3 with one cipher suite; X25519, and several records with each read, as in remusd. 1, or 0 if this OpenSSL cannot.
static inline int COpenSSL_configure(SSL_CTX *context, const char *suite) {
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, 64 << 10);
    return SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 && SSL_CTX_set1_groups_list(context, "X25519") == 1 &&
           SSL_CTX_set_ciphersuites(context, suite) == 1;
}

/// What was encoded (`count` bytes at `encoded`, which is freed), if it has room in `target`: its size, or 0.
static inline size_t COpenSSL_take(unsigned char *encoded, int count, unsigned char *target, size_t room) {
    size_t taken = count > 0 && (size_t)count <= room ? (size_t)count : 0;
    memcpy(target, encoded, taken);
    OPENSSL_free(encoded);
    return taken;
}

/// A new Ed25519 key and a certificate that it signs for itself, good for a day, both in DER: PKCS #8 (RFC 5958) and X.509
/// (RFC 5280). Each has `room` bytes; their sizes are set. 1, or 0 if that fails.
static inline int COpenSSL_new_identity(
    unsigned char *key, size_t *key_size, unsigned char *certificate, size_t *certificate_size, size_t room
) {
    EVP_PKEY *own = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    X509 *shown = X509_new();
    X509_NAME *name = shown != NULL ? X509_get_subject_name(shown) : NULL;
    int made = own != NULL && name != NULL && X509_set_version(shown, X509_VERSION_3) == 1 &&
               ASN1_INTEGER_set(X509_get_serialNumber(shown), 1) == 1 &&
               X509_gmtime_adj(X509_getm_notBefore(shown), -60) != NULL &&
               X509_gmtime_adj(X509_getm_notAfter(shown), 86400) != NULL &&
               X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"tls-libraries", -1, -1, 0) == 1 &&
               X509_set_issuer_name(shown, name) == 1 && X509_set_pubkey(shown, own) == 1 && X509_sign(shown, own, NULL) > 0;
    *key_size = *certificate_size = 0;
    if (made) {
        unsigned char *encoded = NULL;
        int count = i2d_PrivateKey(own, &encoded);
        *key_size = COpenSSL_take(encoded, count, key, room);
        encoded = NULL;
        count = i2d_X509(shown, &encoded);
        *certificate_size = COpenSSL_take(encoded, count, certificate, room);
    }
    EVP_PKEY_free(own);
    X509_free(shown);
    return *key_size > 0 && *certificate_size > 0;
}

#endif
