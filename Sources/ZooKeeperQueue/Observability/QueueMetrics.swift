package import CoreMetrics

/// The metrics of what this process does with messages, created once for each queue. *Operating* has a table of them.
struct QueueMetrics: Sendable {
    /// Whether anything is recorded. Reading the clock for a duration costs more than the rest.
    let isEnabled: Bool

    let sent: Counter
    let sendFailures: Counter
    let sendDuration: Timer
    let batchSize: Recorder
    let waitingSends: Gauge

    let received: Counter
    let redelivered: Counter
    let acknowledged: Counter
    let requeued: Counter
    let deadLettered: Counter
    let expired: Counter
    let recovered: Counter
    let failedDeliveries: Counter
    let handlerTimeouts: Counter
    let handlerDuration: Timer
    let leaseRenewals: Counter

    /// The messages by their state.
    private let ready, leased, recovering, delayed, dead: Gauge
    let oldestMessageAge: Gauge

    init(queue: String, factory: any MetricsFactory) {
        isEnabled = !(factory is NOOPMetricsHandler)
        let dimensions = [("queue", queue)]
        func counter(_ name: String) -> Counter {
            Counter(label: "zookeeper_queue_\(name)_total", dimensions: dimensions, factory: factory)
        }
        func timer(_ name: String) -> Timer {
            Timer(label: "zookeeper_queue_\(name)_seconds", dimensions: dimensions, factory: factory)
        }
        sent = counter("sent")
        sendFailures = counter("send_failures")
        sendDuration = timer("send_duration")
        batchSize = Recorder(
            label: "zookeeper_queue_batch_size", dimensions: dimensions, aggregate: true, factory: factory)
        waitingSends = Gauge(label: "zookeeper_queue_waiting_sends", dimensions: dimensions, factory: factory)
        received = counter("received")
        redelivered = counter("redelivered")
        acknowledged = counter("acknowledged")
        requeued = counter("requeued")
        deadLettered = counter("dead_lettered")
        expired = counter("expired")
        recovered = counter("recovered")
        failedDeliveries = counter("failed_deliveries")
        handlerTimeouts = counter("handler_timeouts")
        handlerDuration = timer("handler_duration")
        leaseRenewals = counter("lease_renewals")
        oldestMessageAge = Gauge(
            label: "zookeeper_queue_oldest_message_age_seconds", dimensions: dimensions, factory: factory)
        func messages(_ state: String) -> Gauge {
            Gauge(
                label: "zookeeper_queue_messages", dimensions: dimensions + [("state", state)], factory: factory)
        }
        (ready, leased, recovering) = (messages("ready"), messages("leased"), messages("recovering"))
        (delayed, dead) = (messages("delayed"), messages("dead_lettered"))
    }

    /// Records how many messages are in each state.
    func record(_ statistics: QueueStatistics) {
        ready.record(statistics.ready)
        leased.record(statistics.leased)
        recovering.record(statistics.recovering)
        delayed.record(statistics.delayed)
        dead.record(statistics.deadLettered)
    }

    /// Counts messages that were not stored, unless the caller has cancelled the send or has sent an invalid message.
    func countFailure(of messages: Int, _ error: any Error) {
        if error is CancellationError { return }
        if let code = (error as? QueueError)?.code, [.invalidArgument, .payloadTooLarge].contains(code) { return }
        sendFailures.increment(by: messages)
    }

    /// Records how a settlement has ended a lease.
    func count(_ end: ConsumerStateMachine.LeaseEnd) {
        switch end {
        case .acknowledged: acknowledged.increment()
        case .requeued(let isFailure):
            requeued.increment()
            if isFailure { failedDeliveries.increment() }
        case .deadLettered(let isFailure):
            deadLettered.increment()
            if isFailure { failedDeliveries.increment() }
        }
    }
}

extension Timer {
    /// Records a duration.
    package func record(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        recordNanoseconds(seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
    }
}
