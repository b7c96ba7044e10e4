#include "internal.h"

#include <stdio.h>

struct CXen_store {
    struct xs_handle *handle;
};

CXen_store *CXen_store_open(int *error) {
    CXen_store *store = calloc(1, sizeof *store);
    errno = store ? 0 : ENOMEM;
    if (store) store->handle = X.xs_open(0);
    if (!store || !store->handle) {
        *error = CXen_errno();
        free(store);
        return NULL;
    }
    return store;
}

void CXen_store_close(CXen_store *store) {
    X.xs_close(store->handle);
    free(store);
}

char *CXen_store_read(CXen_store *store, const char *path, unsigned *length, int *error) {
    errno = 0;
    char *value = X.xs_read(store->handle, XBT_NULL, path, length);
    if (!value) *error = CXen_errno();
    return value;
}

int CXen_store_write(CXen_store *store, const char *path, const char *value) {
    errno = 0;
    return X.xs_write(store->handle, XBT_NULL, path, value, (unsigned)strlen(value)) ? 0 : CXen_errno();
}

char **CXen_store_list(CXen_store *store, const char *path, unsigned *count, int *error) {
    errno = 0;
    char **names = X.xs_directory(store->handle, XBT_NULL, path, count);
    if (!names) *error = CXen_errno();
    return names;
}

int CXen_store_exchange(CXen_store *store, const char *path, const char *expected, const char *value) {
    for (;;) {
        errno = 0;
        xs_transaction_t transaction = X.xs_transaction_start(store->handle);
        if (transaction == XBT_NULL) return CXen_errno();
        unsigned length = 0;
        int code = 0;
        char *found = X.xs_read(store->handle, transaction, path, &length);
        if (!found)
            code = errno == ENOENT ? EEXIST : CXen_errno();
        else if (strcmp(found, expected))
            code = EEXIST;
        else if (!X.xs_write(store->handle, transaction, path, value, (unsigned)strlen(value)))
            code = CXen_errno();
        free(found);
        errno = 0;
        if (X.xs_transaction_end(store->handle, transaction, code != 0)) return code;
        if (errno != EAGAIN) return code ? code : CXen_errno();
    }
}

int CXen_store_watch(CXen_store *store, const char *path, const char *token) {
    errno = 0;
    return X.xs_watch(store->handle, path, token) ? 0 : CXen_errno();
}

int CXen_store_unwatch(CXen_store *store, const char *path, const char *token) {
    errno = 0;
    return X.xs_unwatch(store->handle, path, token) ? 0 : CXen_errno();
}

int CXen_store_descriptor(CXen_store *store) { return X.xs_fileno(store->handle); }

int CXen_store_event(CXen_store *store, char *token, size_t size) {
    errno = 0;
    char **event = X.xs_check_watch(store->handle);
    if (!event) return CXen_errno();
    snprintf(token, size, "%s", event[XS_WATCH_TOKEN]);
    free(event);
    return 0;
}

int CXen_store_resume(CXen_store *store, uint32_t domid) {
    errno = 0;
    return X.xs_resume_domain(store->handle, domid) ? 0 : CXen_errno();
}
