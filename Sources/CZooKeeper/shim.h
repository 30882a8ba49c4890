#ifndef CZOOKEEPER_SHIM_H
#define CZOOKEEPER_SHIM_H

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <zookeeper/zookeeper.h>

/// Opens a handle with every signal blocked, so that the two threads of the C client inherit the mask and never run the
/// application's signal handlers. `context` is an integer, not a pointer.
static inline zhandle_t *czk_open(
    const char *hosts, watcher_fn watcher, int session_timeout_ms, const clientid_t *session,
    uint64_t context, log_callback_fn log) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    zhandle_t *handle = zookeeper_init2(
        hosts, watcher, session_timeout_ms, session, (void *)(uintptr_t)context, ZOO_NO_LOG_CLIENTENV, log);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return handle;
}

/// `zoo_amulti` frees uninitialized pointers and aborts the process on a handle that has expired or failed to
/// authenticate, so the state is read right before, in the same function.
static inline int czk_amulti(
    zhandle_t *handle, int count, const zoo_op_t *ops, zoo_op_result_t *results, void_completion_t completion,
    uint64_t token) {
    if (zoo_state(handle) != ZOO_CONNECTED_STATE) return ZINVALIDSTATE;
    return zoo_amulti(handle, count, ops, results, completion, (const void *)(uintptr_t)token);
}

/// Removes the session's watches of a kind on a path, at the server and in the C client, when the server has responded.
/// The C client declares the completion as a pointer to a function pointer and calls it as the function itself. Its
/// argument `local` stays 0, because it makes the C client write through `data`. Its `zoo_aremove_watches` is not used,
/// because it leaves the server's watch.
static inline int czk_remove_watches(
    zhandle_t *handle, const char *path, ZooWatcherType type, void_completion_t completion, uint64_t token) {
    return zoo_aremove_all_watches(
        handle, path, type, 0, (void_completion_t *)(uintptr_t)completion, (const void *)(uintptr_t)token);
}

/// Tokens are integers that travel through the C client as its `const void *data` and `void *watcherCtx`.
static inline const void *czk_token(uint64_t token) { return (const void *)(uintptr_t)token; }
static inline void *czk_context(uint64_t context) { return (void *)(uintptr_t)context; }
static inline uint64_t czk_token_value(const void *data) { return (uint64_t)(uintptr_t)data; }

#endif
