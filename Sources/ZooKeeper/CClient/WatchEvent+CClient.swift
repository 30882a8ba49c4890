#if canImport(CZooKeeper)
import CZooKeeper

extension WatchEvent.Kind {
    /// Creates the kind for a type of the C client. `nil` for a type that is not about a node.
    init?(cclientType: Int32) {
        switch cclientType {
        case ZOO_CREATED_EVENT: self = .created
        case ZOO_DELETED_EVENT: self = .deleted
        case ZOO_CHANGED_EVENT: self = .dataChanged
        case ZOO_CHILD_EVENT: self = .childrenChanged
        default: return nil
        }
    }
}
#endif
