import ZooKeeper

/// Renews the leases from a Swift task. A process whose threads are all blocked renews nothing, although the client's
/// own threads keep its session alive.
extension QueueConsumer {
    /// Renews the leases if that is due.
    ///
    /// - Returns: how long to wait before the next call; `nil` when there is nothing to renew.
    func renewLeases() -> Duration? {
        guard let time = state.nextRenewal, let timeout = state.attributes.leaseTimeout else { return nil }
        if time > now, !state.wasSilent { return time - now }
        handle { $0.renewalIsDue(now: now) }
        // Before a renewal without a reply becomes a silence. A refused one is tried again.
        return timeout / 12
    }

    /// Lists the leases after a renewal, because some may have been taken away before. From the renewal on, none can be
    /// taken until the consumer is silent again.
    func checkLeases(of registration: Registration) async {
        while state.registration == registration, state.phase != .closed {
            do {
                let names = try await queue.store.children(of: registration.paths.item).names
                return handle {
                    $0.leasesListed(Set(names), of: registration, session: queue.store.sessionState, now: now)
                }
            } catch let error as ZooKeeperError where error.code == .deadlineExceeded {
                // Settlements must not wait any longer. The next renewal lists the leases again.
                return
            } catch let error as ZooKeeperError where error.isRetryable {
                await error.pauseIfRefusedAtOnce(queue.store)
            } catch let error as ZooKeeperError where error.code == .noNode {
                // The parent of the leases was removed, which makes the registration useless.
                return await leaveToRecovery(registration)
            } catch {
                return handle { $0.failed(error) }
            }
        }
    }
}
