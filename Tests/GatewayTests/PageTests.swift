import Foundation
import Subprocess
import SystemPackage
import TestSupport
import Testing
import ZooKeeper
import ZooKeeperQueue

private let browser = ["/usr/bin/chromium", "/usr/bin/google-chrome"].first(
    where: FileManager.default.isExecutableFile)

/// Tests the dashboard in a browser, if one is installed, as by `make page`. `SCREENSHOTS=FOLDER` keeps screenshots.
@Suite(.timeLimit(.minutes(2)), .enabled(if: browser != nil, "chromium is not installed"))
struct PageTests {
    /// The window sizes.
    enum Device: String, CaseIterable {
        case desk = "1000,1200"
        case phone = "390,1800"
    }

    /// The accessibility checker axe-core, if `scripts/setup-axe` has brought it.
    private static let axe = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: ".build/axe/axe_playwright_python/axe.min.js")

    /// Opens the dashboard, and returns the browser's output after a time of its virtual clock.
    private func open(_ gateway: TestGateway, seconds: Int = 6, _ arguments: [String]) async throws -> String {
        let profile = FileManager.default.temporaryDirectory.appendingPathComponent("page-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: profile) }
        let result = try await withDeadline("the browser", within: .seconds(60)) {
            try await run(
                .path(FilePath(browser ?? "")),
                // Without a sandbox, because containers do not allow one. The browser opens only the dashboard.
                arguments: Arguments(
                    [
                        "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                        "--user-data-dir=\(profile)", "--virtual-time-budget=\(seconds * 1_000)",
                    ] + arguments
                        + ["http://\(gateway.host)/#failures,running,consumers,dead,delayed,find=order%201"]),
                output: .string(limit: 1 << 22),
                error: .discarded)
        }
        #expect(result.terminationStatus.isSuccess)
        return result.standardOutput
    }

    /// Opens the dashboard in a browser with an extension that runs a script in it, and returns the document at the end.
    private func play(
        _ script: String, with libraries: [URL] = [], _ gateway: TestGateway, seconds: Int = 14, isDark: Bool = false
    ) async throws -> String {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("script-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let scripts = libraries.map(\.lastPathComponent) + ["script.js"]
        for library in libraries {
            try FileManager.default.copyItem(at: library, to: folder.appending(path: library.lastPathComponent))
        }
        let manifest = """
            {"manifest_version": 3, "name": "script", "version": "1",
             "content_scripts": [{"matches": ["http://*/*"], "js": \(scripts)}]}
            """
        try manifest.write(to: folder.appendingPathComponent("manifest.json"), atomically: true, encoding: .utf8)
        try script.write(to: folder.appendingPathComponent("script.js"), atomically: true, encoding: .utf8)
        return try await open(
            gateway, seconds: seconds,
            ["--dump-dom", "--load-extension=\(folder.path)"] + (isDark ? [Self.dark] : []))
    }

    private static let dark = "--blink-settings=preferredColorScheme=0"

    /// Clicks the first visible button with each of the labels, one after the other, as soon as there is one.
    private func click(_ labels: [String], _ gateway: TestGateway) async throws -> String {
        let script = """
            const labels = \(String(decoding: try JSONEncoder().encode(labels), as: UTF8.self));
            setInterval(() => {
              const button = [...document.querySelectorAll("button")].find(
                button => button.textContent === labels[0] && button.checkVisibility());
              if (button) { labels.shift(); button.click(); }
            }, 300);
            """
        return try await play(script, gateway)
    }

    private func screenshot(_ gateway: TestGateway, _ name: String, isDark: Bool = false) async throws {
        let folder = ProcessInfo.processInfo.environment["SCREENSHOTS"]
        for device in Device.allCases {
            let file = "\(folder ?? FileManager.default.temporaryDirectory.path)/page-\(name)-\(device).png"
            let window = ["--window-size=\(device.rawValue)", "--screenshot=\(file)"]
            _ = try await open(gateway, seconds: 12, window + (isDark ? [Self.dark] : []))
            let image = try #require(FileManager.default.contents(atPath: file))
            #expect(image.starts(with: [0x89, 0x50, 0x4E, 0x47]) && image.count > 5_000, "\(file)")
            if folder == nil { try FileManager.default.removeItem(atPath: file) }
        }
    }

    @Test("The dashboard shows an empty queue, and what is paused")
    func emptyQueue() async throws {
        try await withGateway { gateway in
            try await ZooKeeperClient.withClient(configuration: .init(servers: gateway.address)) { client in
                let queue = try MessageQueue(client, path: "/orders")
                try await queue.createIfNeeded(.init(paused: [.send]))
                let page = try await open(gateway, ["--dump-dom"])
                #expect(
                    page.contains(">/orders</button></h2>") && page.contains(#"<dd data-of="ready">0</dd>"#), "\(page)")
                for text in [
                    "Paused: sending. The queue is empty.</strong>", "Resume sending</button>",
                    "Pause consuming</button>",
                ] {
                    #expect(page.contains(text), "\(text) \(page)")
                }
                try await queue.update { $0.paused = [] }
                try await screenshot(gateway, "empty")
            }
        }
    }

    @Test(
        "Clicks pause, resume and drain a queue, act on delayed, dead and leased messages, and find and delete one by its ID"
    )
    func clicks() async throws {
        try await withGateway { gateway in
            try await ZooKeeperClient.withClient(configuration: .init(servers: gateway.address)) { client in
                let queue = try MessageQueue(client, path: "/orders")
                let producer = QueueProducer(queue)
                try await producer.send(contentsOf: [
                    .init("dead"), .init("held"), .init("now", delay: .seconds(3_600)),
                    .init("never", delay: .seconds(7_200)), .init("<i>unwanted</i>", id: "order 1"),
                ])
                await producer.close()
                let consumer = QueueConsumer(queue, configuration: .init(prefetch: 1))
                var messages = consumer.makeAsyncIterator()
                try await messages.next()?.deadLetter(reason: "broken")
                let held = try #require(try await messages.next())
                let page = try await click(
                    [
                        "Pause consuming", "Do nothing", "Pause consuming", "Confirm", "Pause sending", "Confirm",
                        "Resume sending", "Confirm", "Run now", "Confirm", "Cancel", "Confirm", "Redrive", "Confirm",
                        "Release", "Confirm", "Find", "Delete", "Confirm", "Drain", "Confirm",
                    ], gateway)
                #expect(page.contains("Paused: sending.</strong>"), "\(page)")
                let statistics = try await queue.statistics()
                #expect(statistics.paused == [.send])
                #expect(statistics.delayed == 0 && statistics.deadLettered == 0 && statistics.ready == 2)
                #expect(statistics.leased == 0 && statistics.recovering == 1)
                #expect(page.contains("Deleted · item-100-0000000002 · ready · &lt;i&gt;unwanted"), "\(page)")
                await #expect(throws: QueueError.self) { try await held.acknowledge() }
                await consumer.close()
            }
        }
    }

    @Test("The dashboard shows messages and reasons as text, even when they contain HTML")
    func busyQueue() async throws {
        try await withGateway { gateway in
            try await ZooKeeperClient.withClient(configuration: .init(servers: gateway.address)) { client in
                let queue = try MessageQueue(client, path: "/orders")
                let producer = QueueProducer(queue)
                try await producer.send("<script>document.title = 'broken'</script>", priority: 1)
                try await producer.send(contentsOf: (0..<1_234).map { OutgoingMessage("order \($0)") })
                let hostile = "<img src=x onerror=\"document.title = 'broken'\">"
                try await producer.send(OutgoingMessage(hostile, priority: 2, delay: .seconds(3_600)))
                let consumer = QueueConsumer(queue, configuration: .init(prefetch: 5))
                var messages = consumer.makeAsyncIterator()
                let first = try await messages.next()
                try await first?.deadLetter(reason: "<b>no</b> such customer")
                try await messages.next()?.requeue(after: .seconds(3_600), reason: "<i>busy</i>")
                let held = try await messages.next()
                #expect(held != nil)
                // Messages arrive and are acknowledged while the dashboard is open.
                let load = Task {
                    while !Task.isCancelled {
                        try await producer.send("more")
                        try await messages.next()?.acknowledge()
                    }
                }
                let page = try await open(gateway, ["--dump-dom"])
                #expect(page.contains("<title>Queues</title>"), "A message was interpreted as HTML.")
                #expect(
                    page.contains("&lt;script&gt;document.title") && page.contains("&lt;b&gt;no&lt;/b&gt; such"),
                    "\(page)")
                #expect(
                    page.contains(#"<dd data-of="dead">1</dd>"#) && page.contains(#"<dd data-of="consumers">1</dd>"#))
                #expect(page.contains("<td>item-001-0000000000</td>"), "\(page)")
                #expect(page.contains(#"<dd data-of="delayed">2</dd>"#) && page.contains("&lt;img src=x"), "\(page)")
                #expect(!page.contains("<img"), "A delayed message was interpreted as HTML.")
                #expect(page.contains("-item-002-0000000000</td>"), "\(page)")
                #expect(
                    page.contains("<summary>failures: 1</summary>")
                        && page.contains(": &lt;i&gt;busy&lt;/i&gt;</li>") && !page.contains("<i>"), "\(page)")
                for label in ["Redrive", "Run now", "Cancel", "Release"] {
                    #expect(page.contains(">\(label)</button>"), "\(label)")
                }
                try await screenshot(gateway, "busy")
                try await screenshot(gateway, "dark", isDark: true)
                load.cancel()
                _ = await load.result
                await producer.close()
                await consumer.close(gracePeriod: .zero)
            }
        }
    }

    /// Stores what a script has found, so that it is in the document.
    private static let report = """
        function report(value) {
          const node = document.createElement("pre");
          node.id = "report";
          node.textContent = JSON.stringify(value);
          document.body.append(node);
        }
        """

    private func reported(_ page: String) throws -> String {
        let match = try #require(page.firstMatch(of: /<pre id="report">(.*?)<\/pre>/), "\(page.suffix(2_000))")
        return String(match.output.1)
    }

    @Test("Fifty queues are on one page, a new one appears without a reload, and a filter finds one")
    func manyQueues() async throws {
        try await withGateway { gateway in
            try await ZooKeeperClient.withClient(configuration: .init(servers: gateway.address)) { client in
                for number in 0..<50 {
                    try await MessageQueue(client, path: "/queue-\(number)").createIfNeeded()
                }
            }
            let script =
                Self.report + """
                    setTimeout(() => fetch("queues/v1/late/messages", { method: "POST", body: "x" }), 2000);
                    setTimeout(() => {
                      const sections = [...document.querySelectorAll("section")];
                      const counted = sections.filter(one => one.querySelector("[data-of=ready]").textContent);
                      const filter = document.getElementById("filter");
                      filter.value = "queue-17";
                      filter.dispatchEvent(new Event("input"));
                      const visible = sections.filter(one => one.checkVisibility()).length;
                      report([sections.length, counted.length, visible]);
                    }, 22000);
                    """
            let page = try await play(script, gateway, seconds: 24)
            #expect(try reported(page) == "[51,51,1]")
            #expect(page.contains(">/late</button></h2>"))
        }
    }

    @Test("Failures are shown by job with their last reasons, and running jobs with their progress")
    func jobs() async throws {
        try await withGateway { gateway in
            try await ZooKeeperClient.withClient(configuration: .init(servers: gateway.address)) { client in
                let queue = try MessageQueue(client, path: "/orders")
                let producer = QueueProducer(queue)
                let job = ["zkq-job": "charge-card", "zkq-job-id": "1"]
                try await producer.send(contentsOf: (1...3).map { .init("\($0)", headers: job) })
                try await producer.send("no job")
                await producer.close()
                try await queue.withConsumer { consumer in
                    var messages = consumer.makeAsyncIterator()
                    try await messages.next()?.deadLetter(reason: "<b>the bank</b> is closed")
                    try await messages.next()?.requeue(after: .seconds(3_600), reason: "no answer")
                    try await messages.next()?.acknowledge()
                    try await messages.next()?.deadLetter(reason: "unknown")
                }
                try await client.ensurePath("/orders/jobs/workers")
                let running =
                    #"[{"id":"<i>7","name":"pack-order","attempt":2,"startedAt":1764400000000,"progress":0.5}]"#
                for (name, data) in [("a", running), ("odd", "{"), ("other", "[7]")] {
                    _ = try await client.create("/orders/jobs/workers/\(name)", data: Array(data.utf8))
                }
                let page = try await open(gateway, ["--dump-dom"])
                #expect(page.contains("<td>charge-card</td><td>1</td><td>1</td>"), "\(page)")
                #expect(page.contains("<td>(no job)</td><td>0</td><td>1</td><td>unknown</td>"), "\(page)")
                #expect(page.contains("<td>pack-order</td><td>&lt;i&gt;7</td><td>2</td>"), "\(page)")
                #expect(page.contains("<td>50 %</td>"), "\(page)")
                try await screenshot(gateway, "failures")
            }
        }
    }

    @Test(
        "The accessibility checker finds nothing, in light and dark",
        .enabled(if: FileManager.default.fileExists(atPath: axe.path), "axe-core is missing: scripts/setup-axe"),
        arguments: [false, true])
    func accessibility(isDark: Bool) async throws {
        try await withGateway { gateway in
            try await ZooKeeperClient.withClient(configuration: .init(servers: gateway.address)) { client in
                let queue = try MessageQueue(client, path: "/orders")
                try await queue.createIfNeeded(.init(paused: [.consume]))
                let producer = QueueProducer(queue)
                try await producer.send(contentsOf: [.init("a"), .init("b", delay: .seconds(3_600))])
                await producer.close()
                let consumer = QueueConsumer(queue)
                let script =
                    Self.report + """
                        setTimeout(async () => {
                          const found = await axe.run(document);
                          report(found.violations.map(one => [one.id, one.nodes.map(node => node.html.slice(0, 200))]));
                        }, 6000);
                        """
                let page = try await play(script, with: [Self.axe], gateway, isDark: isDark)
                #expect(try reported(page) == "[]")
                await consumer.close()
            }
        }
    }
}
