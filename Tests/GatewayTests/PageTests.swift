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
        case desk = "900,1000"
        case phone = "390,1400"
    }

    /// Opens the dashboard, and returns the browser's output after six seconds of its virtual time.
    private func open(_ gateway: TestGateway, _ arguments: String...) async throws -> String {
        let profile = FileManager.default.temporaryDirectory.appendingPathComponent("page-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: profile) }
        let result = try await withDeadline("the browser", within: .seconds(60)) {
            try await run(
                .path(FilePath(browser ?? "")),
                // Without a sandbox, because containers do not allow one. The browser opens only the dashboard.
                arguments: Arguments(
                    [
                        "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                        "--user-data-dir=\(profile)", "--virtual-time-budget=6000",
                    ] + arguments + ["http://\(gateway.host)/#consumers,dead,delayed,find=order%201"]),
                output: .string(limit: 1 << 20),
                error: .discarded)
        }
        #expect(result.terminationStatus.isSuccess)
        return result.standardOutput
    }

    /// Opens the dashboard in a browser with an extension that clicks the first button with each of the labels, one
    /// after the other, as soon as there is one.
    private func click(_ labels: [String], _ gateway: TestGateway) async throws -> String {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("clicks-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let manifest = """
            {"manifest_version": 3, "name": "clicks", "version": "1",
             "content_scripts": [{"matches": ["http://*/*"], "js": ["click.js"]}]}
            """
        let script = """
            const labels = \(String(decoding: try JSONEncoder().encode(labels), as: UTF8.self));
            setInterval(() => {
              const button = [...document.querySelectorAll("button")].find(
                button => button.textContent === labels[0] && !button.hidden);
              if (button) { labels.shift(); button.click(); }
            }, 300);
            """
        try manifest.write(to: folder.appendingPathComponent("manifest.json"), atomically: true, encoding: .utf8)
        try script.write(to: folder.appendingPathComponent("click.js"), atomically: true, encoding: .utf8)
        return try await open(gateway, "--dump-dom", "--load-extension=\(folder.path)")
    }

    private func screenshot(_ gateway: TestGateway, _ name: String) async throws {
        let folder = ProcessInfo.processInfo.environment["SCREENSHOTS"]
        for device in Device.allCases {
            let file = "\(folder ?? FileManager.default.temporaryDirectory.path)/page-\(name)-\(device).png"
            _ = try await open(gateway, "--window-size=\(device.rawValue)", "--screenshot=\(file)")
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
                let page = try await open(gateway, "--dump-dom")
                #expect(page.contains("<h2>/orders</h2>") && page.contains(#"<dd data-of="ready">0</dd>"#), "\(page)")
                for text in ["Paused: sending</strong>", "Resume sending</button>", "Pause consuming</button>"] {
                    #expect(page.contains(text), "\(text) \(page)")
                }
                try await queue.update { $0.paused = [] }
                try await screenshot(gateway, "empty")
            }
        }
    }

    @Test(
        "Clicks pause and resume a queue, act on delayed, dead and leased messages, and find and delete one by its ID"
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
                        "Pause consuming", "Pause sending", "Resume sending", "Run now", "Cancel", "Redrive", "Release",
                        "Find", "Delete",
                    ], gateway)
                #expect(page.contains("Paused: consuming</strong>"), "\(page)")
                let statistics = try await queue.statistics()
                #expect(statistics.paused == [.consume])
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
                let page = try await open(gateway, "--dump-dom")
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
                    #expect(page.contains(#"<button type="button">\#(label)</button>"#), "\(label)")
                }
                try await screenshot(gateway, "busy")
                load.cancel()
                _ = await load.result
                await producer.close()
                await consumer.close(gracePeriod: .zero)
            }
        }
    }
}
