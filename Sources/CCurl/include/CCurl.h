#ifndef CCURL_H
#define CCURL_H

// libcurl for Swift: plain C functions over its handle, each prefixed CCurl_.
//
// Nothing here links with libcurl. It is found with dlopen at run time, where there is an arbiter that needs it: it brings two
// dozen libraries, which every process of remusd would else load, and each guest's that is activated.
//
// None but CCurl_load may be called before that has returned NULL. A handle belongs to one thread at a time.

// Its checks of arguments are macros around the variadic calls.
#define CURL_DISABLE_TYPECHECK 1
#include <curl/curl.h>

/// Loads libcurl, finds every function that is used of it, and starts it (curl_global_init). Cheap when repeated; any thread.
/// Returns NULL when all is there, else what is missing, in words; the text lives as long as the process.
const char *CCurl_load(void);

/// A handle; NULL if there is no memory for it.
void *CCurl_open(void);
void CCurl_close(void *handle);

/// curl_easy_setopt(), which is variadic, by the kind of what is set.
CURLcode CCurl_set_number(void *handle, CURLoption option, long value);
CURLcode CCurl_set_text(void *handle, CURLoption option, const char *value);
CURLcode CCurl_set_list(void *handle, CURLoption option, struct curl_slist *value);
CURLcode CCurl_set_pointer(void *handle, CURLoption option, void *value);

/// Takes the answer's bytes: returns how many it took, fewer end the transfer.
typedef size_t (*CCurl_taker)(char *bytes, size_t size, size_t count, void *context);
CURLcode CCurl_set_taker(void *handle, CCurl_taker taker, void *context);

/// Sends what was set, and waits for the answer.
CURLcode CCurl_perform(void *handle);
/// The answer's HTTP status; 0 if there was none.
long CCurl_status(void *handle);
/// A code in words; lives as long as the process.
const char *CCurl_text(CURLcode code);

/// The list with one text more, NULL if there is no memory for it; NULL is the empty list.
struct curl_slist *CCurl_list_append(struct curl_slist *list, const char *text);
void CCurl_list_free(struct curl_slist *list);

#endif
