// Redis Streams with a consumer group; an acknowledgement for each message, 64 in flight: RedisLoad PORT MESSAGES ONES BYTES
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static redisContext *redis;
static char *payload;
static int size;

static redisReply *next(void) {
    redisReply *reply = NULL;
    if (redisGetReply(redis, (void **)&reply) != REDIS_OK || reply->type == REDIS_REPLY_ERROR) {
        fprintf(stderr, "RedisLoad: %s\n", reply ? reply->str : redis->errstr);
        exit(1);
    }
    return reply;
}
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}
static void report(const char *phase, int count, double start) {
    printf("{\"phase\": \"%s\", \"messages\": %d, \"seconds\": %f}\n", phase, count, now() - start);
    fflush(stdout);
}
static void put(int count, int window) {
    for (int i = 0; i < count + window; i++) {
        if (i < count) redisAppendCommand(redis, "XADD load * b %b", payload, (size_t)size);
        if (i >= window) freeReplyObject(next());
    }
}
static void take(int count, int prefetch) {
    while (count > 0) {
        redisAppendCommand(redis, "XREADGROUP GROUP g c COUNT %d STREAMS load >", prefetch);
        redisReply *reply = next(), *entries = reply->element[0]->element[1];
        int sent = 0, answered = 0, n = (int)entries->elements;
        while (answered < n) {
            while (sent < n && sent - answered < 64)
                redisAppendCommand(redis, "XACK load g %s", entries->element[sent++]->element[0]->str);
            freeReplyObject(next());
            answered++;
        }
        count -= n;
        freeReplyObject(reply);
    }
}
int main(int argc, char **argv) {
    if (argc != 5) return 2;
    int count = atoi(argv[2]), ones = atoi(argv[3]);
    size = atoi(argv[4]);
    payload = calloc(1, size + 1);
    redis = redisConnect("127.0.0.1", atoi(argv[1]));
    if (!redis || redis->err) return 1;
    redisAppendCommand(redis, "XGROUP CREATE load g 0 MKSTREAM");
    freeReplyObject(next());
    put(2000, 64);
    take(2000, 256);
    double start = now();
    put(count, 64);
    report("put", count, start);
    start = now();
    take(count, 256);
    report("take", count, start);
    start = now();
    put(ones, 1);
    report("put-one", ones, start);
    start = now();
    take(ones, 1);
    report("take-one", ones, start);
    redisFree(redis);
    return 0;
}
