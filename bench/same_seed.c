/* Preloaded by instructions.py: the server's random bits are always the same ones. By its random seed, a server has more
 * or fewer collisions in the table in which it looks up commands, which changes a count by up to 1 %. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

typedef FILE *opener(const char *, const char *);

static FILE *open_with(const char *name, const char *path, const char *mode) {
    opener *next = (opener *)dlsym(RTLD_NEXT, name);
    return next(strcmp(path, "/dev/urandom") ? path : "/dev/zero", mode);
}

FILE *fopen(const char *path, const char *mode) { return open_with("fopen", path, mode); }
FILE *fopen64(const char *path, const char *mode) { return open_with("fopen64", path, mode); }
