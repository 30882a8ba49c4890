extension QueueRecovery {
    /// The configuration of a recovery.
    public struct Configuration: Sendable, Hashable {
        /// The pause between two passes: more than zero. Default: 5 seconds.
        public var interval: Duration
        /// How long a producer may be silent before the recovery removes its node below `producers`: more than zero,
        /// and much longer than any send takes. A producer that comes back creates a new node. Default: one hour.
        public var producerStateRetention: Duration
        /// The age at which the recovery removes a node that an older producer created but never filled, by the
        /// ensemble's clock: more than zero. Default: five minutes.
        public var incompleteItemAge: Duration

        /// How often the recovery looks for nodes that are no longer needed.
        package var cleaningInterval = Duration.seconds(60)

        /// Creates a configuration. Each property describes its setting.
        public init(
            interval: Duration = .seconds(5), producerStateRetention: Duration = .seconds(3_600),
            incompleteItemAge: Duration = .seconds(300)
        ) {
            self.interval = interval
            self.producerStateRetention = producerStateRetention
            self.incompleteItemAge = incompleteItemAge
        }

        /// Throws for a value outside its limits. Without a retention, the recovery would remove the nodes of producers
        /// that are sending.
        func validate() throws {
            let times: KeyValuePairs = [
                "interval": interval, "producerStateRetention": producerStateRetention,
                "incompleteItemAge": incompleteItemAge,
            ]
            for (name, time) in times where time <= .zero {
                throw QueueError(.invalidArgument, "\(name) must be more than zero, not \(time).")
            }
        }
    }
}
