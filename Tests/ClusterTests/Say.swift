import Glibc

/// Writes a line at once, also into a pipe or a file.
func say(_ text: String, terminator: String = "\n") {
    let bytes = Array((text + terminator).utf8)
    _ = write(STDOUT_FILENO, bytes, bytes.count)
}
