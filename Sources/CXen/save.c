#include "CXenSave.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <xenctrl.h>
#include <xenguest.h>
#include <xentoollog.h>

// One saving at a time in a process.
static int control_socket;

static int send_message(enum CXen_save_kind kind, uint32_t iteration, int64_t dirty, const char *text) {
    struct CXen_save_message message = {.kind = kind, .iteration = iteration, .dirty = dirty};
    if (text) snprintf(message.text, sizeof message.text, "%s", text);
    ssize_t sent;
    do sent = send(control_socket, &message, sizeof message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent == (ssize_t)sizeof message;
}

// The answer, or `otherwise` when nobody is there to give one.
static int ask(enum CXen_save_kind kind, uint32_t iteration, int64_t dirty, int otherwise) {
    if (!send_message(kind, iteration, dirty, NULL)) return otherwise;
    unsigned char answer;
    ssize_t got;
    do got = recv(control_socket, &answer, 1, 0);
    while (got < 0 && errno == EINTR);
    return got == 1 ? answer : otherwise;
}

static int on_suspend(void *data) { return ask(CXEN_SAVE_SUSPEND, 0, 0, 0) == 1; }
static int on_postcopy(void *data) { return ask(CXEN_SAVE_POSTCOPY, 0, 0, 0) == 1; }
static int on_checkpoint(void *data) { return ask(CXEN_SAVE_CHECKPOINT, 0, 0, 0) == 1; }

static int on_policy(struct precopy_stats stats, void *data) {
    switch (ask(CXEN_SAVE_POLICY, stats.iteration, stats.dirty_count, 2)) {
    case 0: return XGS_POLICY_CONTINUE_PRECOPY;
    case 1: return XGS_POLICY_STOP_AND_COPY;
    default: return XGS_POLICY_ABORT;
    }
}

static int on_device_model(uint32_t domid, unsigned enable, void *data) {
    return ask(CXEN_SAVE_DEVICE_MODEL, enable != 0, 0, 0) == 1 ? 0 : -1;
}

static void log_message(
    struct xentoollog_logger *logger,
    xentoollog_level level,
    int number,
    const char *context,
    const char *format,
    va_list arguments
) {
    if (level < XTL_ERROR) return;
    char text[sizeof ((struct CXen_save_message *)0)->text];
    int length = vsnprintf(text, sizeof text, format, arguments);
    if (length < 0) return;
    if (number >= 0 && (size_t)length < sizeof text)
        snprintf(text + length, sizeof text - (size_t)length, ": %s", strerror(number));
    send_message(CXEN_SAVE_ERROR, 0, 0, text);
}

static void log_progress(
    struct xentoollog_logger *logger,
    const char *context,
    const char *what,
    int percent,
    unsigned long done,
    unsigned long total
) {}

static void log_nothing(struct xentoollog_logger *logger) {}

static struct xentoollog_logger logger = {log_message, log_progress, log_nothing};

static int fail(const char *text) {
    send_message(CXEN_SAVE_ERROR, 0, 0, text);
    return 1;
}

int CXen_save_remus(uint32_t domid, int stream, int control) {
    control_socket = control;
    void *xenctrl = dlopen("libxenctrl.so.4.17", RTLD_NOW | RTLD_LOCAL);
    void *xenguest = xenctrl ? dlopen("libxenguest.so.4.17", RTLD_NOW | RTLD_LOCAL) : NULL;
    if (!xenguest) return fail(dlerror());
    __typeof__(xc_interface_open) *open_interface = dlsym(xenctrl, "xc_interface_open");
    __typeof__(xc_interface_close) *close_interface = dlsym(xenctrl, "xc_interface_close");
    __typeof__(xc_domain_save) *save = dlsym(xenguest, "xc_domain_save");
    if (!open_interface || !close_interface || !save) return fail(dlerror());
    xc_interface *interface = open_interface(&logger, &logger, 0);
    if (!interface) return fail("the hypervisor's interface cannot be opened");

    struct save_callbacks callbacks = {
        .suspend = on_suspend,
        .precopy_policy = on_policy,
        .postcopy = on_postcopy,
        .checkpoint = on_checkpoint,
        .switch_qemu_logdirty = on_device_model,
    };
    int result = 1;
    if (ask(CXEN_SAVE_READY, 0, 0, 0) == 1) {
        errno = 0;
        result = save(interface, stream, domid, XCFLAGS_LIVE, &callbacks, XC_STREAM_REMUS, -1) != 0;
        send_message(CXEN_SAVE_DONE, (uint32_t)result, errno, NULL);
    }
    close_interface(interface);
    return result;
}
