import CVersion

/// The version of this build of the tool.
enum Version {
    /// The release, or the next release when it ends with "-dev".
    static let number = "0.2.0-dev"
    /// The commit of the build; "unknown" when the package manager saw no git repository.
    static let commit = String(cString: zkq_commit())
    /// The release and the commit.
    static let full = "\(number) (\(commit))"
}
