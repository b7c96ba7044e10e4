#include "CXenLight.h"

#include <dlfcn.h>
#include <libxl.h>
#include <libxl_utils.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xentoollog.h>

#define LIGHT_FUNCTIONS(X) \
    X(libxl_ctx_alloc) \
    X(libxl_ctx_free) \
    X(libxl_list_domain) \
    X(libxl_dominfo_list_free) \
    X(libxl_name_to_domid) \
    X(libxl_get_free_memory) \
    X(libxl_domain_need_memory) \
    X(libxl_domain_config_init) \
    X(libxl_domain_config_dispose) \
    X(libxl_domain_config_from_json) \
    X(libxl_domain_create_new) \
    X(libxl_domain_restore_params_init) \
    X(libxl_domain_restore_params_dispose) \
    X(libxl_domain_create_restore) \
    X(libxl_domain_rename) \
    X(libxl_domain_unpause) \
    X(libxl_domain_destroy) \
    X(libxl_evenable_domain_death) \
    X(libxl_evdisable_domain_death) \
    X(libxl_event_wait) \
    X(libxl_event_free)

#define LOG_FUNCTIONS(X) \
    X(xtl_createlogger_stdiostream) \
    X(xtl_logger_destroy)

static struct {
#define DECLARE(name) __typeof__(&name) name;
    LIGHT_FUNCTIONS(DECLARE)
    LOG_FUNCTIONS(DECLARE)
#undef DECLARE
} xl;

static const char *missing;
static char missing_text[256];

static void *library(const char *name) {
    void *handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!handle && !missing) {
        const char *reason = dlerror();
        snprintf(missing_text, sizeof missing_text, "%s", reason ? reason : name);
        missing = missing_text;
    }
    return handle;
}

static void *function(void *handle, const char *name, const char *of) {
    void *found = handle ? dlsym(handle, name) : NULL;
    if (!found && !missing) {
        snprintf(missing_text, sizeof missing_text, "%s has no %s", of, name);
        missing = missing_text;
    }
    return found;
}

static void load(void) {
    void *log = library("libxentoollog.so.1");
    void *light = library("libxenlight.so.4.17");
#define FIND(name) xl.name = (__typeof__(xl.name))function(light, #name, "libxenlight.so.4.17");
    LIGHT_FUNCTIONS(FIND)
#undef FIND
#define FIND(name) xl.name = (__typeof__(xl.name))function(log, #name, "libxentoollog.so.1");
    LOG_FUNCTIONS(FIND)
#undef FIND
}

const char *CXen_light_load(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
    return missing;
}

struct CXen_light {
    libxl_ctx *ctx;
    xentoollog_logger *logger;
};

CXen_light *CXen_light_open(void) {
    if (CXen_light_load()) return NULL;
    CXen_light *light = calloc(1, sizeof *light);
    if (!light) return NULL;
    light->logger = (xentoollog_logger *)xl.xtl_createlogger_stdiostream(stderr, XTL_ERROR, 0);
    if (light->logger && xl.libxl_ctx_alloc(&light->ctx, LIBXL_VERSION, 0, light->logger) == 0) return light;
    if (light->logger) xl.xtl_logger_destroy(light->logger);
    free(light);
    return NULL;
}

void CXen_light_close(CXen_light *light) {
    if (!light) return;
    xl.libxl_ctx_free(light->ctx);
    xl.xtl_logger_destroy(light->logger);
    free(light);
}

int CXen_light_domains(CXen_light *light, CXen_light_domain *domains, int capacity) {
    int count = 0;
    libxl_dominfo *list = xl.libxl_list_domain(light->ctx, &count);
    if (!list) return -1;
    for (int i = 0; i < count && i < capacity; i++) {
        CXen_light_domain *domain = &domains[i];
        memcpy(domain->uuid, list[i].uuid.uuid, sizeof domain->uuid);
        domain->domid = list[i].domid;
        domain->paused = list[i].paused;
        domain->shutdown = list[i].shutdown;
        domain->shutdown_reason = (uint8_t)list[i].shutdown_reason;
        domain->dying = list[i].dying;
    }
    xl.libxl_dominfo_list_free(list, count);
    return count;
}

