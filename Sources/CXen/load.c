#include "CXen.h"

#include <dlfcn.h>

const char *CXen_load(void) {
    void *library = dlopen("libxenctrl.so.4.17", RTLD_NOW | RTLD_LOCAL);
    return library ? NULL : dlerror();
}
