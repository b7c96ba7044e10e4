#ifndef CXEN_SAVE_H
#define CXEN_SAVE_H

// libxenguest's own sender, for a process of its own: it blocks for the whole session and asserts what it expects.
//
// It speaks over `control`, a SOCK_SEQPACKET socket: one packet a message, native byte order, both ends on one machine.
// A message that asks waits for one packet of one byte.

#include <stdint.h>

/// What a message is. Values are those of the first member of CXen_save_message.
enum CXen_save_kind {
    /// Asks: the libraries are loaded; save? Any other answer than 1 ends the process.
    CXEN_SAVE_READY = 1,
    /// Asks: continue the live rounds (0), suspend and send the rest (1), or give up (2)? Before a round `dirty` is the
    /// number of pages it would send; after one it is -1. `iteration` counts rounds from 0.
    CXEN_SAVE_POLICY = 2,
    /// Asks: suspend the guest; 1 when it is, 0 to give up.
    CXEN_SAVE_SUSPEND = 3,
    /// Asks: CHECKPOINT is written; 1 when the guest runs again, 0 to end.
    CXEN_SAVE_POSTCOPY = 4,
    /// Asks: 1 to make the next checkpoint, 0 to end.
    CXEN_SAVE_CHECKPOINT = 5,
    /// Asks: switch the device model's log-dirty on (`iteration` 1) or off (0); 1 when done, 0 if that failed.
    CXEN_SAVE_DEVICE_MODEL = 6,
    /// Tells: what libxenguest has to say about an error, in `text`.
    CXEN_SAVE_ERROR = 7,
    /// Tells: xc_domain_save returned `iteration`, with the errno `dirty`.
    CXEN_SAVE_DONE = 8,
};

struct CXen_save_message {
    uint32_t kind;
    uint32_t iteration;
    int64_t dirty;
    /// NUL-terminated; empty but for CXEN_SAVE_ERROR.
    char text[240];
};

/// Saves `domid` as a Remus stream (xen-operations.md, section 8): xc_domain_save with XCFLAGS_LIVE and XC_STREAM_REMUS.
/// Writes the stream to `stream`, asks over `control`, and returns when it is over: 0 as asked, else 1.
int CXen_save_remus(uint32_t domid, int stream, int control);

#endif
