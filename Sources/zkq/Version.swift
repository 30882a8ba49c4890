import CVersion

/// What this build of the tool is.
enum Version {
    /// The release, or the next one when it has "-dev" at its end.
    static let number = "0.2.0-dev"
    /// The commit that it was built from; "unknown" when the package manager saw no git repository.
    static let commit = String(cString: zkq_commit())
    /// Both.
    static let full = "\(number) (\(commit))"
}
