#ifndef CXEN_STORE_H
#define CXEN_STORE_H

// xenstore.

#include <stddef.h>
#include <stdint.h>

/// A connection to xenstored. The library keeps a thread of its own for watches.
typedef struct CXen_store CXen_store;
CXen_store *CXen_store_open(int *error);
void CXen_store_close(CXen_store *store);

/// The value at `path`, with a NUL after it, to be given to CXen_free; NULL with *error (ENOENT if there is none).
char *CXen_store_read(CXen_store *store, const char *path, unsigned *length, int *error);
int CXen_store_write(CXen_store *store, const char *path, const char *value);
/// The names below `path`, to be given to CXen_free in one piece; NULL with *error.
char **CXen_store_list(CXen_store *store, const char *path, unsigned *count, int *error);
/// In one transaction: `path` becomes `value` if it is `expected`. EEXIST if it is something else.
int CXen_store_exchange(CXen_store *store, const char *path, const char *expected, const char *value);

int CXen_store_watch(CXen_store *store, const char *path, const char *token);
int CXen_store_unwatch(CXen_store *store, const char *path, const char *token);
/// Readable when a watch has fired.
int CXen_store_descriptor(CXen_store *store);
/// Takes one watch event away, without waiting: its token goes into `token`, cut to `size`. EAGAIN if there is none.
int CXen_store_event(CXen_store *store, char *token, size_t size);

/// Tells xenstored that a suspended domain runs again, so that it tells of the next suspend.
int CXen_store_resume(CXen_store *store, uint32_t domid);

#endif
