// RabbitMQ's quorum queue with persistent messages, publisher confirms and an acknowledgement for each message:
// RabbitLoad PORT MESSAGES ONES BYTES
#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static amqp_connection_state_t link_;
static int size;

static void need(int good, const char *what) {
    if (good) return;
    fprintf(stderr, "RabbitLoad: %s failed\n", what);
    exit(1);
}
static void answered(const char *what) { need(amqp_get_rpc_reply(link_).reply_type == AMQP_RESPONSE_NORMAL, what); }
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}
static void report(const char *phase, int count, double start) {
    printf("{\"phase\": \"%s\", \"messages\": %d, \"seconds\": %f}\n", phase, count, now() - start);
    fflush(stdout);
}

/// Confirms may come for several at once, and in any order.
static void put(int count, int window) {
    static uint64_t published = 0;
    char *confirmed = calloc(count + 1, 1), *body = calloc(1, size);
    uint64_t base = published;
    int sent = 0, done = 0, low = 1;
    amqp_basic_properties_t durable = {._flags = AMQP_BASIC_DELIVERY_MODE_FLAG, .delivery_mode = 2};
    amqp_bytes_t bytes = {size, body};
    while (done < count) {
        if (sent < count && sent - done < window) {
            need(!amqp_basic_publish(link_, 1, amqp_empty_bytes, amqp_cstring_bytes("load"), 0, 0, &durable, bytes), "publish");
            sent++;
            continue;
        }
        amqp_frame_t frame;
        amqp_maybe_release_buffers(link_);
        need(!amqp_simple_wait_frame(link_, &frame), "confirm");
        need(frame.frame_type == AMQP_FRAME_METHOD && frame.payload.method.id == AMQP_BASIC_ACK_METHOD, "confirm");
        amqp_basic_ack_t *ack = frame.payload.method.decoded;
        int last = (int)(ack->delivery_tag - base);
        for (int i = ack->multiple ? low : last; i <= last; i++) done += !confirmed[i], confirmed[i] = 1;
        while (low <= count && confirmed[low]) low++;
    }
    published += count;
    free(confirmed);
    free(body);
}

/// An acknowledgement has no answer of its own; that of the cancellation comes after all of them.
static void take(int count, int prefetch) {
    amqp_basic_qos(link_, 1, 0, prefetch, 0);
    answered("qos");
    amqp_basic_consume(link_, 1, amqp_cstring_bytes("load"), amqp_cstring_bytes("tag"), 0, 0, 0, amqp_empty_table);
    answered("consume");
    for (int i = 0; i < count; i++) {
        amqp_envelope_t message;
        amqp_maybe_release_buffers(link_);
        need(amqp_consume_message(link_, &message, NULL, 0).reply_type == AMQP_RESPONSE_NORMAL, "delivery");
        need(!amqp_basic_ack(link_, 1, message.delivery_tag, 0), "acknowledge");
        amqp_destroy_envelope(&message);
    }
    amqp_basic_cancel(link_, 1, amqp_cstring_bytes("tag"));
    answered("cancel");
}

int main(int argc, char **argv) {
    need(argc == 5, "RabbitLoad PORT MESSAGES ONES BYTES");
    int count = atoi(argv[2]), ones = atoi(argv[3]), on = 1;
    size = atoi(argv[4]);
    // A broker listens before it lets anybody in.
    for (int attempt = 0, entered = 0; !entered; attempt++) {
        need(attempt < 60, "login");
        if (attempt) sleep(1);
        link_ = amqp_new_connection();
        if (amqp_socket_open(amqp_tcp_socket_new(link_), "127.0.0.1", atoi(argv[1]))) continue;
        setsockopt(amqp_get_sockfd(link_), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        entered = amqp_login(link_, "/", 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest").reply_type ==
                  AMQP_RESPONSE_NORMAL;
    }
    amqp_channel_open(link_, 1);
    answered("channel");
    amqp_confirm_select(link_, 1);
    answered("confirms");
    amqp_table_entry_t quorum = {.key = amqp_cstring_bytes("x-queue-type"), .value = {.kind = AMQP_FIELD_KIND_UTF8}};
    quorum.value.value.bytes = amqp_cstring_bytes("quorum");
    amqp_queue_declare(link_, 1, amqp_cstring_bytes("load"), 0, 1, 0, 0, (amqp_table_t){1, &quorum});
    answered("declare");
    put(2000, 256);
    take(2000, 256);
    double start = now();
    put(count, 256);
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
    amqp_connection_close(link_, AMQP_REPLY_SUCCESS);
    return 0;
}
