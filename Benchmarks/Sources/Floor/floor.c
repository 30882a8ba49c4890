// Measures the C client itself on the operations that a queue needs. No queue on ZooKeeper with one node for each
// message can cost less. The operations are pipelined: sequential creates, one list, reads, claims (a delete and a
// create) and acknowledgements (a delete).
//
// floor HOST MESSAGES BYTES BATCH WINDOW        one line of JSON for each phase
// floor HOST MESSAGES BYTES handoff             put, list, get and claim, each awaited: the round trips of a hand-off
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

enum { PATH_SIZE = 96 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int connected, in_flight, window, failures;
static zhandle_t *zk;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void watcher(zhandle_t *z, int type, int state, const char *path, void *context) {
    if (type != ZOO_SESSION_EVENT || state != ZOO_CONNECTED_STATE) return;
    pthread_mutex_lock(&lock);
    connected = 1;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void enter(void) {
    pthread_mutex_lock(&lock);
    while (in_flight >= window) pthread_cond_wait(&changed, &lock);
    in_flight++;
    pthread_mutex_unlock(&lock);
}

static void leave(int code) {
    pthread_mutex_lock(&lock);
    if (code != ZOK) failures++;
    in_flight--;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

static void drain(void) {
    pthread_mutex_lock(&lock);
    while (in_flight > 0) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    if (failures) {
        fprintf(stderr, "floor: %d requests failed\n", failures);
        exit(1);
    }
}

/// The memory that a request needs until its reply arrives.
typedef struct {
    zoo_op_t *operations;
    zoo_op_result_t *results;
    char *buffers;
    char (*names)[PATH_SIZE];
    int count;
} Pending;

static Pending *pending(int operations) {
    Pending *p = calloc(1, sizeof *p);
    p->operations = calloc(operations, sizeof *p->operations);
    p->results = calloc(operations, sizeof *p->results);
    p->buffers = calloc(operations, PATH_SIZE);
    p->count = operations;
    return p;
}

static void multi_done(int code, const void *data) {
    Pending *p = (Pending *)data;
    if (p->names && code == ZOK) memcpy(p->names, p->buffers, (size_t)p->count * PATH_SIZE);
    free(p->operations);
    free(p->results);
    free(p->buffers);
    free(p);
    leave(code);
}

static void get_done(int code, const char *value, int length, const struct Stat *stat, const void *data) { leave(code); }
static void create_done(int code, const char *path, const void *data) {
    if (code == ZOK) snprintf((char *)data, PATH_SIZE, "%s", path);
    leave(code);
}
static void delete_done(int code, const void *data) { leave(code); }

static char items[64], leases[64], *payload;
static int bytes;

static void submit(Pending *p) {
    enter();
    if (zoo_amulti(zk, p->count, p->operations, p->results, multi_done, p) != ZOK) leave(ZSYSTEMERROR);
}

static void put(int count, char (*names)[PATH_SIZE]) {
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/item-100-", items);
    Pending *p = pending(count);
    p->names = names;
    for (int i = 0; i < count; i++)
        zoo_create_op_init(&p->operations[i], path, payload, bytes, &ZOO_OPEN_ACL_UNSAFE,
                           ZOO_PERSISTENT_SEQUENTIAL, p->buffers + i * PATH_SIZE, PATH_SIZE);
    submit(p);
}

static void lease_path(char *lease, const char *name) {
    snprintf(lease, PATH_SIZE, "%s%s", leases, strrchr(name, '/'));
}

static void claim(int count, char (*names)[PATH_SIZE], char (*paths)[PATH_SIZE]) {
    Pending *p = pending(2 * count);
    for (int i = 0; i < count; i++) {
        lease_path(paths[i], names[i]);
        zoo_delete_op_init(&p->operations[2 * i], names[i], -1);
        zoo_create_op_init(&p->operations[2 * i + 1], paths[i], payload, bytes, &ZOO_OPEN_ACL_UNSAFE, 0,
                           p->buffers + i * PATH_SIZE, PATH_SIZE);
    }
    submit(p);
}

static void acknowledge(int count, char (*paths)[PATH_SIZE]) {
    Pending *p = pending(count);
    for (int i = 0; i < count; i++) zoo_delete_op_init(&p->operations[i], paths[i], -1);
    submit(p);
}

static void report(const char *phase, int count, double seconds) {
    printf("{\"phase\": \"%s\", \"messages\": %d, \"seconds\": %f}\n", phase, count, seconds);
    fflush(stdout);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/// Measures the round trips between a send and a claimed message, one after the other.
static void handoff(int count) {
    char(*names)[PATH_SIZE] = calloc(1, PATH_SIZE), (*paths)[PATH_SIZE] = calloc(1, PATH_SIZE);
    double *times = calloc(count, sizeof *times);
    window = 1;
    for (int i = 0; i < count; i++) {
        double start = now();
        put(1, names);
        drain();
        struct String_vector children;
        if (zoo_get_children(zk, items, 0, &children) != ZOK) failures++;
        deallocate_String_vector(&children);
        enter();
        if (zoo_aget(zk, names[0], 0, get_done, NULL) != ZOK) leave(ZSYSTEMERROR);
        drain();
        claim(1, names, paths);
        drain();
        times[i] = now() - start;
        acknowledge(1, paths);
        drain();
    }
    qsort(times, count, sizeof *times, compare);
    printf("{\"phase\": \"handoff\", \"messages\": %d, \"p50\": %f, \"p99\": %f}\n", count, times[count / 2],
           times[count * 99 / 100]);
}

static void work(int count, int batch) {
    char(*names)[PATH_SIZE] = calloc(count, PATH_SIZE), (*paths)[PATH_SIZE] = calloc(count, PATH_SIZE);
#define EACH(step) for (int i = 0, n; n = batch < count - i ? batch : count - i, i < count; i += n) step
    double start = now(), take;
    if (batch > 1) {
        EACH(put(n, names + i));
    } else {
        char path[PATH_SIZE];
        snprintf(path, sizeof path, "%s/item-100-", items);
        for (int i = 0; i < count; i++) {
            enter();
            if (zoo_acreate(zk, path, payload, bytes, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_SEQUENTIAL, create_done,
                            names[i]) != ZOK)
                leave(ZSYSTEMERROR);
        }
    }
    drain();
    report("put", count, now() - start);

    take = start = now();
    struct String_vector children;
    if (zoo_get_children(zk, items, 0, &children) != ZOK || children.count != count) failures++;
    deallocate_String_vector(&children);
    report("list", count, now() - start);
    start = now();
    for (int i = 0; i < count; i++) {
        enter();
        if (zoo_aget(zk, names[i], 0, get_done, NULL) != ZOK) leave(ZSYSTEMERROR);
    }
    drain();
    report("get", count, now() - start);
    start = now();
    EACH(claim(n, names + i, paths + i));
    drain();
    report("claim", count, now() - start);
    start = now();
    if (batch > 1) {
        EACH(acknowledge(n, paths + i));
    } else {
        for (int i = 0; i < count; i++) {
            enter();
            if (zoo_adelete(zk, paths[i], -1, delete_done, NULL) != ZOK) leave(ZSYSTEMERROR);
        }
    }
    drain();
    report("acknowledge", count, now() - start);
    report("take", count, now() - take);
}

int main(int argc, char **argv) {
    if (argc < 5) {
        fprintf(stderr, "floor HOST MESSAGES BYTES (BATCH WINDOW | handoff)\n");
        return 2;
    }
    int count = atoi(argv[2]);
    bytes = atoi(argv[3]);
    payload = malloc(bytes ? bytes : 1);
    memset(payload, 'x', bytes);
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    zk = zookeeper_init(argv[1], watcher, 30000, NULL, NULL, 0);
    if (!zk) return 1;
    zoo_set_servers_resolution_delay(zk, -1);
    pthread_mutex_lock(&lock);
    while (!connected) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    snprintf(items, sizeof items, "/floor-%d-items", getpid());
    snprintf(leases, sizeof leases, "/floor-%d-leases", getpid());
    if (zoo_create(zk, items, "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0) != ZOK) return 1;
    if (zoo_create(zk, leases, "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0) != ZOK) return 1;
    if (strcmp(argv[4], "handoff") == 0) {
        handoff(count);
    } else {
        window = argc > 5 ? atoi(argv[5]) : 256;
        work(count, atoi(argv[4]));
    }
    zoo_delete(zk, items, -1);
    zoo_delete(zk, leases, -1);
    return zookeeper_close(zk) == ZOK ? 0 : 1;
}