int64_t CXen_light_domid(CXen_light *light, const char *name) {
    uint32_t domid;
    return xl.libxl_name_to_domid(light->ctx, name, &domid) == 0 ? (int64_t)domid : -1;
}

int CXen_light_free_memory(CXen_light *light, uint64_t *kib) {
    return xl.libxl_get_free_memory(light->ctx, kib);
}

int CXen_light_needed_memory(CXen_light *light, const char *json, uint64_t *kib) {
    libxl_domain_config config;
    xl.libxl_domain_config_init(&config);
    int result = xl.libxl_domain_config_from_json(light->ctx, &config, json);
    // INVALID_DOMID: the domain does not exist yet (libxl.h, libxl_domain_need_memory).
    if (!result) result = xl.libxl_domain_need_memory(light->ctx, &config, (uint32_t)INVALID_DOMID, kib);
    xl.libxl_domain_config_dispose(&config);
    return result;
}

int CXen_light_build(CXen_light *light, const char *json, const char *name, int stream, uint32_t *domid) {
    libxl_domain_config config;
    libxl_domain_restore_params params;
    xl.libxl_domain_config_init(&config);
    xl.libxl_domain_restore_params_init(&params);
    params.checkpointed_stream = LIBXL_CHECKPOINTED_STREAM_REMUS;
    params.stream_version = 2;
    int result = xl.libxl_domain_config_from_json(light->ctx, &config, json);
    if (!result) {
        free(config.c_info.name);
        config.c_info.name = strdup(name);
        result = xl.libxl_domain_create_restore(light->ctx, &config, domid, stream, -1, &params, NULL, NULL);
    }
    xl.libxl_domain_restore_params_dispose(&params);
    xl.libxl_domain_config_dispose(&config);
    return result;
}

int CXen_light_rename(CXen_light *light, uint32_t domid, const char *from, const char *to) {
    return xl.libxl_domain_rename(light->ctx, domid, from, to);
}

int CXen_light_unpause(CXen_light *light, uint32_t domid) {
    return xl.libxl_domain_unpause(light->ctx, domid, NULL);
}

int CXen_light_destroy(CXen_light *light, uint32_t domid) {
    return xl.libxl_domain_destroy(light->ctx, domid, NULL);
}

int CXen_light_await_end(CXen_light *light, uint32_t domid) {
    libxl_evgen_domain_death *watch = NULL;
    int found = xl.libxl_evenable_domain_death(light->ctx, domid, 0, &watch);
    if (found) return -2;
    found = -3;
    while (found == -3) {
        libxl_event *event = NULL;
        if (xl.libxl_event_wait(light->ctx, &event, LIBXL_EVENTMASK_ALL, NULL, NULL)) found = -2;
        else if (event->domid == domid && event->type == LIBXL_EVENT_TYPE_DOMAIN_SHUTDOWN)
            found = event->u.domain_shutdown.shutdown_reason;
        else if (event->domid == domid && event->type == LIBXL_EVENT_TYPE_DOMAIN_DEATH) found = -1;
        if (event) xl.libxl_event_free(light->ctx, event);
    }
    xl.libxl_evdisable_domain_death(light->ctx, watch);
    return found;
}

int CXen_light_create(CXen_light *light, const char *json, uint32_t *domid) {
    libxl_domain_config config;
    xl.libxl_domain_config_init(&config);
    int code = xl.libxl_domain_config_from_json(light->ctx, &config, json);
    // The field that asks for a domain number of one's own choice.
    config.c_info.domid = INVALID_DOMID;
    if (code == 0) code = xl.libxl_domain_create_new(light->ctx, &config, domid, NULL, NULL);
    if (code == 0) {
        code = CXen_light_unpause(light, *domid);
        if (code) CXen_light_destroy(light, *domid);
    }
    xl.libxl_domain_config_dispose(&config);
    return code;
}
