/* A Modbus TCP client that reads the same registers again and again, each time after the last reply has come.
 *
 * client LIBRARY HOST PORT REGISTERS SECONDS: by libmodbus where LIBRARY names its file, by bare sockets where it is "-".
 * Prints requests, seconds, and the 50th and 99th percentile of the time of one in microseconds. Ends with 1 on a wrong reply.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int registers, sock;
static uint16_t words[125];
static void *context;
static int (*read_registers)(void *, int, int, uint16_t *);

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec * 1e-9;
}

static int by_library(void)
{
    return read_registers(context, 0, registers, words) == registers;
}

static int by_socket(void)
{
    static uint16_t transaction;
    uint8_t ask[12] = {++transaction >> 8, transaction, 0, 0, 0, 6, 1, 3, 0, 0, 0, registers}, got[260];
    int size = 9 + 2 * registers, have = 0, more;
    if (write(sock, ask, sizeof ask) != sizeof ask)
        return 0;
    while (have < size && (more = read(sock, got + have, size - have)) > 0)
        have += more;
    return have == size && !memcmp(got, ask, 2) && got[7] == 3 && got[8] == 2 * registers;
}

static int open_library(const char *file, const char *host, int port)
{
    void *library = dlopen(file, RTLD_NOW);
    if (!library)
        return 0;
    void *(*make)(const char *, int) = (void *(*)(const char *, int))dlsym(library, "modbus_new_tcp");
    int (*set_unit)(void *, int) = (int (*)(void *, int))dlsym(library, "modbus_set_slave");
    int (*open)(void *) = (int (*)(void *))dlsym(library, "modbus_connect");
    read_registers = (int (*)(void *, int, int, uint16_t *))dlsym(library, "modbus_read_registers");
    context = make(host, port);
    int (*patience)(void *, uint32_t, uint32_t) = (int (*)(void *, uint32_t, uint32_t))dlsym(library, "modbus_set_response_timeout");
    set_unit(context, 1);
    patience(context, 30, 0); /* whatever else the machine does: a late reply is late, not wrong */
    return open(context) == 0;
}

static int open_socket(const char *host, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    int on = 1;
    inet_pton(AF_INET, host, &to.sin_addr);
    sock = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return connect(sock, (struct sockaddr *)&to, sizeof to) == 0;
}

static int by_size(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

int main(int count, char **given)
{
    int bare = count == 6 && !strcmp(given[1], "-");
    if (count != 6)
        return 2;
    registers = atoi(given[4]);
    if (bare ? !open_socket(given[2], atoi(given[3])) : !open_library(given[1], given[2], atoi(given[3])))
        return 3;
    double seconds = atof(given[5]), began = now(), last = began, *took = malloc(sizeof(double) * 4000000);
    int requests = 0;
    while (last - began < seconds && requests < 4000000) {
        if (!(bare ? by_socket() : by_library())) {
            perror("wrong reply");
            return 1;
        }
        double at = now();
        took[requests++] = at - last;
        last = at;
    }
    qsort(took, requests, sizeof *took, by_size);
    printf("%d %f %f %f\n", requests, last - began, took[requests / 2] * 1e6, took[requests * 99 / 100] * 1e6);
    return 0;
}
