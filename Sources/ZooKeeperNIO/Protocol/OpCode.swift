/// The types of requests, from ZooKeeper's `ZooDefs.OpCode`.
enum OpCode {
    static let create: Int32 = 1
    static let delete: Int32 = 2
    static let exists: Int32 = 3
    static let getData: Int32 = 4
    static let setData: Int32 = 5
    static let getACL: Int32 = 6
    static let setACL: Int32 = 7
    static let sync: Int32 = 9
    static let ping: Int32 = 11
    static let getChildren2: Int32 = 12
    static let check: Int32 = 13
    static let multi: Int32 = 14
    static let create2: Int32 = 15
    static let reconfigure: Int32 = 16
    static let removeWatches: Int32 = 18
    static let createContainer: Int32 = 19
    static let createTTL: Int32 = 21
    static let multiRead: Int32 = 22
    static let auth: Int32 = 100
    static let setWatches2: Int32 = 105
    static let addWatch: Int32 = 106
    static let whoAmI: Int32 = 107
    static let closeSession: Int32 = -11
    /// The type of a failed operation's result in a multi, and of the end of a multi.
    static let error: Int32 = -1
}

/// The numbers of packets that are not responses to a request, from ZooKeeper's `ClientCnxn`.
enum ReservedXID {
    static let watchEvent: Int32 = -1
    static let ping: Int32 = -2
    static let auth: Int32 = -4
    static let setWatches: Int32 = -8
}
