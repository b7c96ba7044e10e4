#include "CCurl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

// The flavour with OpenSSL, as Debian's libcurl4 has it.
#define LIBRARY "libcurl.so.4"

#define FUNCTIONS(DO)                                                                                                  \
    DO(curl_global_init)                                                                                               \
    DO(curl_easy_init)                                                                                                 \
    DO(curl_easy_cleanup)                                                                                              \
    DO(curl_easy_setopt)                                                                                               \
    DO(curl_easy_getinfo)                                                                                              \
    DO(curl_easy_perform)                                                                                              \
    DO(curl_easy_strerror)                                                                                             \
    DO(curl_slist_append)                                                                                              \
    DO(curl_slist_free_all)

// A pointer for each, of the type that its header gives it.
#define DECLARE(name) __typeof__(name) *name##_;
static struct { FUNCTIONS(DECLARE) } curl;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char problem[512];

static void find(void **function, void *library, const char *name) {
    if (problem[0]) return;
    *function = dlsym(library, name);
    if (!*function) snprintf(problem, sizeof problem, "%s", dlerror());
}

static void load(void) {
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(problem, sizeof problem, "%s (Debian's libcurl4)", dlerror());
        return;
    }
#define FIND(name) find((void **)&curl.name##_, library, #name);
    FUNCTIONS(FIND)
    if (problem[0]) return;
    CURLcode code = curl.curl_global_init_(CURL_GLOBAL_DEFAULT);
    if (code) snprintf(problem, sizeof problem, "%s", curl.curl_easy_strerror_(code));
}

const char *CCurl_load(void) {
    pthread_once(&once, load);
    return problem[0] ? problem : NULL;
}

void *CCurl_open(void) { return curl.curl_easy_init_(); }
void CCurl_close(void *handle) { curl.curl_easy_cleanup_(handle); }

CURLcode CCurl_set_number(void *handle, CURLoption option, long value) {
    return curl.curl_easy_setopt_(handle, option, value);
}
CURLcode CCurl_set_text(void *handle, CURLoption option, const char *value) {
    return curl.curl_easy_setopt_(handle, option, value);
}
CURLcode CCurl_set_list(void *handle, CURLoption option, struct curl_slist *value) {
    return curl.curl_easy_setopt_(handle, option, value);
}
CURLcode CCurl_set_pointer(void *handle, CURLoption option, void *value) {
    return curl.curl_easy_setopt_(handle, option, value);
}

CURLcode CCurl_set_taker(void *handle, CCurl_taker taker, void *context) {
    CURLcode code = curl.curl_easy_setopt_(handle, CURLOPT_WRITEFUNCTION, taker);
    return code ? code : curl.curl_easy_setopt_(handle, CURLOPT_WRITEDATA, context);
}

CURLcode CCurl_perform(void *handle) { return curl.curl_easy_perform_(handle); }

long CCurl_status(void *handle) {
    long status = 0;
    curl.curl_easy_getinfo_(handle, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

const char *CCurl_text(CURLcode code) { return curl.curl_easy_strerror_(code); }

struct curl_slist *CCurl_list_append(struct curl_slist *list, const char *text) {
    return curl.curl_slist_append_(list, text);
}
void CCurl_list_free(struct curl_slist *list) { curl.curl_slist_free_all_(list); }
