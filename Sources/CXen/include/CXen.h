#ifndef CXEN_H
#define CXEN_H

// Xen's libraries for Swift: plain C functions over plain types, so that Swift sees none of Xen's headers.
//
// Nothing here links with a Xen library: they are found with dlopen at run time (xen-operations.md, section 0), so that one
// program runs on machines with and without Xen. Every name that is ours is prefixed CXen_.

#include <stddef.h>
#include <stdint.h>

/// Loads libxenctrl, libxenforeignmemory, libxenevtchn, libxenstore and libxenguest of Xen 4.17 and finds every function
/// that is used of them. Cheap when repeated; any thread.
/// Returns NULL when all are there, else what is missing, in words; the text lives as long as the process.
const char *CXen_load(void);

#include "CXenLight.h"
#include "CXenSave.h"

#endif
