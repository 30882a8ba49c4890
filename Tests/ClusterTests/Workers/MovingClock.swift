import Foundation

/// A preloaded library for workers, in which SIGUSR2 moves the clock forward by an hour, as an operator or a broken
/// time server does.
enum MovingClock {
    private static let source = """
        #define _GNU_SOURCE
        #include <signal.h>
        #include <sys/syscall.h>
        #include <sys/time.h>
        #include <time.h>
        #include <unistd.h>
        static volatile long offset;
        static void move(int number) { (void)number; offset = 3600; }
        __attribute__((constructor)) static void begin(void) { signal(SIGUSR2, move); }
        int clock_gettime(clockid_t clock, struct timespec *now) {
            int result = syscall(SYS_clock_gettime, clock, now);
            if (clock == CLOCK_REALTIME) now->tv_sec += offset;
            return result;
        }
        time_t time(time_t *now) {
            struct timespec t;
            clock_gettime(CLOCK_REALTIME, &t);
            if (now) *now = t.tv_sec;
            return t.tv_sec;
        }
        int gettimeofday(struct timeval *now, void *zone) {
            struct timespec t;
            (void)zone;
            clock_gettime(CLOCK_REALTIME, &t);
            now->tv_sec = t.tv_sec;
            now->tv_usec = t.tv_nsec / 1000;
            return 0;
        }
        """

    /// Builds the library.
    ///
    /// - Returns: its path, or `nil` when there is no C compiler.
    static func library(in folder: String) -> String? {
        let (file, library) = (folder + "/clock.c", folder + "/clock.so")
        guard (try? source.write(toFile: file, atomically: true, encoding: .utf8)) != nil else { return nil }
        let compiler = Process()
        compiler.executableURL = URL(filePath: "/usr/bin/env")
        compiler.arguments = ["cc", "-shared", "-fPIC", "-w", "-fno-builtin", "-o", library, file]
        guard (try? compiler.run()) != nil else { return nil }
        compiler.waitUntilExit()
        return compiler.terminationStatus == 0 ? library : nil
    }
}
