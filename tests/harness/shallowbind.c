/* LD_PRELOAD shim: a server opens a module without RTLD_DEEPBIND.
 *
 * With that flag, a module would use the C library's malloc past AddressSanitizer, which refuses it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>

void *dlopen(const char *path, int flags) {
    void *(*next)(const char *, int) = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
    return next(path, flags & ~RTLD_DEEPBIND);
}
