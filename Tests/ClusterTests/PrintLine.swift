import Glibc

/// Writes a line without buffering, because the output may go into a pipe or a file.
func printLine(_ text: String, terminator: String = "\n") {
    let bytes = Array((text + terminator).utf8)
    _ = write(STDOUT_FILENO, bytes, bytes.count)
}
