#ifndef CXEN_H
#define CXEN_H

// Xen's libraries for Swift: plain C functions over plain types, so that Swift sees none of Xen's headers.
//
// Nothing here links with a Xen library: they are found with dlopen at run time (xen-operations.md, section 0), so that one
// program runs on machines with and without Xen. Every name that is ours is prefixed CXen_.
//
// Functions that return int return 0 or an errno value, unless they say otherwise. None may be called before CXen_load, or, of
// CXen_store_*, CXen_load_store, has returned NULL. A handle belongs to one thread at a time, and to the process that opened it.

#include <stddef.h>
#include <stdint.h>

/// Loads libxenctrl, libxenforeignmemory, libxenevtchn, libxenstore and libxenguest of Xen 4.17 and finds every function
/// that is used of them. Cheap when repeated; any thread.
/// Returns NULL when all are there, else what is missing, in words; the text lives as long as the process.
const char *CXen_load(void);

/// Loads libxenstore only, which takes a fraction of the time: for a program that calls nothing but CXen_store_*. Not beside CXen_load
/// in another thread. Returns as that does.
const char *CXen_load_store(void);

/// Gives back what a function here allocated.
void CXen_free(void *memory);

#include "CXenDomain.h"
#include "CXenLight.h"
#include "CXenMemory.h"
#include "CXenPV.h"
#include "CXenSave.h"
#include "CXenState.h"
#include "CXenStore.h"

#endif
