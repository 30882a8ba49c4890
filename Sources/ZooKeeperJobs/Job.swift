/// A unit of work that a ``JobWorker`` runs later. Its type selects the handler, and its properties are the input.
///
/// ```swift
/// struct ChargeCard: Job {
///     static let name = "charge-card"
///     var order: String
///     var cents: Int
/// }
/// ```
///
/// Programs of different releases can share a queue. A worker requeues a job whose name or version it does not know, so
/// that another worker can claim it.
public protocol Job: Codable, Sendable {
    /// The name under which the job is stored: 1 to 128 bytes of printable ASCII without spaces. The Swift type can be
    /// renamed, but this name must not change while such jobs are stored: see ``formerNames``.
    static var name: String { get }
    /// Names under which earlier releases stored the job. A worker accepts them too. Default: none.
    static var formerNames: [String] { get }
    /// The version of the payload, from 1 on. Default: 1.
    ///
    /// Raise it when older programs can no longer decode the payload correctly. A worker accepts this version and
    /// all earlier ones, and requeues later ones for other workers.
    static var version: Int { get }
    /// The options of a push that has none of its own. Default: `JobOptions()`.
    static var options: JobOptions { get }
    /// Decodes a payload of this version or an earlier one. By default decodes the type itself, which suffices if later
    /// versions only add optional properties.
    ///
    /// - Throws: any error. The worker then requeues the job, as if its name were unknown.
    static func decode(_ payload: JobPayload) throws -> Self
}

extension Job {
    /// None.
    public static var formerNames: [String] { [] }
    /// 1.
    public static var version: Int { 1 }
    /// The default options.
    public static var options: JobOptions { JobOptions() }
    /// Decodes the payload as this type.
    public static func decode(_ payload: JobPayload) throws -> Self { try payload.decode(Self.self) }
}
