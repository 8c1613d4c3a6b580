/* LD_PRELOAD shim: a program's connections to ports of this machine go to other ports, as a file says.
 *
 * REDIRECT_FILE names the file: 65536 native integers of 2 bytes. Entry p is the port to which a connection to
 * 127.0.0.1, port p, goes instead; 0 leaves it as it is. It is mapped shared, so a test can change it at any time. So
 * proxies stand between servers that tell each other their true ports.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PORTS 65536

static const volatile uint16_t *instead;

__attribute__((constructor)) static void map_ports(void) {
    const char *path = getenv("REDIRECT_FILE");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *table = mmap(NULL, PORTS * sizeof(uint16_t), PROT_READ, MAP_SHARED, fd, 0);
    if (table != MAP_FAILED) instead = table;
    close(fd);
}

int connect(int fd, const struct sockaddr *to, socklen_t size) {
    struct sockaddr_in other;
    if (instead && to->sa_family == AF_INET && size >= sizeof other) {
        memcpy(&other, to, sizeof other);
        uint16_t port = instead[ntohs(other.sin_port)];
        if (port && other.sin_addr.s_addr == htonl(INADDR_LOOPBACK)) {
            other.sin_port = htons(port);
            return (int)syscall(SYS_connect, fd, &other, sizeof other);
        }
    }
    return (int)syscall(SYS_connect, fd, to, size);
}
