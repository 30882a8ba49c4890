import ProtocolFuzzing

/// What libFuzzer calls with each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafeRawPointer?, _ count: Int) -> Int32 {
    Conversation.play(UnsafeRawBufferPointer(start: start, count: count))
    return 0
}
