/* LD_PRELOAD shim: gives a group of processes its own copies of the ports in the documents, such as 6379.
 *
 * A process that binds 127.0.0.1:6379 gets a free port instead. The file PORTS_FILE has the real port for each port, 16
 * bits each. When a process of the group connects to 6379, it is connected to the real port. If no process of the group
 * has bound 6379, the connection is refused: a test must never reach another server of the machine.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static volatile uint16_t *real_ports;
/* If the file cannot be read, no port of the group is known, so all of them are refused. */
static volatile uint16_t no_ports[65536];

__attribute__((constructor)) static void map_ports(void) {
    const char *path = getenv("PORTS_FILE");
    if (!path) return;
    real_ports = no_ports;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *table = mmap(NULL, 65536 * sizeof(uint16_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (table != MAP_FAILED) real_ports = table;
    close(fd);
}

/* Servers, cluster nodes, Sentinels, the buses of cluster nodes, and the page of taskslot web. */
static int is_ours(uint16_t port) {
    int server = port < 16370 ? port : port < 26370 ? port - 10000 : port - 20000;
    return (server >= 6370 && server < 6400) || (server >= 7000 && server < 8000) || port == 8080;
}

/* The port in an address of this machine, or NULL. Both families have it in the same place. */
static in_port_t *port_in(const struct sockaddr *address) {
    if (!real_ports || !address) return NULL;
    if (address->sa_family == AF_INET) {
        struct sockaddr_in *in = (struct sockaddr_in *)address;
        uint32_t host = ntohl(in->sin_addr.s_addr);
        return host == INADDR_ANY || host >> 24 == 127 ? &in->sin_port : NULL;
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)address;
        int is_here = IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr) || IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr);
        return is_here ? &in6->sin6_port : NULL;
    }
    return NULL;
}

typedef int call(int, const struct sockaddr *, socklen_t);

int bind(int socket, const struct sockaddr *address, socklen_t size) {
    call *next = (call *)dlsym(RTLD_NEXT, "bind");
    struct sockaddr_storage other;
    in_port_t *port = port_in(address);
    if (!port || size > sizeof other || !is_ours(ntohs(*port))) return next(socket, address, size);
    uint16_t shown = ntohs(*port);
    memcpy(&other, address, size);
    port = port_in((struct sockaddr *)&other);
    *port = htons(real_ports[shown]); /* 0 at first: the kernel picks one */
    if (next(socket, (struct sockaddr *)&other, size)) return -1;
    if (real_ports[shown]) return 0;
    socklen_t length = sizeof other;
    if (getsockname(socket, (struct sockaddr *)&other, &length)) return -1;
    real_ports[shown] = ntohs(*port);
    return 0;
}

int connect(int socket, const struct sockaddr *address, socklen_t size) {
    call *next = (call *)dlsym(RTLD_NEXT, "connect");
    struct sockaddr_storage other;
    in_port_t *port = port_in(address);
    if (!port || size > sizeof other || !is_ours(ntohs(*port))) return next(socket, address, size);
    uint16_t real = real_ports[ntohs(*port)];
    if (!real) {
        errno = ECONNREFUSED;
        return -1;
    }
    memcpy(&other, address, size);
    *port_in((struct sockaddr *)&other) = htons(real);
    return next(socket, (struct sockaddr *)&other, size);
}
