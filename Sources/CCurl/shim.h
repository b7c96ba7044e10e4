#ifndef CCURL_SHIM_H
#define CCURL_SHIM_H

// libcurl for Swift. Every name that is ours is prefixed CCurl_.

// Its checks of arguments are macros around the variadic calls below.
#define CURL_DISABLE_TYPECHECK 1
#include <curl/curl.h>

// ---- curl_easy_setopt() and curl_easy_getinfo() are variadic.

static inline CURLcode CCurl_set_number(CURL *handle, CURLoption option, long value) {
    return curl_easy_setopt(handle, option, value);
}
static inline CURLcode CCurl_set_text(CURL *handle, CURLoption option, const char *value) {
    return curl_easy_setopt(handle, option, value);
}
static inline CURLcode CCurl_set_list(CURL *handle, CURLoption option, struct curl_slist *value) {
    return curl_easy_setopt(handle, option, value);
}
static inline CURLcode CCurl_set_pointer(CURL *handle, CURLoption option, void *value) {
    return curl_easy_setopt(handle, option, value);
}

/// The answer's HTTP status; 0 if there was none.
static inline long CCurl_status(CURL *handle) {
    long status = 0;
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

// ---- The function that takes the answer's bytes: returns how many it took, fewer end the transfer.

typedef size_t (*CCurl_taker)(char *bytes, size_t size, size_t count, void *context);

static inline CURLcode CCurl_set_taker(CURL *handle, CCurl_taker taker, void *context) {
    CURLcode code = curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, taker);
    return code ? code : curl_easy_setopt(handle, CURLOPT_WRITEDATA, context);
}

// ---- CURL_GLOBAL_DEFAULT is a macro of macros.

static inline CURLcode CCurl_start(void) { return curl_global_init(CURL_GLOBAL_DEFAULT); }

#endif
