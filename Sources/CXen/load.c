#include "internal.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

struct CXen_functions X;

static pthread_once_t once = PTHREAD_ONCE_INIT, store_once = PTHREAD_ONCE_INIT;
static char problem[512];

static void find(void **function, void *library, const char *name) {
    if (problem[0]) return;
    *function = dlsym(library, name);
    if (!*function) snprintf(problem, sizeof problem, "%s", dlerror());
}

static void *open_library(const char *name) {
    if (problem[0]) return NULL;
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!library) snprintf(problem, sizeof problem, "%s", dlerror());
    return library;
}

#define FIND(name) find((void **)&X.name, library, #name);

static void load_store(void) {
    void *library = open_library("libxenstore.so.4");
    CXEN_STORE_FUNCTIONS(FIND)
}

static void load(void) {
    void *library;
    pthread_once(&store_once, load_store);
    library = open_library("libxenctrl.so.4.17");
    CXEN_CONTROL(FIND)
    library = open_library("libxenguest.so.4.17");
    CXEN_GUEST(FIND)
    library = open_library("libxenforeignmemory.so.1");
    CXEN_MEMORY(FIND)
    library = open_library("libxenevtchn.so.1");
    CXEN_EVENTS(FIND)
}

const char *CXen_load(void) {
    pthread_once(&once, load);
    return problem[0] ? problem : NULL;
}

const char *CXen_load_store(void) {
    pthread_once(&store_once, load_store);
    return problem[0] ? problem : NULL;
}

void CXen_free(void *memory) { free(memory); }
