import ZooKeeper

/// Renews the leases from a Swift task. A process whose threads are all blocked renews nothing, although the client's
/// own threads keep its session alive.
extension QueueConsumer {
    func renewLeases() async {
        while !Task.isCancelled, let time = state.nextRenewal, let timeout = state.attributes.leaseTimeout {
            // A timer is needed, because the absence of transactions is no event. The consumer looks again before a
            // renewal without a reply becomes a silence, and tries a refused one again.
            let pause = time > now ? time - now : timeout / 12
            if time <= now { handle { $0.renewalIsDue(now: now) } }
            guard (try? await queue.store.sleep(for: pause)) != nil else { return }
        }
    }

    /// Lists the leases after a renewal, because some may have been taken away before. From the renewal on, none can be
    /// taken until the consumer is silent again.
    func checkLeases(of registration: Registration) async {
        while state.registration == registration, state.phase != .closed {
            do {
                let names = try await queue.store.children(of: registration.paths.item).names
                return handle {
                    $0.leasesListed(Set(names), of: registration, session: queue.store.sessionState)
                }
            } catch let error as ZooKeeperError where error.isRetryable {
                await error.pauseIfRefusedAtOnce(queue.store)
            } catch {
                // The next renewal tries again. Until then, suspended leases stay so.
                return
            }
        }
    }
}
