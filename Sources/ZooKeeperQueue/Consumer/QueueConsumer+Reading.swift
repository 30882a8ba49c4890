import ZooKeeper

/// The reader: lists and reads messages ahead of their claims.
extension QueueConsumer {
    func read() async {
        while state.wantsToRead, !Task.isCancelled {
            do {
                if let old = handle({ $0.registrationToRenew() }) { await leave(old) }
                let registration = try await register()
                if state.needsEpoch { try await readEpoch() }
                if state.isPaused { continue }
                let revision = state.listRevision
                if state.needsList(now: now) {
                    guard let found = try await scan(registration) else { return }
                    let share = try await share(found, registration)
                    guard handle({ $0.refill(found, share, since: revision, now: now) }) else { continue }
                }
                let entries = handle { $0.nextToRead() }
                let nodes = try await queue.reader.readUsable(entries.map { $0.path(in: queue.tree) })
                let followers = try await queue.groups.followers(of: nodes, named: entries.map(\.name))
                handle { $0.read(entries, nodes, followers: followers, since: revision, now: now) }
            } catch is CancellationError {
                return handle { $0.forgetList() }
            } catch {
                // Messages that were not tried must not be overtaken by later ones in the list.
                handle { $0.forgetList() }
                let cause = (error as? ZooKeeperError) ?? (error as? QueueError)?.cause
                if let cause, cause.isRetryable {
                    await cause.pauseIfRefusedAtOnce(queue.store)
                    continue
                }
                if let cause, cause.code == .noNode, await restoreFolders() { continue }
                return handle { $0.failed(error) }
            }
        }
    }

    /// Reads the epoch. A change of the epoch invalidates the list and the messages that were read.
    ///
    /// - Returns: whether the epoch has changed.
    @discardableResult
    func readEpoch() async throws -> Bool {
        let read = handle { $0.epochReadBegins() }
        let current = try await queue.reader.sequenceEpoch()
        let attributes = state.needsAttributes(with: current) ? try await queue.attributeStore.read() : nil
        let (changed, isAnother) = handle { $0.epochRead(current, attributes: attributes, read: read, now: now) }
        if isAnother { queue.skipped.forget(queue.tree.items) }
        return changed
    }

    /// Handles a change of the epoch that the watch reports. A consumer at work would learn of it at its next
    /// transaction, but a pause also concerns a consumer that sends none.
    func epochChanged(_ node: Node?) async {
        guard let node, node.stat.version != state.epoch.version || state.needsEpoch else { return }
        while state.registration != nil, !Task.isCancelled {
            do {
                try await readEpoch()
                return
            } catch let error as ZooKeeperError where error.isRetryable {
                await error.pauseIfRefusedAtOnce(queue.store)
            } catch {
                return handle { $0.epochIsUnknown() }
            }
        }
    }

    /// Restores missing folders, after ZooKeeper has reported one.
    ///
    /// - Returns: whether the caller may try again: this client or another one has created the folders, or the attempt
    ///   failed with a retryable error.
    func restoreFolders() async -> Bool {
        do {
            // Another client was faster, and this server may lag behind, so the consumer does not try again at once.
            if try await !queue.folders.restoreMissing() { try? await queue.store.sleep(for: .milliseconds(50)) }
            return true
        } catch let error as ZooKeeperError where error.isRetryable {
            await error.pauseIfRefusedAtOnce(queue.store)
            return true
        } catch {
            // The caller reports its own error. A missing root is one of the possible reasons.
            handle { $0.foldersAreMissing() }
            return false
        }
    }

    /// Returns the consumer's share of the list, by its rank among the live consumers.
    private func share(_ found: Scan.Findings, _ registration: Registration) async throws -> ReadyList.Share {
        // For a single message it makes no difference which consumer tries first.
        guard found.entries.count > 1 else { return .init() }
        let registered = try await queue.store.children(of: queue.tree.consumers).names
        guard registered.count > 1 else { return .init() }
        let checkedAt = now
        let unknown = handle { $0.pruneActive(among: registered, now: checkedAt) }
        let active = try await withThrowingTaskGroup(of: String?.self) {
            [store = queue.store, tree = queue.tree] group in
            for name in unknown {
                // A node without a session claims nothing. It would keep a share of the list for ever.
                group.addTask {
                    try await store.exists(tree.consumer(name).active)?.ephemeralOwner ?? 0 == 0 ? nil : name
                }
            }
            return try await group.reduce(into: []) { $0 += [$1].compactMap { $0 } }
        }
        return handle { $0.share(foundActive: active, registration, now: checkedAt) }
    }
}
